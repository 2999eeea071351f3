//! Files that are not lines, read: `format = 'parquet'` and `'avro'`.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use chalk_codec::write_json_row;
use chalk_connect::{ConnectError, LineChunk, LineSource};
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The rows of a file.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// Opens a file after so many of its rows, or as many as it has; gives the others, and how many were passed over.
pub(crate) type Open = Box<dyn Fn(File, u64) -> Result<(Batches, u64), ArrowError> + Send>;

/// A bounded source: the rows of files, one file after the other, as lines of JSON with the files' columns. A position counts rows.
pub(crate) struct ContainerSource {
    open: Open,
    waiting: VecDeque<PathBuf>,
    reading: Option<(Batches, PathBuf)>,
    /// Rows that are still to be passed over.
    after: u64,
    position: u64,
}

impl ContainerSource {
    /// Files in their order, after so many rows.
    pub(crate) fn new(files: Vec<PathBuf>, position: u64, open: Open) -> Self {
        Self { open, waiting: files.into(), reading: None, after: position, position }
    }
}

/// What is left of rows after so many, and how many were passed over.
///
/// # Errors
/// When those cannot be read.
pub(crate) fn pass_over(mut batches: Batches, after: u64) -> Result<(Batches, u64), ArrowError> {
    let mut passed = 0;
    while passed < after {
        let Some(batch) = batches.next().transpose()? else { break };
        let rows = batch.num_rows();
        let over = usize::try_from(after - passed).unwrap_or(usize::MAX).min(rows);
        passed += over as u64;
        if over < rows {
            batches = Box::new(std::iter::once(Ok(batch.slice(over, rows - over))).chain(batches));
        }
    }
    Ok((batches, passed))
}

fn failed(path: &Path, error: impl std::fmt::Display) -> ConnectError {
    let source = std::io::Error::other(error.to_string());
    ConnectError::File { operation: "read", path: path.display().to_string(), source }
}

fn lines(batch: &RecordBatch) -> Result<String, ArrowError> {
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        write_json_row(&mut text, batch, row, &|_| false)?;
        text.push('\n');
    }
    Ok(text)
}

impl LineSource for ContainerSource {
    fn next(&mut self) -> Result<Option<LineChunk>, ConnectError> {
        loop {
            if let Some((batches, path)) = &mut self.reading {
                if let Some(batch) = batches.next() {
                    let batch = batch.map_err(|error| failed(path, error))?;
                    let lines = batch.num_rows() as u64;
                    let text = self::lines(&batch).map_err(|error| failed(path, error))?;
                    self.position += lines;
                    return Ok(Some(LineChunk { bytes: text.into_bytes(), position: self.position, lines }));
                }
                self.reading = None;
            }
            let Some(path) = self.waiting.pop_front() else { return Ok(None) };
            let file = File::open(&path).map_err(|error| failed(&path, error))?;
            let (batches, passed) = (self.open)(file, self.after).map_err(|error| failed(&path, error))?;
            self.after -= passed;
            self.reading = Some((batches, path));
        }
    }
}
