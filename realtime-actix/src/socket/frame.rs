//! WebSocket frames as bytes. A frame that goes to many is made once.

use actix_http::ws::{OpCode, Parser};
use bytes::{Bytes, BytesMut};

fn frame(payload: &[u8], code: OpCode) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 10);
    Parser::write_message(&mut bytes, payload, code, true, false);
    bytes.freeze()
}

/// Text frames end to end, in a buffer that is as long as they are: it may wait for slow clients.
pub(super) fn texts<'a>(payloads: impl Iterator<Item = &'a str> + Clone) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payloads.clone().map(|payload| payload.len() + 10).sum());
    payloads.for_each(|payload| append_text(&mut bytes, payload));
    bytes.freeze()
}

/// Appends a text frame to others.
pub(super) fn append_text(bytes: &mut BytesMut, payload: &str) {
    Parser::write_message(bytes, payload, OpCode::Text, true, false);
}

/// A text frame.
pub(super) fn text(payload: &str) -> Bytes {
    frame(payload.as_bytes(), OpCode::Text)
}

/// A binary frame.
#[cfg(feature = "conformance")]
pub(super) fn binary(payload: &[u8]) -> Bytes {
    frame(payload, OpCode::Binary)
}

/// A ping without a payload.
pub(super) fn ping() -> Bytes {
    frame(&[], OpCode::Ping)
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    frame(payload, OpCode::Pong)
}

/// A close frame with a code and a reason.
pub(super) fn close(code: u16, reason: &str) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    frame(&payload, OpCode::Close)
}
