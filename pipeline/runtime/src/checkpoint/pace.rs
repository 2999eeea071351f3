//! Files that are written no faster than leaves most of a core to others: nobody waits for a checkpoint, but everybody for the cores.

use super::Saving;
use chalk_store::{AppendFile, ReadFile, Storage, StorageError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After so much work, with whatever the writer does between two writes, ...
const WORK: Duration = Duration::from_millis(2);
/// ... it rests for so many times as long.
const REST: u32 = 2;
/// A writer that waited for something else does not rest for that as well.
const REST_MAX: Duration = Duration::from_millis(20);

/// A folder whose files are appended to at a pace.
#[derive(Debug)]
pub(crate) struct Paced {
    files: Arc<dyn Storage>,
    pace: Arc<Pace>,
}

#[derive(Debug)]
struct Pace {
    saving: Arc<Saving>,
    /// When the last rest ended.
    working_since: Mutex<Instant>,
}

impl Paced {
    pub(crate) fn new(files: Arc<dyn Storage>, saving: Arc<Saving>) -> Self {
        Self { files, pace: Arc::new(Pace { saving, working_since: Mutex::new(Instant::now()) }) }
    }

    fn paced(&self, file: Box<dyn AppendFile>) -> Box<dyn AppendFile> {
        Box::new(PacedFile { file, pace: Arc::clone(&self.pace) })
    }
}

impl Pace {
    fn rest(&self) {
        let mut since = self.working_since.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = since.elapsed();
        if worked >= WORK {
            self.saving.rest((worked * REST).min(REST_MAX));
            *since = Instant::now();
        }
    }
}

#[derive(Debug)]
struct PacedFile {
    file: Box<dyn AppendFile>,
    pace: Arc<Pace>,
}

impl AppendFile for PacedFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.append(bytes)?;
        self.pace.rest();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync()
    }
}

impl Storage for Paced {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.files.list()
    }

    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        Ok(self.paced(self.files.create(name)?))
    }

    fn reopen(&self, name: &str, len: u64) -> Result<Box<dyn AppendFile>, StorageError> {
        Ok(self.paced(self.files.reopen(name, len)?))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        self.files.open(name)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.files.read(name)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.files.replace(name, bytes)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.files.remove(name)
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        self.files.sync_directory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chalk_store::memory::MemoryFiles;

    /// Appends a byte every so often; gives the time that this took.
    fn appending(saving: &Arc<Saving>) -> Duration {
        let files = Paced::new(Arc::new(MemoryFiles::new()), Arc::clone(saving));
        let began = Instant::now();
        let mut file = files.create("a").expect("memory");
        let mut worked = Duration::ZERO;
        while worked < WORK * 10 {
            let from = Instant::now();
            while from.elapsed() < WORK {
                std::hint::spin_loop();
            }
            worked += from.elapsed();
            file.append(b"x").expect("memory");
        }
        began.elapsed()
    }

    #[test]
    fn it_rests_unless_somebody_waits() {
        let saving = Arc::new(Saving::default());
        saving.begin();
        assert!(appending(&saving) >= WORK * 20);
        // The next one is begun before it is done: somebody waits.
        saving.begin();
        let hurried = Instant::now();
        saving.rest(Duration::from_secs(60));
        assert!(hurried.elapsed() < Duration::from_secs(30));
        saving.done(true);
        saving.begin();
        saving.stop();
        saving.rest(Duration::from_secs(60));
        assert!(hurried.elapsed() < Duration::from_secs(30));
    }
}
