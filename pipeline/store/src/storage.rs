//! The contract for durable files.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An operation on a file failed. It names the operation and the file, since `io::Error` does not.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct StorageError {
    /// What was tried: `create`, `write`, `sync`, …
    pub operation: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl StorageError {
    /// Whether there was no room: what was tried can work once there is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Durable files in one directory.
///
/// # Contract
///
/// - A name is a plain file name in the storage's directory; there are no sub-directories.
/// - Bytes written are *durable* only after [`AppendFile::sync`] returned `Ok`; a new, removed or renamed name only after
///   [`Storage::sync_directory`] returned `Ok`.
/// - After a failed `sync` nothing is known about the bytes since the last one that succeeded, and a second `sync` that
///   succeeds proves nothing ("Can Applications Recover from fsync Failures?", ATC'20): callers stop, never retry.
pub trait Storage: Debug + Send + Sync {
    /// The names present, sorted.
    fn list(&self) -> Result<Vec<String>, StorageError>;

    /// Creates a file that must not exist yet, for appending.
    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError>;

    /// Opens an existing file for appending after its first `len` bytes; what follows is cut off.
    fn reopen(&self, name: &str, len: u64) -> Result<Box<dyn AppendFile>, StorageError>;

    /// Opens a file for reading at any position.
    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError>;

    /// All bytes of a small file; `None` when there is none of this name.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Puts a small file in the place of one of this name, or where there was none, at once: whatever happens, the name has all of its
    /// old bytes or all of the new, which are durable when this returns. One caller at a time for a name.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Gives a file another name, at once, in the place of any that has it.
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;

    /// Removes a file; that there is none is no error. Who has it open goes on reading it.
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Makes created, removed and renamed names durable.
    fn sync_directory(&self) -> Result<(), StorageError>;
}

/// Files in folders of one directory, any number of them deep.
///
/// A name may have folders in front here, each with a `/`; [`Storage::list`] gives only names without. A name in a folder is durable only after
/// [`Folders::sync_folder`] returned `Ok`, of one that is renamed from one folder to another that of the latter.
pub trait Folders: Storage {
    /// Makes a folder and those that it is in, durably; that they are there is no error.
    fn make_folder(&self, folder: &str) -> Result<(), StorageError>;

    /// Makes created, removed and renamed names of a folder durable.
    fn sync_folder(&self, folder: &str) -> Result<(), StorageError>;

    /// The names present, those in folders among them, sorted.
    fn list_folders(&self) -> Result<Vec<String>, StorageError>;
}

/// A file that grows at its end. One owner.
pub trait AppendFile: Debug + Send {
    /// Appends all of `bytes`.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes everything appended durable.
    fn sync(&mut self) -> Result<(), StorageError>;
}

/// A file read at any position, by many threads.
pub trait ReadFile: Debug + Send + Sync {
    /// How many bytes the file has now.
    fn len(&self) -> Result<u64, StorageError>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.len()? == 0)
    }

    /// Fills `into` from `position`; an error when the file ends before.
    fn read_exact_at(&self, into: &mut [u8], position: u64) -> Result<(), StorageError>;
}

pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    move |source| StorageError { operation, path, source }
}
