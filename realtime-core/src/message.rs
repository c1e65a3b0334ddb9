//! A client's message: one JSON object, addressed in one of two forms that mean the same.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::encode::Head;
use crate::error::{Code, Error};

/// A message whose form is right. What it asks for may still not exist.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) head: Head,
    /// `None` for the actions that need no stream.
    pub(crate) stream: Option<String>,
    pub(crate) action: String,
    pub(crate) key: Option<Json>,
    pub(crate) payload: Map<String, Json>,
    /// The members beside the payload that are options of the action.
    pub(crate) options: Vec<(String, Json)>,
}

/// A message that cannot be understood, with what could be read of it.
pub(crate) type Malformed = Box<(Head, Error)>;

/// The actions that need no stream.
pub(crate) const STREAMLESS: &[&str] = &["ping", "authenticate"];

/// Parses a text frame. `default_address` is that of the path form of the route.
pub(crate) fn parse(text: &str, default_address: Option<&str>) -> Result<Message, Malformed> {
    let mut head = Head::default();
    let (members, twice) = match crate::read_json(text.as_bytes()) {
        Ok((Json::Object(members), twice)) => (members, twice),
        Ok(_) => return Err(Box::new((head, Error::bad_request("A message is one JSON object.")))),
        Err(error) => {
            return Err(Box::new((
                head,
                Error::new(Code::ParseError, format!("The message is not JSON: {error}.")),
            )));
        }
    };
    let mut problem = twice.map(Cow::Owned);
    let mut address = None;
    let mut action = None;
    let mut key = None;
    let mut payload = Map::new();
    let mut options = Vec::new();
    for (name, value) in members {
        let found = match name.as_str() {
            "request_id" => match value {
                Json::String(_) | Json::Number(_) => {
                    head.request_id = Some(value);
                    Ok(())
                }
                Json::Null => Ok(()),
                _ => Err("request_id is a string or a number."),
            },
            "stream" => text_member(value, &mut address, "stream is a string."),
            "action" => text_member(value, &mut action, "action is a string."),
            "pk" => match value {
                Json::Null => Ok(()),
                Json::Array(_) | Json::Object(_) => Err("pk is a value, not a list or an object."),
                value => {
                    key = Some(value);
                    Ok(())
                }
            },
            "payload" => match value {
                Json::Object(members) => {
                    payload = members;
                    Ok(())
                }
                Json::Null => Ok(()),
                _ => Err("payload is an object."),
            },
            _ => {
                options.push((name, value));
                Ok(())
            }
        };
        problem = problem.or(found.err().map(Cow::Borrowed));
    }
    head.action.clone_from(&action);
    let streamless =
        address.is_none() && action.as_deref().is_some_and(|action| STREAMLESS.contains(&action));
    let address = address.or_else(|| default_address.filter(|_| !streamless).map(str::to_owned));
    let mut segments = Vec::new();
    if let Some(address) = &address {
        for segment in address.trim_matches('/').split('/') {
            let decoded = url_decoded(segment);
            if decoded.is_none() {
                problem = problem.or(Some(Cow::Borrowed("The address is not URL-encoded text.")));
            }
            segments.push(decoded);
        }
        head.stream = segments.first().cloned().flatten().filter(|stream| !stream.is_empty());
        if head.action.is_none() {
            head.action = segments.get(1).cloned().flatten();
        }
    }
    // One that could not be decoded keeps its place until here, or the reply would name its neighbour.
    let segments = segments.into_iter().flatten().collect();
    match put_together(&head, problem, segments, action, key, streamless) {
        Ok((stream, action, key)) => Ok(Message { head, stream, action, key, payload, options }),
        Err(detail) => Err(Box::new((head, Error::bad_request(detail)))),
    }
}

type Addressed = (Option<String>, String, Option<Json>);

/// Joins what the address says with what the members say; they must not disagree.
fn put_together(
    head: &Head,
    problem: Option<Cow<'static, str>>,
    segments: Vec<String>,
    action: Option<String>,
    key: Option<Json>,
    streamless: bool,
) -> Result<Addressed, Cow<'static, str>> {
    if let Some(problem) = problem {
        return Err(problem);
    }
    if streamless {
        return Ok((None, action.unwrap_or_default(), key));
    }
    if segments.len() > 3 {
        return Err("An address has at most three segments: stream, action and pk.".into());
    }
    let mut segments = segments.into_iter();
    let stream = segments.next();
    let addressed_action = segments.next();
    let addressed_key = segments.next();
    if head.stream.is_none() {
        return Err("A message names a stream.".into());
    }
    let action = match (addressed_action, action) {
        (Some(addressed), Some(named)) if addressed != named => {
            return Err("The address and the member action disagree.".into());
        }
        (Some(action), _) | (None, Some(action)) if !action.is_empty() => action,
        _ => return Err("A message names an action.".into()),
    };
    let key = match (addressed_key, key) {
        (Some(addressed), Some(named)) if !is_text_of(&addressed, &named) => {
            return Err("The address and the member pk disagree.".into());
        }
        (_, Some(key)) => Some(key),
        (Some(addressed), None) => Some(Json::String(addressed)),
        (None, None) => None,
    };
    Ok((stream, action, key))
}

fn text_member(value: Json, target: &mut Option<String>, message: &'static str) -> Result<(), &'static str> {
    match value {
        Json::String(text) => {
            *target = Some(text);
            Ok(())
        }
        Json::Null => Ok(()),
        _ => Err(message),
    }
}

fn is_text_of(text: &str, json: &Json) -> bool {
    match json {
        Json::String(other) => other == text,
        other => {
            let other = other.to_string();
            other == text
        }
    }
}

/// Percent-decodes a segment of an address; `None` where the result is no text or an escape is broken.
pub fn url_decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
