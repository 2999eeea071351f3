//! Messages in and out of a connection, each of bounded size.

use bytes::{Buf, BytesMut};
use pgwire::error::PgWireError;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A message may have this many bytes: a statement of the size that is allowed, or parameters.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// So much is taken in while a query runs, to see whether the client is still there.
const AHEAD_BYTES_MAX: usize = 1 << 20;
/// Answers are sent in parts of about this many bytes.
const PART_BYTES: usize = 64 << 10;
/// A client must take something of its answer within this time.
const TAKE_TIMEOUT: Duration = Duration::from_secs(120);

/// Why nothing more can be read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client has gone away.
    Gone,
    /// What it sent is no message.
    Protocol(String),
    /// What it sent is too large.
    TooLarge(usize),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// What comes before the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request without a type byte: for encryption, to cancel, or to start.
    Startup,
    /// Messages with types.
    Messages,
}

/// What a client sends.
#[derive(Debug)]
pub(super) struct Reader {
    half: OwnedReadHalf,
    buffer: BytesMut,
    ended: bool,
}

/// What it is sent.
#[derive(Debug)]
pub(super) struct Writer {
    half: OwnedWriteHalf,
    buffer: BytesMut,
}

/// Both sides of a connection.
pub(super) fn split(stream: TcpStream) -> io::Result<(Reader, Writer)> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let reader = Reader { half: read, buffer: BytesMut::new(), ended: false };
    Ok((reader, Writer { half: write, buffer: BytesMut::new() }))
}

impl Reader {
    /// The next message. Nothing is lost when this is dropped before it is done.
    pub(super) async fn next(&mut self, phase: Phase) -> Result<PgWireFrontendMessage, Broken> {
        loop {
            if let Some(message) = self.take(phase)? {
                return Ok(message);
            }
            if self.ended || self.half.read_buf(&mut self.buffer).await? == 0 {
                self.ended = true;
                return Err(Broken::Gone);
            }
        }
    }

    /// Waits until the client has gone away; takes in what it sends meanwhile.
    pub(super) async fn gone(&mut self) {
        while !self.ended {
            if self.buffer.len() >= AHEAD_BYTES_MAX {
                return std::future::pending().await;
            }
            match self.half.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self, phase: Phase) -> Result<Option<PgWireFrontendMessage>, Broken> {
        let head = match phase {
            Phase::Startup => 0,
            Phase::Messages => 1,
        };
        let Some(mut length) = self.buffer.get(head..head + 4) else { return Ok(None) };
        let length = length.get_u32() as usize;
        if length < 4 {
            return Err(Broken::Protocol("a message says that it is shorter than its own length".to_owned()));
        }
        if length > MESSAGE_BYTES_MAX || phase == Phase::Startup && length > 10_000 {
            return Err(Broken::TooLarge(length));
        }
        if self.buffer.len() < head + length {
            self.buffer.reserve(head + length - self.buffer.len());
            return Ok(None);
        }
        decode(self.buffer.split_to(head + length), phase).map(Some)
    }
}

/// Decodes one whole message. The decoder trusts lengths within it, so it gets nothing but the message.
fn decode(mut message: BytesMut, phase: Phase) -> Result<PgWireFrontendMessage, Broken> {
    let kind = message[0];
    if matches!((phase, kind), (Phase::Messages, b'Q' | b'P')) && !texts_are_utf8(&message[5..], kind) {
        return Err(Broken::Protocol("the SQL is not UTF-8".to_owned()));
    }
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = phase == Phase::Startup;
    context.awaiting_frontend_startup = phase == Phase::Startup;
    let decoded = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let first = PgWireFrontendMessage::decode(&mut message, &context);
        match first {
            // Neither of the requests for encryption: so it is the next kind.
            Ok(Some(PgWireFrontendMessage::SslNegotiation(_))) if !message.is_empty() => {
                context.awaiting_frontend_ssl = false;
                PgWireFrontendMessage::decode(&mut message, &context)
            }
            first => first,
        }
    }));
    match decoded {
        Ok(Ok(Some(decoded))) if message.is_empty() => Ok(decoded),
        Ok(Err(PgWireError::InvalidMessageType(kind))) => {
            Err(Broken::Protocol(format!("there is no message of type {:?}", char::from(kind))))
        }
        _ => Err(Broken::Protocol(format!("a message of type {:?} is not well formed", char::from(kind)))),
    }
}

/// The texts of a query or parse message: one, or two and then numbers.
fn texts_are_utf8(body: &[u8], kind: u8) -> bool {
    let texts = if kind == b'Q' { 1 } else { 2 };
    body.split(|byte| *byte == 0).take(texts).all(|text| std::str::from_utf8(text).is_ok())
}

impl Writer {
    /// Adds a message to what is to be sent.
    pub(super) fn put(&mut self, message: &PgWireBackendMessage) -> Result<(), Broken> {
        message.encode(&mut self.buffer).map_err(|error| Broken::Protocol(error.to_string()))
    }

    /// Whether there is enough to be sent.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= PART_BYTES
    }

    /// Sends what there is.
    pub(super) async fn flush(&mut self) -> Result<(), Broken> {
        while !self.buffer.is_empty() {
            let sent = tokio::time::timeout(TAKE_TIMEOUT, self.half.write_buf(&mut self.buffer)).await;
            if sent.map_err(|_| Broken::Gone)?? == 0 {
                return Err(Broken::Gone);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&[kind][..]);
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (kind, body) in [
            (b'Q', &b"SELECT 1"[..]),
            (b'Q', b"SELECT \xff\0"),
            (b'P', b"\0SELECT 1\0\0"),
            (b'P', b"\0SELECT 1\0\0\x02\0\0\0\x17"),
            (b'B', b"\0\0\0\x01"),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09abc\0\0"),
            (b'E', b"\0"),
            (b'D', b""),
            (b'S', b"more"),
            (b'?', b""),
        ] {
            let decoded = decode(message(kind, body), Phase::Messages);
            assert!(matches!(decoded, Err(Broken::Protocol(_))), "{:?} {body:?}: {decoded:?}", char::from(kind));
        }
        assert!(matches!(decode(message(b'Q', b"SELECT 1\0"), Phase::Messages), Ok(PgWireFrontendMessage::Query(_))));
        assert!(matches!(decode(message(b'S', b""), Phase::Messages), Ok(PgWireFrontendMessage::Sync(_))));
    }
}
