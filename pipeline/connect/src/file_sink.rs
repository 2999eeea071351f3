//! `connector = 'single_file'`, written: lines at the end of one file.
//!
//! The state in the journal is the file's length in decimal digits; what stands after it was not committed. Readers can see rows a moment
//! before they are committed, since a file has one end only; who must not, uses [`DirectorySink`](crate::DirectorySink).

use crate::{ConnectError, Encode, Recovered, Sink};
use chalk_event::Epoch;
use chalk_store::{AppendFile, LocalFiles, Storage, StorageError};
use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// So much of a file is shown to what goes on with it in a format that has a header.
const HEAD_BYTES: u64 = 1 << 20;

/// A file that lines are appended to.
pub struct FileSink {
    storage: Arc<dyn Storage>,
    name: String,
    /// Without, lines are the bytes.
    encode: Option<Encode>,
    /// `None` when it must be opened, and cut off after `len`.
    file: Option<Box<dyn AppendFile>>,
    /// Of what was prepared, in bytes.
    len: u64,
}

impl FileSink {
    /// A file of a local directory, which must exist.
    ///
    /// # Errors
    /// When there is no such directory, or the path names no file.
    pub fn at(path: &Path) -> Result<Self, ConnectError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| ConnectError::File {
            operation: "create",
            path: path.display().to_string(),
            source: ErrorKind::InvalidFilename.into(),
        })?;
        Ok(Self::within(Arc::new(LocalFiles::existing(parent)?), name))
    }

    /// A file of a storage.
    #[must_use]
    pub fn within(storage: Arc<dyn Storage>, name: &str) -> Self {
        Self { storage, name: name.to_owned(), encode: None, file: None, len: 0 }
    }

    /// The same, with a file of another format than lines.
    #[must_use]
    pub fn encoded(self, encode: Encode) -> Self {
        Self { encode: Some(encode), ..self }
    }

    /// What lines add to the file.
    fn bytes<'l>(&self, lines: &'l str) -> Result<Cow<'l, [u8]>, ConnectError> {
        let Some(encode) = &self.encode else { return Ok(Cow::Borrowed(lines.as_bytes())) };
        let before = match self.len {
            0 => None,
            len => {
                let mut head = vec![0; usize::try_from(len.min(HEAD_BYTES)).unwrap_or_default()];
                self.storage.open(&self.name)?.read_exact_at(&mut head, 0)?;
                Some(head)
            }
        };
        encode(lines, before.as_deref()).map(Cow::Owned).map_err(ConnectError::Encode)
    }

    /// How long the file is; `None` when there is none.
    fn found(&self) -> Result<Option<u64>, ConnectError> {
        match self.storage.open(&self.name) {
            Ok(file) => Ok(Some(file.len()?)),
            Err(error) if error.source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.storage.reopen(&self.name, self.len)?,
        };
        file.append(bytes)?;
        file.sync()?;
        self.file = Some(file);
        Ok(())
    }
}

impl Sink for FileSink {
    fn recover(&mut self, committed: Option<&str>) -> Result<Recovered, ConnectError> {
        let parsed = committed.map(str::parse::<u64>).transpose();
        let committed = parsed.map_err(|error| ConnectError::State(error.to_string()))?;
        let found = self.found()?;
        if let Some(committed) = committed
            && found >= Some(committed)
        {
            self.len = committed;
            self.file = Some(self.storage.reopen(&self.name, committed)?);
            return Ok(Recovered::GoesOn);
        }
        self.len = 0;
        self.file = Some(match found {
            Some(_) => self.storage.reopen(&self.name, 0)?,
            None => self.storage.create(&self.name)?,
        });
        self.storage.sync_directory()?;
        Ok(Recovered::Anew(self.len.to_string()))
    }

    fn prepare(&mut self, _: Epoch, lines: &str) -> Result<String, ConnectError> {
        let bytes = self.bytes(lines)?;
        self.write(&bytes)?;
        self.len += bytes.len() as u64;
        Ok(self.len.to_string())
    }

    fn commit(&mut self, _: Epoch) -> Result<(), ConnectError> {
        Ok(())
    }
}
