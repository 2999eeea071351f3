//! `connector = 'single_file'`, read: a file of lines.

use crate::{Chunk, ConnectError, Source};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A chunk is about this large: enough to make one append worth its sync.
const CHUNK_BYTES: usize = 4 << 20;

/// A bounded source: the lines that a file has now.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    reader: BufReader<File>,
    position: u64,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ConnectError {
    let path = path.display().to_string();
    move |source| ConnectError::File { operation, path, source }
}

impl FileSource {
    /// Opens a file at a position that a chunk gave, or at 0.
    ///
    /// # Errors
    /// When it cannot be read, or is shorter than the position.
    pub fn open(path: &Path, position: u64) -> Result<Self, ConnectError> {
        let mut file = File::open(path).map_err(failed("open", path))?;
        let len = file.metadata().map_err(failed("read the size of", path))?.len();
        if len < position {
            return Err(ConnectError::Shrunk { path: path.display().to_string(), len, position });
        }
        file.seek(SeekFrom::Start(position)).map_err(failed("seek in", path))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::with_capacity(1 << 16, file), position })
    }
}

impl Source for FileSource {
    fn next(&mut self) -> Result<Option<Chunk>, ConnectError> {
        let (mut bytes, mut lines) = (Vec::new(), 0);
        while bytes.len() < CHUNK_BYTES {
            let read = self.reader.read_until(b'\n', &mut bytes).map_err(failed("read", &self.path))?;
            if read == 0 {
                break;
            }
            lines += 1;
        }
        self.position += bytes.len() as u64;
        Ok((!bytes.is_empty()).then_some(Chunk { bytes, position: self.position, lines }))
    }
}
