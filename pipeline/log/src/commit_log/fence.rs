//! One writer per directory: an exclusive lock on a file that says who holds it.
//!
//! The system keeps the lock for a process as long as it lives, stopped or not, so that nobody takes over from one that could go on. Who
//! removes the file lets another process in all the same; therefore the writer looks before each commit, and again before it
//! acknowledges one, whether the file is still the one that it holds ([`Hold`]).

use crate::contract::LogError;
use chalk_store::StorageError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// Who holds a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The command that it runs.
    pub command: String,
    /// Where it listens for HTTP, once it does.
    pub http: Option<String>,
    /// Where it listens for PostgreSQL's clients, once it does.
    #[serde(default)]
    pub pg: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)?;
        match &self.http {
            Some(address) => write!(f, ", which listens on http://{address}"),
            None => Ok(()),
        }
    }
}

/// The lock; released when dropped, or by the system when the process dies.
#[derive(Debug)]
pub(super) struct Fence {
    file: File,
}

impl Fence {
    pub(super) fn take(directory: &Path, holder: &Holder) -> Result<Self, LogError> {
        let path = directory.join(LOCK_FILE);
        let failed = |operation: &'static str| {
            let path = path.clone();
            move |source| LogError::from(StorageError { operation, path, source })
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(directory).map_or_else(|| "another process".to_owned(), |h| h.to_string());
                return Err(LogError::InUse { directory: directory.display().to_string(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let mut fence = Self { file };
        fence.announce(holder).map_err(failed("write"))?;
        Ok(fence)
    }

    /// What the writer looks at.
    pub(super) fn hold(&self, directory: &Path) -> Result<Hold, LogError> {
        let path = directory.join(LOCK_FILE);
        let held = self.file.metadata().map_err(|source| {
            LogError::from(StorageError { operation: "read the identity of", path: path.clone(), source })
        })?;
        Ok(Hold { path, file: (held.dev(), held.ino()) })
    }

    /// Says who holds the lock.
    pub(super) fn announce(&mut self, holder: &Holder) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(serde_json::to_string(holder)?.as_bytes())?;
        self.file.flush()
    }
}

/// Tells whether the lock file is still the one that was locked: while it is open, no other file has its identity.
#[derive(Debug)]
pub(super) struct Hold {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Hold {
    /// # Errors
    /// When another process can have the directory by now.
    pub(super) fn check(&self) -> Result<(), LogError> {
        let found = std::fs::metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == self.file) {
            return Ok(());
        }
        Err(LogError::TakenOver { lock: self.path.display().to_string() })
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        // Closing the file is not enough while a child process that is just being started still has a copy of it.
        let _ = self.file.unlock();
    }
}

/// Who holds a data directory now, if anybody does.
#[must_use]
pub fn read_holder(directory: &Path) -> Option<Holder> {
    let mut file = File::open(directory.join(LOCK_FILE)).ok()?;
    if let Ok(()) = file.try_lock_shared() {
        return None; // nobody: what it says is of a process that has ended
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
