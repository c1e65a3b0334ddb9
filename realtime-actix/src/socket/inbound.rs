//! What a client sends: from bytes to whole messages, within the limits.
//!
//! The frames are read here and not by actix's codec, which looks at a frame only once all of it is buffered: a client
//! could make it keep what is over the limit, and a text that is broken at its first byte.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::error::PayloadError;
use bytes::{Buf as _, Bytes};
use futures_util::Stream;

use super::client::SocketState;

/// One message of a client.
#[derive(Debug, PartialEq)]
pub(super) enum Inbound {
    Text(String),
    /// What it says is of use where everything is sent back.
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// The peer closes, with the code that it is answered with.
    Close(u16),
    /// The peer breaks the rules: the code and the reason that it is closed with.
    Violation(u16, &'static str),
}

const TOO_LARGE: Inbound = Inbound::Violation(1009, "the message is over the size limit");
const NOT_UTF8: Inbound = Inbound::Violation(1007, "the text is not UTF-8");
const BROKEN: Inbound = Inbound::Violation(1002, "the frame breaks the protocol");

/// The longest header of a frame with a mask.
const LONGEST_HEADER: usize = 14;

/// The longest payload of a frame that is about the connection.
const LONGEST_CONTROL: u64 = 125;

/// Puts a client's bytes together to messages.
#[derive(Debug)]
pub(super) struct Assembler {
    /// What has come and has not been looked at.
    chunk: Bytes,
    /// The beginning of a header.
    header: [u8; LONGEST_HEADER],
    header_bytes: usize,
    /// The frame whose header has come.
    frame: Option<Frame>,
    /// A message of which some frames have come, or a part of one.
    message: Option<Message>,
    /// What has come of a frame that is about the connection. It may come between two frames of a message.
    control: Vec<u8>,
    limit: usize,
    /// A rule was broken or the peer has closed: what still comes is thrown away.
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    is_last: bool,
    mask: [u8; 4],
    left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    bytes: Vec<u8>,
    /// Bytes at the front that are known to be whole characters.
    checked: usize,
}

impl Opcode {
    fn of(first: u8) -> Option<Self> {
        Some(match first & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Is it about the connection, and no part of a message?
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Message {
    /// Can what has come so far be the beginning of a text? A character may be cut in two, by frames or by the network.
    fn is_beginning_of_text(&mut self) -> bool {
        let rest = self.bytes.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(rest) {
            Ok(_) => {
                self.checked = self.bytes.len();
                true
            }
            Err(error) => {
                self.checked += error.valid_up_to();
                error.error_len().is_none()
            }
        }
    }

    fn finish(self) -> Inbound {
        if !self.is_text {
            return Inbound::Binary(self.bytes);
        }
        if self.checked < self.bytes.len() {
            return NOT_UTF8;
        }
        String::from_utf8(self.bytes).map_or(NOT_UTF8, Inbound::Text)
    }
}

impl Assembler {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            header: [0; LONGEST_HEADER],
            header_bytes: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            limit,
            over: false,
        }
    }

    /// Takes what has come, once `next` gives nothing more.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        if !self.over {
            self.chunk = bytes;
        }
    }

    /// The next whole message, if there is one.
    pub(super) fn next(&mut self) -> Option<Inbound> {
        if self.over {
            return None;
        }
        let message = self.assemble()?;
        if matches!(message, Inbound::Violation(..) | Inbound::Close(_)) {
            self.over = true;
            self.chunk = Bytes::new();
            self.message = None;
        }
        Some(message)
    }

    fn assemble(&mut self) -> Option<Inbound> {
        loop {
            let Some(mut frame) = self.frame else {
                match self.read_header()? {
                    Ok(frame) => {
                        self.frame = Some(frame);
                        continue;
                    }
                    Err(violation) => return Some(violation),
                }
            };
            if let Err(violation) = self.take_payload(&mut frame) {
                return Some(violation);
            }
            if frame.left > 0 {
                self.frame = Some(frame);
                return None;
            }
            self.frame = None;
            if let Some(message) = self.end_frame(frame) {
                return Some(message);
            }
        }
    }

    /// Reads a header, byte by byte: each one is judged as soon as it is there.
    fn read_header(&mut self) -> Option<Result<Frame, Inbound>> {
        loop {
            match self.parse_header() {
                Some(parsed) => {
                    self.header_bytes = 0;
                    return Some(parsed);
                }
                None => {
                    let Some(&byte) = self.chunk.first() else {
                        // Where nothing is left of it, its room is the server's again, to read into.
                        self.chunk = Bytes::new();
                        return None;
                    };
                    self.chunk.advance(1);
                    self.header[self.header_bytes] = byte;
                    self.header_bytes += 1;
                }
            }
        }
    }

    /// What the header's bytes so far say; `None` while they say too little.
    fn parse_header(&self) -> Option<Result<Frame, Inbound>> {
        let header = &self.header[..self.header_bytes];
        let first = *header.first()?;
        let opcode = match Opcode::of(first) {
            Some(opcode) if first & 0x70 == 0 => opcode,
            _ => return Some(Err(BROKEN)),
        };
        let is_last = first & 0x80 != 0;
        // A message begins with a frame that says what it is, and goes on with some that do not.
        let is_out_of_turn = match opcode {
            Opcode::Continuation => self.message.is_none(),
            Opcode::Text | Opcode::Binary => self.message.is_some(),
            _ => !is_last,
        };
        if is_out_of_turn {
            return Some(Err(BROKEN));
        }
        let second = *header.get(1)?;
        let (length, rest) = match second & 0x7f {
            126 | 127 if opcode.is_control() => return Some(Err(BROKEN)),
            126 => (u64::from(u16::from_be_bytes(*header[2..].first_chunk()?)), &header[4..]),
            127 => (u64::from_be_bytes(*header[2..].first_chunk()?), &header[10..]),
            length => (u64::from(length), &header[2..]),
        };
        let is_masked = second & 0x80 != 0;
        if !is_masked || length > u64::MAX >> 1 || (opcode.is_control() && length > LONGEST_CONTROL) {
            return Some(Err(BROKEN));
        }
        let so_far = self.message.as_ref().map_or(0, |message| message.bytes.len());
        if !opcode.is_control() && length > self.limit.saturating_sub(so_far) as u64 {
            return Some(Err(TOO_LARGE));
        }
        let mask = *rest.first_chunk()?;
        Some(Ok(Frame { opcode, is_last, mask, left: length }))
    }

    /// Takes what has come of a frame's payload.
    fn take_payload(&mut self, frame: &mut Frame) -> Result<(), Inbound> {
        let fitting = usize::try_from(frame.left).unwrap_or(usize::MAX).min(self.chunk.len());
        let bytes = self.chunk.split_to(fitting);
        frame.left -= fitting as u64;
        let target = if frame.opcode.is_control() {
            &mut self.control
        } else {
            let is_text = frame.opcode == Opcode::Text;
            let begin = || Message { is_text, bytes: Vec::new(), checked: 0 };
            &mut self.message.get_or_insert_with(begin).bytes
        };
        let start = target.len();
        target.extend_from_slice(&bytes);
        for (byte, mask) in target[start..].iter_mut().zip(frame.mask.iter().cycle()) {
            *byte ^= mask;
        }
        frame.mask.rotate_left(fitting % 4);
        let can_be_text =
            self.message.as_mut().is_none_or(|message| !message.is_text || message.is_beginning_of_text());
        if can_be_text { Ok(()) } else { Err(NOT_UTF8) }
    }

    /// What a frame that has come whole completes.
    fn end_frame(&mut self, frame: Frame) -> Option<Inbound> {
        if frame.opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            return Some(match frame.opcode {
                Opcode::Ping => Inbound::Ping(payload),
                Opcode::Close => closing(&payload),
                _ => Inbound::Pong,
            });
        }
        if frame.is_last { self.message.take().map(Message::finish) } else { None }
    }
}

/// What a close frame says.
fn closing(payload: &[u8]) -> Inbound {
    match payload.split_first_chunk() {
        None if payload.is_empty() => Inbound::Close(1000),
        None => BROKEN,
        Some((code, reason)) => match u16::from_be_bytes(*code) {
            code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => match std::str::from_utf8(reason) {
                Ok(_) => Inbound::Close(code),
                Err(_) => NOT_UTF8,
            },
            _ => BROKEN,
        },
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
                Poll::Ready(Some(Ok(bytes))) => {
                    self.socket.receive();
                    self.assembler.feed(bytes);
                }
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

    /// A masked frame, as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        const MASK: [u8; 4] = [0x11, 0x80, 0x00, 0xfe];
        let mut bytes = header(first, payload.len() as u64);
        let length = bytes.len();
        bytes[length - 4..].copy_from_slice(&MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Its header; the mask is zero.
    fn header(first: u8, length: u64) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(0x80 | u8::try_from(length).expect("short")),
            126..0x1_0000 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&u16::try_from(length).expect("of middle length").to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    /// All messages of some bytes that come in chunks of a size.
    fn assembled(assembler: &mut Assembler, bytes: &[u8], chunk: usize) -> Vec<Inbound> {
        let mut seen = Vec::new();
        for bytes in bytes.chunks(chunk) {
            assembler.feed(Bytes::copy_from_slice(bytes));
            seen.extend(std::iter::from_fn(|| assembler.next()));
        }
        seen
    }

    #[track_caller]
    fn check(limit: usize, bytes: &[u8], expected: &[Inbound]) {
        // However the bytes are cut, the messages are the same.
        for chunk in [1, 2, 3, 5, bytes.len().max(1)] {
            let seen = assembled(&mut Assembler::new(limit), bytes, chunk);
            assert_eq!(seen, expected, "in chunks of {chunk}");
        }
    }

    fn said(text: &str) -> Inbound {
        Inbound::Text(text.to_owned())
    }

    #[test]
    fn messages_are_put_together_from_frames() {
        let bytes =
            [frame(0x01, "h\u{e9}".as_bytes().split_at(2).0), frame(0x89, b"!"), frame(0x80, &[0xa9, b'y'])];
        check(100, &bytes.concat(), &[Inbound::Ping(b"!".to_vec()), said("héy")]);
        check(100, &frame(0x82, b"x"), &[Inbound::Binary(b"x".to_vec())]);
        check(100, &[frame(0x81, b""), frame(0x8a, b"x")].concat(), &[said(""), Inbound::Pong]);
        let parts = [frame(0x02, b"\xff"), frame(0x00, b""), frame(0x80, b"\xfe")];
        check(100, &parts.concat(), &[Inbound::Binary(vec![0xff, 0xfe])]);
        let long = "a long text ".repeat(20_000);
        check(1 << 20, &frame(0x81, long.as_bytes()), &[said(&long)]);
    }

    #[test]
    fn one_byte_over_the_limit_is_too_much_in_one_frame_and_in_many() {
        for limit in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let text = "x".repeat(limit + 1);
            for length in limit.saturating_sub(1)..=limit {
                check(limit, &frame(0x81, &text.as_bytes()[..length]), &[said(&text[..length])]);
                let (front, back) = text.as_bytes()[..length].split_at(length / 2);
                check(limit, &[frame(0x01, front), frame(0x80, back)].concat(), &[said(&text[..length])]);
            }
            check(limit, &header(0x81, limit as u64 + 1), &[TOO_LARGE]);
            let (front, back) = text.as_bytes().split_at(limit / 2);
            check(limit, &[frame(0x01, front), header(0x80, back.len() as u64)].concat(), &[TOO_LARGE]);
        }
    }

    #[test]
    fn what_is_over_the_limit_is_refused_from_its_header_and_not_kept() {
        for length in [101, 1 << 30, u64::MAX >> 1] {
            let mut assembler = Assembler::new(100);
            let header = header(0x82, length);
            // Not even the mask is waited for.
            assert_eq!(assembled(&mut assembler, &header[..header.len() - 4], 1), [TOO_LARGE]);
            for _ in 0..100 {
                assembler.feed(Bytes::from_static(&[0x82; 10_000]));
                assert_eq!(assembler.next(), None);
            }
            assert!(assembler.chunk.is_empty() && assembler.message.is_none(), "{assembler:?}");
        }
    }

    #[test]
    fn a_frame_about_the_connection_is_no_part_of_a_message() {
        let text = [frame(0x01, &[b'x'; 100]), frame(0x89, &[b'p'; 125]), frame(0x80, b"")].concat();
        check(100, &text, &[Inbound::Ping(vec![b'p'; 125]), said(&"x".repeat(100))]);
        check(100, &header(0x89, 126), &[BROKEN]);
        check(100, &header(0x89, 1 << 20), &[BROKEN]);
        check(100, &frame(0x09, b"x"), &[BROKEN]);
    }

    #[test]
    fn what_comes_before_a_broken_frame_is_read_and_nothing_after_it() {
        let bytes = [frame(0x81, b"1"), frame(0x83, b"2"), frame(0x81, b"3")].concat();
        check(100, &bytes, &[said("1"), BROKEN]);
        let bytes = [frame(0x81, b"1"), frame(0x88, &1001u16.to_be_bytes()), frame(0x81, b"2")].concat();
        check(100, &bytes, &[said("1"), Inbound::Close(1001)]);
    }

    #[test]
    fn a_text_is_refused_at_its_first_byte_that_can_be_no_text() {
        let whole = "κόσμε".as_bytes();
        for broken in [&[0xff][..], &[0xc0], &[0xed, 0xa0], &[0xf4, 0x90], &[0xe2, 0x28]] {
            let mut bytes = header(0x01, 1_000);
            bytes.extend_from_slice(whole);
            bytes.extend_from_slice(broken);
            // The frame is not over, and the message neither.
            check(10_000, &bytes, &[NOT_UTF8]);
        }
        check(100, &frame(0x81, &[0xe2, 0x82]), &[NOT_UTF8]);
        let parts = [frame(0x01, &[0xe2, 0x82]), frame(0x80, b"x")].concat();
        check(100, &parts, &[NOT_UTF8]);
        for at in 0..=whole.len() {
            let (front, back) = whole.split_at(at);
            check(100, &[frame(0x01, front), frame(0x80, back)].concat(), &[said("κόσμε")]);
        }
    }

    #[test]
    fn broken_rules_end_the_connection() {
        check(100, &frame(0x80, b"x"), &[BROKEN]);
        check(100, &[frame(0x01, b"x"), frame(0x81, b"y")].concat(), &[BROKEN]);
        check(100, &[0x81, 0x01, b'x'], &[BROKEN]);
        for reserved in [0xc1, 0xa1, 0x91, 0x83, 0x8b] {
            check(100, &[reserved], &[BROKEN]);
        }
        check(usize::MAX, &header(0x81, u64::MAX), &[BROKEN]);
    }

    #[test]
    fn a_close_frame_is_answered_with_its_code() {
        check(0, &frame(0x88, b""), &[Inbound::Close(1000)]);
        check(0, &frame(0x88, b"\x03"), &[BROKEN]);
        for code in [1000_u16, 1003, 1007, 1014, 3000, 4999] {
            check(0, &frame(0x88, &code.to_be_bytes()), &[Inbound::Close(code)]);
            check(0, &frame(0x88, &[&code.to_be_bytes()[..], b"why"].concat()), &[Inbound::Close(code)]);
            check(0, &frame(0x88, &[&code.to_be_bytes()[..], &[0xff]].concat()), &[NOT_UTF8]);
        }
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            check(0, &frame(0x88, &code.to_be_bytes()), &[BROKEN]);
        }
    }
}
