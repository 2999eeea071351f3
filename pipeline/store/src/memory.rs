//! [`Storage`] in memory that fails as real disks do: for the tests of those who keep something in one.
//!
//! Every operation that changes something is written down. [`MemoryFiles::after_power_cut`] plays them back up to any of them and leaves what a disk
//! could have: what was synced, and of the rest whatever chance leaves of it. A [`Fault`] makes operations fail from a number on.

use crate::objects::{ObjectInfo, check_key};
use crate::storage::{AppendFile, Folders, ReadFile, Storage, StorageError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is written at once: of a write that was not synced, each can be there or not.
const SECTOR_BYTES: usize = 512;
/// A number of `errno(3)`: input/output error.
pub const EIO: i32 = 5;
/// A number of `errno(3)`: no space left on device.
pub const ENOSPC: i32 = 28;

/// Files of one directory, in memory. Clones are the same directory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<Disk>>,
}

/// Operations that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first that fails, counted from 0 over all that change something.
    pub from: usize,
    /// How many fail.
    pub count: usize,
    /// The system's error.
    pub errno: i32,
    /// Whether a write that fails leaves half of its bytes.
    pub half: bool,
}

#[derive(Debug, Default)]
struct Disk {
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    /// Files and names when the power came back last.
    began: (Vec<Vec<u8>>, BTreeMap<String, usize>),
    trace: Vec<Operation>,
    /// Operations that were tried, those that failed among them.
    tried: usize,
    fault: Option<Fault>,
}

#[derive(Clone, Debug)]
enum Operation {
    Name {
        name: String,
        file: usize,
    },
    Unname {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Write {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: usize,
        len: usize,
    },
    Sync {
        file: usize,
    },
    /// Of one folder; of the directory itself when it is empty.
    SyncDirectory {
        folder: String,
    },
}

impl Operation {
    /// Whether it becomes durable with the names of a folder.
    fn is_in(&self, folder: &str) -> bool {
        match self {
            Self::Name { name, .. } | Self::Unname { name } | Self::Rename { to: name, .. } => {
                folder_of(name) == folder
            }
            _ => false,
        }
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk {
    /// These files, durable.
    fn with(files: Vec<Vec<u8>>, names: BTreeMap<String, usize>) -> Self {
        Self { began: (files.clone(), names.clone()), files, names, ..Self::default() }
    }

    /// Counts an operation; fails when it is one that does.
    fn attempt(&mut self, operation: &'static str, name: &str) -> Result<(), StorageError> {
        let number = self.tried;
        self.tried += 1;
        match self.fault {
            // What takes no room does not fail for want of it.
            Some(Fault { errno: ENOSPC, .. }) if matches!(operation, "remove" | "truncate") => Ok(()),
            Some(fault) if (fault.from..fault.from.saturating_add(fault.count)).contains(&number) => {
                let source = io::Error::from_raw_os_error(fault.errno);
                Err(StorageError { operation, path: PathBuf::from(name), source })
            }
            _ => Ok(()),
        }
    }

    fn missing(operation: &'static str, name: &str) -> StorageError {
        StorageError { operation, path: PathBuf::from(name), source: io::ErrorKind::NotFound.into() }
    }

    fn file(&self, operation: &'static str, name: &str) -> Result<usize, StorageError> {
        self.names.get(name).copied().ok_or_else(|| Self::missing(operation, name))
    }

    fn perform(&mut self, operation: Operation) {
        match &operation {
            Operation::Name { name, file } => drop(self.names.insert(name.clone(), *file)),
            Operation::Unname { name } => drop(self.names.remove(name)),
            Operation::Rename { from, to } => rename(&mut self.names, from, to),
            Operation::Write { file, at, bytes } => write(&mut self.files[*file], *at, bytes),
            Operation::Truncate { file, len } => self.files[*file].resize(*len, 0),
            Operation::Sync { .. } | Operation::SyncDirectory { .. } => {}
        }
        self.trace.push(operation);
    }

    fn create(&mut self, name: &str) -> usize {
        self.files.push(Vec::new());
        let file = self.files.len() - 1;
        self.perform(Operation::Name { name: name.to_owned(), file });
        file
    }
}

fn write(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn rename(names: &mut BTreeMap<String, usize>, from: &str, to: &str) {
    if let Some(file) = names.remove(from) {
        names.insert(to.to_owned(), file);
    }
}

impl MemoryFiles {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations were tried that change something.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.disk().tried
    }

    /// From here on operations fail as the fault says; `None` ends that.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.disk().fault = fault;
    }

    /// Turns one bit of a file over, as if the disk had.
    ///
    /// # Panics
    /// When there is no such bit.
    pub fn flip(&self, name: &str, bit: usize) {
        let mut disk = self.disk();
        let file = disk.names[name];
        disk.files[file][bit / 8] ^= 1 << (bit % 8);
    }

    /// How the directory could be after the power failed when `operations` of those that did not fail were done; `chance` gives a
    /// number below the one that it is given.
    #[must_use]
    pub fn after_power_cut(&self, operations: usize, chance: &mut dyn FnMut(usize) -> usize) -> Self {
        let disk = self.disk();
        let mut cut = PowerCut::new(&disk);
        disk.trace.iter().take(operations).for_each(|operation| cut.play(operation));
        Self { disk: Arc::new(Mutex::new(cut.end(chance))) }
    }

    /// How many operations there are to cut after.
    #[must_use]
    pub fn done(&self) -> usize {
        self.disk().trace.len()
    }

    /// A copy of the directory as it is, without what was written down and without faults.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.disk();
        Self { disk: Arc::new(Mutex::new(Disk::with(disk.files.clone(), disk.names.clone()))) }
    }
}

/// What is durable at some moment, and what is not yet.
struct PowerCut {
    files: Vec<Vec<u8>>,
    unsynced: Vec<Vec<Operation>>,
    names: BTreeMap<String, usize>,
    unsynced_names: Vec<Operation>,
}

impl PowerCut {
    fn new(disk: &Disk) -> Self {
        let (mut files, names) = disk.began.clone();
        files.resize(disk.files.len(), Vec::new());
        Self { unsynced: vec![Vec::new(); files.len()], files, names, unsynced_names: Vec::new() }
    }

    fn play(&mut self, operation: &Operation) {
        match operation {
            Operation::Name { .. } | Operation::Unname { .. } | Operation::Rename { .. } => {
                self.unsynced_names.push(operation.clone());
            }
            Operation::Write { file, .. } | Operation::Truncate { file, .. } => {
                self.unsynced[*file].push(operation.clone());
            }
            Operation::Sync { file } => {
                for operation in std::mem::take(&mut self.unsynced[*file]) {
                    self.keep(&operation);
                }
            }
            Operation::SyncDirectory { folder } => {
                let (synced, unsynced) =
                    std::mem::take(&mut self.unsynced_names).into_iter().partition(|operation| operation.is_in(folder));
                self.unsynced_names = unsynced;
                let synced: Vec<Operation> = synced;
                synced.iter().for_each(|operation| self.keep(operation));
            }
        }
    }

    fn keep(&mut self, operation: &Operation) {
        match operation {
            Operation::Name { name, file } => drop(self.names.insert(name.clone(), *file)),
            Operation::Unname { name } => drop(self.names.remove(name)),
            Operation::Rename { from, to } => rename(&mut self.names, from, to),
            Operation::Write { file, at, bytes } => write(&mut self.files[*file], *at, bytes),
            Operation::Truncate { file, len } => self.files[*file].resize(*len, 0),
            Operation::Sync { .. } | Operation::SyncDirectory { .. } => {}
        }
    }

    /// Of names that were not synced the first ones are there, as in a journal. Of a file's bytes that were not synced, each write is
    /// there, or is not, or is torn: each of its sectors is there or reads as zeros.
    fn end(mut self, chance: &mut dyn FnMut(usize) -> usize) -> Disk {
        let names = std::mem::take(&mut self.unsynced_names);
        let kept = chance(names.len() + 1);
        names[..kept].iter().for_each(|operation| self.keep(operation));
        for operation in std::mem::take(&mut self.unsynced).into_iter().flatten() {
            match (chance(3), &operation) {
                (0, _) => {}
                (1, Operation::Write { file, at, bytes }) => {
                    let mut torn = vec![0; bytes.len()];
                    for (sector, bytes) in torn.chunks_mut(SECTOR_BYTES).zip(bytes.chunks(SECTOR_BYTES)) {
                        if chance(2) == 0 {
                            sector.copy_from_slice(bytes);
                        }
                    }
                    let len = if chance(2) == 0 { bytes.len() } else { chance(bytes.len() + 1) };
                    write(&mut self.files[*file], *at, &torn[..len]);
                }
                _ => self.keep(&operation),
            }
        }
        Disk::with(self.files, self.names)
    }
}

impl Storage for MemoryFiles {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.disk().names.keys().filter(|name| folder_of(name).is_empty()).cloned().collect())
    }

    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        let mut disk = self.disk();
        disk.attempt("create", name)?;
        if disk.names.contains_key(name) {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(StorageError { operation: "create", path: PathBuf::from(name), source });
        }
        let file = disk.create(name);
        Ok(Box::new(MemoryFile { files: self.clone(), name: name.to_owned(), file }))
    }

    fn reopen(&self, name: &str, len: u64) -> Result<Box<dyn AppendFile>, StorageError> {
        let mut disk = self.disk();
        disk.attempt("truncate", name)?;
        let file = disk.file("open", name)?;
        disk.perform(Operation::Truncate { file, len: len as usize });
        Ok(Box::new(MemoryFile { files: self.clone(), name: name.to_owned(), file }))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        let file = self.disk().file("open", name)?;
        Ok(Arc::new(MemoryFile { files: self.clone(), name: name.to_owned(), file }))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let disk = self.disk();
        Ok(disk.names.get(name).map(|&file| disk.files[file].clone()))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.attempt("replace", name)?;
        disk.files.push(Vec::new());
        let file = disk.files.len() - 1;
        disk.perform(Operation::Write { file, at: 0, bytes: bytes.to_vec() });
        disk.perform(Operation::Sync { file });
        disk.perform(Operation::Name { name: name.to_owned(), file });
        disk.perform(Operation::SyncDirectory { folder: folder_of(name).to_owned() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.attempt("rename", from)?;
        disk.file("rename", from)?;
        disk.perform(Operation::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.attempt("remove", name)?;
        if disk.names.contains_key(name) {
            disk.perform(Operation::Unname { name: name.to_owned() });
        }
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.attempt("sync directory", ".")?;
        disk.perform(Operation::SyncDirectory { folder: String::new() });
        Ok(())
    }
}

impl Folders for MemoryFiles {
    fn make_folder(&self, folder: &str) -> Result<(), StorageError> {
        // A folder is there as long as there is a file in it.
        self.disk().attempt("create directory", folder)
    }

    fn sync_folder(&self, folder: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        disk.attempt("sync directory", folder)?;
        disk.perform(Operation::SyncDirectory { folder: folder.to_owned() });
        Ok(())
    }

    fn list_folders(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.disk().names.keys().cloned().collect())
    }
}

/// Keys are names.
impl crate::objects::Objects for MemoryFiles {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        check_key(key)?;
        self.replace(key, &bytes)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        Ok(Storage::read(self, key)?.map(Bytes::from))
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        let disk = self.disk();
        let info =
            |(key, &file): (&String, &usize)| ObjectInfo { key: key.clone(), bytes: disk.files[file].len() as u64 };
        Ok(disk.names.iter().map(info).collect())
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.remove(key)?;
        self.sync_folder(folder_of(key))
    }
}

/// A file of [`MemoryFiles`].
#[derive(Debug)]
struct MemoryFile {
    files: MemoryFiles,
    name: String,
    file: usize,
}

impl AppendFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut disk = self.files.disk();
        let attempt = disk.attempt("write", &self.name);
        let written = match &attempt {
            Ok(()) => bytes,
            Err(_) if disk.fault.is_some_and(|fault| fault.half) => &bytes[..bytes.len() / 2],
            Err(_) => &[],
        };
        if !written.is_empty() {
            let at = disk.files[self.file].len();
            disk.perform(Operation::Write { file: self.file, at, bytes: written.to_vec() });
        }
        attempt
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let mut disk = self.files.disk();
        disk.attempt("sync", &self.name)?;
        disk.perform(Operation::Sync { file: self.file });
        Ok(())
    }
}

impl ReadFile for MemoryFile {
    fn len(&self) -> Result<u64, StorageError> {
        Ok(self.files.disk().files[self.file].len() as u64)
    }

    fn read_exact_at(&self, into: &mut [u8], position: u64) -> Result<(), StorageError> {
        let disk = self.files.disk();
        let position = position as usize;
        let bytes = disk.files[self.file].get(position..position.saturating_add(into.len()));
        let short = || StorageError {
            operation: "read",
            path: PathBuf::from(&self.name),
            source: io::ErrorKind::UnexpectedEof.into(),
        };
        into.copy_from_slice(bytes.ok_or_else(short)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_leaves_what_was_synced_and_parts_of_the_rest() {
        let files = MemoryFiles::new();
        let mut file = files.create("a").expect("a file");
        file.append(b"one").expect("a write");
        file.sync().expect("a sync");
        files.sync_directory().expect("a sync");
        file.append(b"two").expect("a write");
        files.create("b").expect("a file");
        let (mut seen, mut state) = (std::collections::BTreeSet::new(), 7_usize);
        for _ in 0..200 {
            let mut chance = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let after = files.after_power_cut(files.done(), &mut chance);
            let bytes = after.read("a").expect("memory").expect("its name was synced");
            assert!(bytes.starts_with(b"one"));
            seen.insert((
                String::from_utf8_lossy(&bytes[3..]).into_owned(),
                Storage::list(&after).expect("memory").len(),
            ));
        }
        for left in [("", 1), ("two", 1), ("", 2), ("two", 2), ("\0\0\0", 1), ("tw", 2)] {
            assert!(seen.contains(&(left.0.to_owned(), left.1)), "never {left:?}: {seen:?}");
        }
        let before = files.after_power_cut(1, &mut |_| 0);
        assert_eq!(Storage::list(&before).expect("memory"), Vec::<String>::new(), "its name was not synced");
    }

    #[test]
    fn faults_fail_as_many_operations_as_they_say() {
        let files = MemoryFiles::new();
        let mut file = files.create("a").expect("a file");
        files.set_fault(Some(Fault { from: 1, count: 2, errno: ENOSPC, half: true }));
        let error = file.append(b"four").expect_err("a full disk");
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        file.append(b"four").expect_err("a full disk");
        file.append(b"four").expect("room again");
        assert_eq!(files.read("a").expect("memory").as_deref(), Some(&b"fofofour"[..]));
    }
}
