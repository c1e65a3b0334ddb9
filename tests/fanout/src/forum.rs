//! How the load generator becomes a user of the forum: log in, subscribe, and write comments to topic 1.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

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
    let text = |error: std::io::Error| format!("logging in: {error}");
    let mut stream = TcpStream::connect(addr).map_err(text)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(text)?;
    let body = r#"{"username":"ann","password":"demo-ann"}"#;
    let request = wire::post(&addr.to_string(), "/auth/login", None, body);
    stream.write_all(request.as_bytes()).map_err(text)?;

    let mut input = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        if let Some(response) = wire::Message::parse(&input)? {
            let answer = serde_json::from_slice::<Value>(response.body).unwrap_or_default();
            let token = answer["token"].as_str().filter(|_| response.status() == Ok(200));
            let refused = || format!("logging in was answered with {} {answer}", response.head);
            return token.map(str::to_owned).ok_or_else(|| refused().replace("\r\n", ", "));
        }
        match stream.read(&mut bytes).map_err(text)? {
            0 => return Err("logging in: connection closed".to_owned()),
            read => input.extend_from_slice(&bytes[..read]),
        }
    }
}

/// A comment of about 120 characters.
pub(crate) fn comment(mark: &str) -> String {
    format!(
        r#"{{"topic_id":1,"body":"{mark} One comment among many, about as long as people write them when they have something to say."}}"#
    )
}
