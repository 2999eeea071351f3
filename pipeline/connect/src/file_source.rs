//! `connector = 'single_file'`, read: a file of lines.

use crate::source::CHUNK_BYTES;
use crate::{Chunk, ConnectError, Place, Polled, Source, SourceHealth};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A bounded source: the lines that a file has when they are read. Positions are in bytes.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    reader: BufReader<File>,
    place: Place,
    health: SourceHealth,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ConnectError {
    let path = path.display().to_string();
    move |source| ConnectError::File { operation, path, source }
}

impl FileSource {
    /// Opens a file where a chunk ended, or at its beginning.
    ///
    /// # Errors
    /// When it cannot be read, or is shorter than the position.
    pub fn open(path: &Path, place: Place) -> Result<Self, ConnectError> {
        let mut file = File::open(path).map_err(failed("open", path))?;
        let len = file.metadata().map_err(failed("read the size of", path))?.len();
        if len < place.position {
            return Err(ConnectError::Shrunk { path: path.display().to_string(), len, position: place.position });
        }
        file.seek(SeekFrom::Start(place.position)).map_err(failed("seek in", path))?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { path: path.to_owned(), reader, place, health: SourceHealth::default() })
    }
}

impl Source for FileSource {
    fn poll(&mut self, _: Duration) -> Result<Polled, ConnectError> {
        let (mut bytes, mut records) = (Vec::new(), 0);
        while bytes.len() < CHUNK_BYTES {
            let read = self.reader.read_until(b'\n', &mut bytes).map_err(failed("read", &self.path))?;
            if read == 0 {
                break;
            }
            records += 1;
        }
        if bytes.is_empty() {
            return Ok(Polled::End);
        }
        let first = self.place.records + 1;
        self.place.position += bytes.len() as u64;
        self.place.records += records;
        self.health.records += records;
        Ok(Polled::Chunk(Chunk { partition: 0, bytes, first, records, position: self.place.position }))
    }

    fn drain(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }

    fn health(&self) -> SourceHealth {
        self.health.clone()
    }
}
