//! The few bytes of HTTP/1.1 and RFC 6455 that the load generator and the raw server speak.
//!
//! By hand, because both ends are measured: a library here would put its own cost on the baseline, or make the load
//! generator the bottleneck.

/// The handshake key every client of this benchmark sends; nothing here depends on its being random.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What marks a broadcast inside a frame: this, eight digits and `#`. JSON escapes none of it.
const MARK: &[u8] = b"fanout#";
const DIGITS: usize = 8;
/// The first identity that does not fit the digits.
pub(crate) const IDS: u64 = 100_000_000;

/// A frame no server here has reason to send; a longer one is a fault, not something to buffer.
const MAX_PAYLOAD: usize = 1 << 20;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// One HTTP message: a head and a body whose length it names.
pub(crate) struct Message<'a> {
    pub(crate) head: &'a str,
    pub(crate) body: &'a [u8],
    /// How many bytes the message takes at the front of the buffer.
    pub(crate) len: usize,
}

impl<'a> Message<'a> {
    /// The message at the front of `bytes`; `None` while it is not complete.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head =
            std::str::from_utf8(&bytes[..end]).map_err(|_| "an HTTP head that is not text".to_owned())?;
        if header(head, "transfer-encoding").is_some() {
            return Err("an HTTP message without a content length".to_owned());
        }
        let body_len = match header(head, "content-length") {
            Some(value) => value.parse().map_err(|_| format!("an HTTP content length of `{value}`"))?,
            None => 0,
        };
        let start = end + 4;
        Ok(bytes.get(start..start + body_len).map(|body| Self { head, body, len: start + body_len }))
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Result<u16, String> {
        let line = self.head.lines().next().unwrap_or_default();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| format!("an HTTP status line `{line}`"))
    }
}

/// The value of a header, if the head has it.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The request that opens a WebSocket.
pub(crate) fn handshake(host: &str) -> String {
    format!(
        "GET /api/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A request with a JSON body.
pub(crate) fn post(host: &str, path: &str, token: Option<&str>, body: &str) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{authorization}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One WebSocket frame as a server sends it.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// How many bytes the frame takes at the front of the buffer.
    pub(crate) len: usize,
}

impl<'a> Frame<'a> {
    /// The frame at the front of `bytes`; `None` while it is not complete.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Option<Self>, String> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        if first & 0xf0 != 0x80 || second & 0x80 != 0 {
            return Err(format!("a fragmented, compressed or masked frame ({first:#04x} {second:#04x})"));
        }
        let (start, payload_len) = match second {
            126 => match bytes.get(2..4) {
                Some(len) => (4, usize::from(u16::from_be_bytes([len[0], len[1]]))),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|len| <[u8; 8]>::try_from(len).ok()) {
                Some(len) => (10, usize::try_from(u64::from_be_bytes(len)).unwrap_or(usize::MAX)),
                None => return Ok(None),
            },
            len => (2, usize::from(len)),
        };
        if payload_len > MAX_PAYLOAD {
            return Err(format!("a frame of {payload_len} bytes"));
        }
        let payload = bytes.get(start..start + payload_len);
        Ok(payload.map(|payload| Self { opcode: first & 0x0f, payload, len: start + payload_len }))
    }
}

/// Appends a server's text frame to `out`.
pub(crate) fn push_text(out: &mut Vec<u8>, payload: &[u8]) {
    push_header(out, TEXT, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// A client's frame; masked with zeros, which leaves the payload as it is.
pub(crate) fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 14);
    push_header(&mut out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

fn push_header(out: &mut Vec<u8>, opcode: u8, payload_len: usize, mask: u8) {
    out.push(0x80 | opcode);
    if let Ok(len) = u8::try_from(payload_len)
        && len < 126
    {
        out.push(mask | len);
    } else if let Ok(len) = u16::try_from(payload_len) {
        out.push(mask | 126);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(mask | 127);
        out.extend_from_slice(&(payload_len as u64).to_be_bytes());
    }
}

/// The mark of broadcast `id`.
pub(crate) fn mark(id: u64) -> String {
    format!("fanout#{id:08}#")
}

/// All marks of a payload, which may tell of many comments.
pub(crate) fn marks(payload: &[u8]) -> impl Iterator<Item = u64> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let mut at = usize::MAX;
        let id = find_mark(rest, &mut at)?;
        rest = &rest[at + MARK.len()..];
        Some(id)
    })
}

/// The broadcast a payload belongs to. `hint` is where the mark was last: frames of one server look alike.
pub(crate) fn find_mark(payload: &[u8], hint: &mut usize) -> Option<u64> {
    if !payload.get(*hint..).is_some_and(|rest| rest.starts_with(MARK)) {
        *hint = payload.windows(MARK.len()).position(|window| window == MARK)?;
    }
    let digits = payload.get(*hint + MARK.len()..*hint + MARK.len() + DIGITS)?;
    digits.iter().try_fold(0, |id, digit| digit.is_ascii_digit().then(|| id * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_length_is_read_back_once_it_is_complete() {
        for len in [0, 1, 125, 126, 250, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut bytes = Vec::new();
            push_text(&mut bytes, &payload);
            assert!(Frame::parse(&bytes[..bytes.len() - 1]).expect("no error").is_none());
            bytes.push(0x81);
            let frame = Frame::parse(&bytes).expect("no error").expect("complete");
            assert_eq!((frame.opcode, frame.payload, frame.len), (TEXT, &payload[..], bytes.len() - 1));
        }
    }

    #[test]
    fn a_message_ends_where_its_length_says() {
        let bytes = b"HTTP/1.1 201 Created\r\ncontent-LENGTH: 2\r\n\r\n{}HTTP";
        assert!(Message::parse(&bytes[..43]).expect("no error").is_none());
        let message = Message::parse(bytes).expect("no error").expect("complete");
        assert_eq!((message.status(), message.body, message.len), (Ok(201), &b"{}"[..], bytes.len() - 4));
    }

    #[test]
    fn a_mark_is_found_wherever_it_moves() {
        let mut hint = 99;
        for before in ["", "ab", "{\"pk\":10,\"body\":\""] {
            assert_eq!(find_mark(format!("{before}{}…", mark(42)).as_bytes(), &mut hint), Some(42));
            assert_eq!(hint, before.len());
        }
        assert_eq!(find_mark(b"fanout#0000004", &mut hint), None);
        assert_eq!(find_mark(b"{}", &mut hint), None);
        let many = format!("{}x{}{}", mark(1), mark(2), mark(99));
        assert_eq!(marks(many.as_bytes()).collect::<Vec<_>>(), [1, 2, 99]);
        assert_eq!(marks(b"{}").count(), 0);
    }
}
