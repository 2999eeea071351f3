//! Files that are not lines, read: `format = 'parquet'`.

use crate::parquet::ParquetLines;
use arrow::error::ArrowError;
use chalk_connect::{ConnectError, LineChunk, LineSource};
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;

/// A bounded source: the rows of Parquet files, one file after the other. A position counts rows.
pub(crate) struct ParquetSource {
    waiting: VecDeque<PathBuf>,
    reading: Option<(ParquetLines, PathBuf)>,
    /// Rows that are still to be passed over.
    after: u64,
    position: u64,
}

impl ParquetSource {
    /// Files in their order, after so many rows.
    pub(crate) fn new(files: Vec<PathBuf>, position: u64) -> Self {
        Self { waiting: files.into(), reading: None, after: position, position }
    }
}

fn failed(path: &std::path::Path, error: impl std::fmt::Display) -> ConnectError {
    let source = std::io::Error::other(error.to_string());
    ConnectError::File { operation: "read", path: path.display().to_string(), source }
}

impl LineSource for ParquetSource {
    fn next(&mut self) -> Result<Option<LineChunk>, ConnectError> {
        loop {
            if let Some((reader, path)) = &mut self.reading {
                if let Some(lines) = reader.next() {
                    let (text, lines) = lines.map_err(|error: ArrowError| failed(path, error))?;
                    self.position += lines;
                    return Ok(Some(LineChunk { bytes: text.into_bytes(), position: self.position, lines }));
                }
                self.reading = None;
            }
            let Some(path) = self.waiting.pop_front() else { return Ok(None) };
            let file = File::open(&path).map_err(|error| failed(&path, error))?;
            let reader = ParquetLines::open(file, self.after).map_err(|error| failed(&path, error))?;
            self.after = self.after.saturating_sub(reader.rows());
            self.reading = Some((reader, path));
        }
    }
}
