//! Lines to any writer: the terminal, a test's buffer.

use crate::ConnectError;
use std::io::Write;

/// A place that takes lines and can take none of them back: it is told each epoch's once, and has no part in the protocol of
/// [`Sink`](crate::Sink)s.
pub struct Lines {
    target: String,
    writer: Box<dyn Write + Send>,
}

impl Lines {
    /// Lines go to `writer`, which errors call `target`.
    pub fn new(target: &str, writer: impl Write + Send + 'static) -> Self {
        Self { target: target.to_owned(), writer: Box::new(writer) }
    }

    /// Takes lines, each with its newline.
    ///
    /// # Errors
    /// When the place does not take them.
    pub fn write(&mut self, lines: &str) -> Result<(), ConnectError> {
        let written = self.writer.write_all(lines.as_bytes()).and_then(|()| self.writer.flush());
        written.map_err(|source| ConnectError::Write { target: self.target.clone(), source })
    }
}
