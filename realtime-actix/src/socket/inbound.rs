//! What a client sends: from bytes to whole messages, within the limits.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::ws::{Codec, Frame, Item, ProtocolError};
use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio_util::codec::Decoder as _;

use super::client::SocketState;

/// One message of a client.
#[derive(Debug, PartialEq)]
pub(super) enum Inbound {
    Text(String),
    Binary,
    Ping(Bytes),
    Pong,
    /// The peer closes, with the code that it is answered with.
    Close(u16),
    /// The peer breaks the rules: the code and the reason that it is closed with.
    Violation(u16, &'static str),
}

/// Puts a client's bytes together to messages.
pub(super) struct Assembler {
    buffer: BytesMut,
    codec: Codec,
    /// A message of several frames: is it text, and what has come of it?
    fragments: Option<(bool, BytesMut)>,
    limit: usize,
    /// A rule was broken: what still comes is thrown away.
    broken: bool,
}

const TOO_LARGE: Inbound = Inbound::Violation(1009, "the message is over the size limit");

impl Assembler {
    pub(super) fn new(limit: usize) -> Self {
        // The codec's own check comes only when a whole frame is buffered. Ours looks at its header; see `next`.
        Self {
            buffer: BytesMut::new(),
            codec: Codec::new().max_size(limit),
            fragments: None,
            limit,
            broken: false,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole message, if there is one.
    pub(super) fn next(&mut self) -> Option<Inbound> {
        if self.broken {
            return None;
        }
        let message = self.assemble()?;
        if matches!(message, Inbound::Violation(..)) {
            self.broken = true;
            self.buffer = BytesMut::new();
            self.fragments = None;
        }
        Some(message)
    }

    fn assemble(&mut self) -> Option<Inbound> {
        loop {
            let so_far = self.fragments.as_ref().map_or(0, |(_, bytes)| bytes.len());
            if declared_length(&self.buffer).is_some_and(|length| length > (self.limit - so_far) as u64) {
                return Some(TOO_LARGE);
            }
            let frame = match self.codec.decode(&mut self.buffer) {
                Ok(frame) => frame?,
                Err(ProtocolError::Overflow) => return Some(TOO_LARGE),
                Err(_) => return Some(Inbound::Violation(1002, "the frame breaks the protocol")),
            };
            let message = match frame {
                Frame::Text(bytes) => text(bytes.into()),
                Frame::Binary(_) => Inbound::Binary,
                Frame::Ping(bytes) => Inbound::Ping(bytes),
                Frame::Pong(_) => Inbound::Pong,
                Frame::Close(reason) => Inbound::Close(reason.map_or(1000, |reason| u16::from(reason.code))),
                Frame::Continuation(item) => match self.continuation(item) {
                    Some(message) => message,
                    None => continue,
                },
            };
            return Some(message);
        }
    }

    /// Only the whole message is checked to be text: a character may be cut in two by its frames.
    fn continuation(&mut self, item: Item) -> Option<Inbound> {
        match item {
            Item::FirstText(bytes) => self.fragments = Some((true, BytesMut::from(&bytes[..]))),
            Item::FirstBinary(bytes) => self.fragments = Some((false, BytesMut::from(&bytes[..]))),
            Item::Continue(bytes) => self.append(&bytes),
            Item::Last(bytes) => {
                self.append(&bytes);
                let (is_text, bytes) = self.fragments.take()?;
                return Some(if is_text { text(bytes.into()) } else { Inbound::Binary });
            }
        }
        None
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Some((_, buffer)) = &mut self.fragments {
            buffer.extend_from_slice(bytes);
        }
    }
}

fn text(bytes: Vec<u8>) -> Inbound {
    match String::from_utf8(bytes) {
        Ok(text) => Inbound::Text(text),
        Err(_) => Inbound::Violation(1007, "the text is not UTF-8"),
    }
}

/// The payload length that the header at the front of the buffer declares, as soon as it is there.
fn declared_length(buffer: &[u8]) -> Option<u64> {
    let (second, rest) = buffer.get(1..)?.split_first()?;
    match second & 0x7f {
        126 => Some(u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => Some(u64::from_be_bytes(*rest.first_chunk()?)),
        length => Some(u64::from(length)),
    }
}

/// The messages of one connection. Pauses while the connection has enough to do: then TCP makes the client wait.
pub(super) struct InboundStream {
    payload: actix_web::web::Payload,
    assembler: Assembler,
    socket: Rc<SocketState>,
}

impl InboundStream {
    pub(super) fn new(payload: actix_web::web::Payload, limit: usize, socket: Rc<SocketState>) -> Self {
        Self { payload, assembler: Assembler::new(limit), socket }
    }
}

impl Stream for InboundStream {
    type Item = Inbound;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Inbound>> {
        loop {
            if self.socket.must_pause(context) {
                return Poll::Pending;
            }
            if let Some(message) = self.assembler.next() {
                return Poll::Ready(Some(message));
            }
            match Pin::new(&mut self.payload).poll_next(context) {
                Poll::Ready(Some(Ok(bytes))) => self.assembler.feed(&bytes),
                Poll::Ready(Some(Err(PayloadError::Incomplete(_))) | None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a socket ended");
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame, as a client sends it; the mask is zero, so that the payload can be read.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("short")),
            length => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&u16::try_from(length).expect("of middle length").to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[track_caller]
    fn check(limit: usize, bytes: &[u8], expected: &[Inbound]) {
        // However the bytes are cut, the messages are the same.
        for chunk in [1, 3, bytes.len().max(1)] {
            let mut assembler = Assembler::new(limit);
            let mut seen = Vec::new();
            'all: for bytes in bytes.chunks(chunk) {
                assembler.feed(bytes);
                while let Some(message) = assembler.next() {
                    let is_end = matches!(message, Inbound::Violation(..) | Inbound::Close(_));
                    seen.push(message);
                    if is_end {
                        break 'all;
                    }
                }
            }
            assert_eq!(seen, expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn messages_are_put_together_from_frames() {
        let bytes =
            [frame(0x01, "h\u{e9}".as_bytes().split_at(2).0), frame(0x89, b"!"), frame(0x80, &[0xa9, b'y'])];
        check(100, &bytes.concat(), &[Inbound::Ping(Bytes::from_static(b"!")), Inbound::Text("héy".into())]);
        check(100, &frame(0x82, b"x"), &[Inbound::Binary]);
        check(100, &frame(0x88, &1001u16.to_be_bytes()), &[Inbound::Close(1001)]);
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_from_its_header() {
        check(125, &frame(0x81, &[b'x'; 125]), &[Inbound::Text("x".repeat(125))]);
        check(125, &frame(0x81, &[b'x'; 126])[..8], &[TOO_LARGE]);
        let header = [0x81, 0x80 | 127, 0, 0, 0, 0, 0x40, 0, 0, 0];
        check(1 << 20, &header, &[TOO_LARGE]);
        let parts = [frame(0x01, &[b'x'; 100]), frame(0x80, &[b'x'; 26])].concat();
        check(125, &parts, &[TOO_LARGE]);
    }

    #[test]
    fn broken_rules_end_the_connection() {
        check(100, &frame(0x81, &[0xff]), &[Inbound::Violation(1007, "the text is not UTF-8")]);
        let broken = Inbound::Violation(1002, "the frame breaks the protocol");
        check(100, &frame(0x80, b"x"), &[broken]);
        check(100, &[0x81, 0x01, b'x'], &[Inbound::Violation(1002, "the frame breaks the protocol")]);
        check(100, &frame(0xc1, b"x"), &[Inbound::Violation(1002, "the frame breaks the protocol")]);
    }
}
