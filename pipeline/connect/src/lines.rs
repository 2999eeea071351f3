//! Lines to any writer: the terminal, a test's buffer.

use crate::{ConnectError, Sink};
use std::io::Write;

/// A sink over a writer.
pub struct LineSink<W> {
    target: String,
    writer: W,
}

impl<W: Write + Send> LineSink<W> {
    /// Lines go to `writer`, which errors call `target`.
    pub fn new(target: &str, writer: W) -> Self {
        Self { target: target.to_owned(), writer }
    }

    fn failed(&self, source: std::io::Error) -> ConnectError {
        ConnectError::Write { target: self.target.clone(), source }
    }
}

impl<W: Write + Send> Sink for LineSink<W> {
    fn write(&mut self, lines: &str) -> Result<(), ConnectError> {
        self.writer.write_all(lines.as_bytes()).and_then(|()| self.writer.flush()).map_err(|error| self.failed(error))
    }

    fn finish(&mut self) -> Result<(), ConnectError> {
        self.writer.flush().map_err(|error| self.failed(error))
    }

    fn position(&mut self) -> Result<Option<u64>, ConnectError> {
        Ok(None)
    }
}
