//! How the load generator becomes a user of the forum: log in, make topics, subscribe, and write comments.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::client::open;
use crate::wire;

/// Sent by every client after its handshake.
pub(crate) const SUBSCRIBE: &str =
    r#"{"request_id":1,"stream":"comments","action":"subscribe","payload":{"topic":1}}"#;

/// Whether a frame is the good reply to [`SUBSCRIBE`]. An error if it is a bad one.
pub(crate) fn is_subscribed(frame: &[u8]) -> Result<bool, String> {
    let message: Value =
        serde_json::from_slice(frame).map_err(|error| format!("a frame of no JSON: {error}"))?;
    match (message["type"].as_str(), message["status"].as_u64()) {
        (Some("reply"), Some(200)) => Ok(true),
        (Some("reply"), _) => Err(format!("subscribing was answered with {message}")),
        _ => Ok(false),
    }
}

/// Logs the demo user `ann` in and returns the token.
pub(crate) fn log_in(addr: SocketAddr) -> Result<String, String> {
    let mut stream = open(addr).map_err(|error| format!("logging in: {error}"))?;
    let body = r#"{"username":"ann","password":"demo-ann"}"#;
    let answer = ask(&mut stream, &wire::post(&addr.to_string(), "/auth/login", None, body))?;
    let token = answer["token"].as_str();
    token.map(str::to_owned).ok_or_else(|| format!("logging in was answered with {answer}"))
}

/// Makes topics and returns their keys.
pub(crate) fn make_topics(addr: SocketAddr, token: &str, count: usize) -> Result<Vec<i64>, String> {
    let mut stream = open(addr).map_err(|error| format!("making topics: {error}"))?;
    let topic = |number| {
        let body = format!(r#"{{"title":"Topic {number}"}}"#);
        let request = wire::post(&addr.to_string(), "/api/topics/", Some(token), &body);
        let answer = ask(&mut stream, &request)?;
        answer["id"].as_i64().ok_or_else(|| format!("making a topic was answered with {answer}"))
    };
    (0..count).map(topic).collect()
}

/// Sends a request and waits for its answer.
fn ask(stream: &mut TcpStream, request: &str) -> Result<Value, String> {
    stream.write_all(request.as_bytes()).map_err(|error| format!("a request: {error}"))?;
    let mut input = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        if let Some(response) = wire::Message::parse(&input)? {
            let answer = serde_json::from_slice::<Value>(response.body).unwrap_or_default();
            return match response.status()? {
                200 | 201 => Ok(answer),
                _ => Err(format!("answered with {} {answer}", response.head).replace("\r\n", ", ")),
            };
        }
        match stream.read(&mut bytes).map_err(|error| format!("an answer: {error}"))? {
            0 => return Err("connection closed instead of an answer".to_owned()),
            read => input.extend_from_slice(&bytes[..read]),
        }
    }
}

const BODY: &str =
    "One comment among many, about as long as people write them when they have something to say.";

/// A comment of about 120 characters.
pub(crate) fn comment(mark: &str) -> String {
    format!(r#"{{"topic_id":1,"body":"{mark} {BODY}"}}"#)
}

/// A comment of some more characters, in a topic.
pub(crate) fn comment_in(topic: i64, mark: &str, length: usize) -> String {
    let mut body = String::with_capacity(length + BODY.len());
    while body.len() < length {
        body.push_str(BODY);
    }
    body.truncate(length);
    format!(r#"{{"topic_id":{topic},"body":"{mark} {body}"}}"#)
}

/// What the forum tells of such a comment, or something like it.
pub(crate) fn event(mark: &str) -> String {
    format!(
        r#"{{"type":"event","subscription":"3e8WBNyaLiR8GYPa6pNk6A","stream":"comments","action":"create","pk":1000,"data":{{"id":1000,"topic_id":1,"author_id":1,"body":"{mark} {BODY}","score":0,"rating":null,"status":"published","edited_at":null,"created_at":"2026-01-01T00:00:00.000000Z"}},"cursor":"55d89b0a4c6f287c-2000"}}"#
    )
}
