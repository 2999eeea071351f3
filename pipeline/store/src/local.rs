//! [`Storage`] on the local file system.

use crate::storage::{AppendFile, Folders, ReadFile, Storage, StorageError, failed};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Ends the name of a file that is to take another's place.
const NEW: &str = ".new";

/// Files of one local directory.
#[derive(Debug)]
pub struct LocalFiles {
    directory: PathBuf,
}

impl LocalFiles {
    /// The directory at `path`, created when it does not exist.
    ///
    /// # Errors
    /// When it cannot be created, or is not a directory.
    pub fn at(path: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(path).map_err(failed("create directory", path))?;
        Ok(Self { directory: path.to_owned() })
    }

    /// The directory at `path`, which must exist: for those that only read.
    ///
    /// # Errors
    /// When it does not exist, or is not a directory.
    pub fn existing(path: &Path) -> Result<Self, StorageError> {
        fs::read_dir(path).map_err(failed("read directory", path))?;
        Ok(Self { directory: path.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Adds the names in a folder, with the folder in front, and those of folders in it.
    fn list_into(&self, names: &mut Vec<String>, folder: &str) -> Result<(), StorageError> {
        let directory = self.path(folder);
        let fail = || failed("list", &directory);
        for entry in fs::read_dir(&directory).map_err(fail())? {
            let entry = entry.map_err(fail())?;
            // The entry knows its kind: asking the file itself would take longer than everything else. Links to files are followed.
            let kind = entry.file_type().map_err(fail())?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let name = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if kind.is_dir() {
                self.list_into(names, &name)?;
            } else if kind.is_file() || kind.is_symlink() && entry.path().is_file() {
                names.push(name);
            }
        }
        Ok(())
    }
}

fn sync_at(directory: &Path) -> Result<(), StorageError> {
    let opened = File::open(directory).map_err(failed("open directory", directory))?;
    opened.sync_all().map_err(failed("sync directory", directory))
}

#[derive(Debug)]
struct LocalFile {
    path: PathBuf,
    file: File,
}

impl Storage for LocalFiles {
    fn list(&self) -> Result<Vec<String>, StorageError> {
        let fail = || failed("list", &self.directory);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(fail())? {
            let entry = entry.map_err(fail())?;
            // The entry knows its kind: asking the file itself would take longer than everything else. Links are followed.
            let kind = entry.file_type().map_err(fail())?;
            let is_file = kind.is_file() || kind.is_symlink() && entry.path().is_file();
            if let (true, Some(name)) = (is_file, entry.file_name().to_str()) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        let path = self.path(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed("create", &path))?;
        Ok(Box::new(LocalFile { path, file }))
    }

    fn reopen(&self, name: &str, len: u64) -> Result<Box<dyn AppendFile>, StorageError> {
        let path = self.path(name);
        let mut file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
        file.set_len(len).map_err(failed("truncate", &path))?;
        file.seek(SeekFrom::End(0)).map_err(failed("seek in", &path))?;
        Ok(Box::new(LocalFile { path, file }))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        let path = self.path(name);
        let file = File::open(&path).map_err(failed("open", &path))?;
        Ok(Arc::new(LocalFile { path, file }))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let path = self.path(name);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            result => result.map(Some).map_err(failed("read", &path)),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let (path, new) = (self.path(name), self.path(&format!("{name}{NEW}")));
        let mut file = File::create(&new).map_err(failed("create", &new))?;
        file.write_all(bytes).map_err(failed("write", &new))?;
        file.sync_all().map_err(failed("sync", &new))?;
        fs::rename(&new, &path).map_err(failed("replace", &path))?;
        self.sync_directory()
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let path = self.path(from);
        fs::rename(&path, self.path(to)).map_err(failed("rename", &path))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map_err(failed("remove", &path)),
        }
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        sync_at(&self.directory)
    }
}

impl Folders for LocalFiles {
    fn make_folder(&self, folder: &str) -> Result<(), StorageError> {
        let mut directory = self.directory.clone();
        for name in folder.split('/').filter(|name| !name.is_empty()) {
            let above = directory.clone();
            directory.push(name);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => result.map_err(failed("create directory", &directory))?,
            }
            // Also of one that is there: who made it may not have come so far.
            sync_at(&above)?;
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> Result<(), StorageError> {
        sync_at(&self.path(folder))
    }

    fn list_folders(&self) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        self.list_into(&mut names, "")?;
        names.sort();
        Ok(names)
    }
}

impl AppendFile for LocalFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all(bytes).map_err(failed("write", &self.path))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }
}

impl ReadFile for LocalFile {
    fn len(&self) -> Result<u64, StorageError> {
        Ok(self.file.metadata().map_err(failed("read the size of", &self.path))?.len())
    }

    fn read_exact_at(&self, into: &mut [u8], position: u64) -> Result<(), StorageError> {
        self.file.read_exact_at(into, position).map_err(failed("read", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_replaced_read_and_removed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let files = LocalFiles::at(&folder.path().join("new")).expect("a folder");
        assert_eq!(files.read("a").expect("no file"), None);
        for bytes in [&b"one"[..], b"", b"another"] {
            files.replace("a", bytes).expect("a file");
            assert_eq!(files.read("a").expect("a file"), Some(bytes.to_vec()));
        }
        assert_eq!(files.list().expect("a folder"), ["a"], "nothing is left beside it");
        let open = files.open("a").expect("a file");
        files.remove("a").expect("a file");
        files.remove("a").expect("no file");
        assert_eq!(files.read("a").expect("no file"), None);
        let mut bytes = [0; 7];
        open.read_exact_at(&mut bytes, 0).expect("a file that was open");
        assert_eq!(&bytes, b"another");
    }

    #[test]
    fn files_are_renamed_into_folders_and_listed_with_them() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let files = LocalFiles::at(folder.path()).expect("a folder");
        for name in ["one", "two"] {
            files.replace(name, name.as_bytes()).expect("a file");
        }
        for _ in 0..2 {
            files.make_folder("a=1/b=2").expect("folders");
        }
        files.rename("one", "a=1/b=2/one").expect("a folder");
        files.sync_folder("a=1/b=2").expect("a folder");
        assert_eq!(files.list().expect("a directory"), ["two"]);
        assert_eq!(files.list_folders().expect("a directory"), ["a=1/b=2/one", "two"]);
        assert_eq!(files.read("a=1/b=2/one").expect("a file").as_deref(), Some(&b"one"[..]));
    }

    /// What a crash between writing and renaming leaves.
    #[test]
    fn a_replacement_that_was_not_finished_changes_nothing() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let files = LocalFiles::at(folder.path()).expect("a folder");
        files.replace("a", b"old").expect("a file");
        fs::write(folder.path().join("a.new"), b"longer than what comes").expect("a file");
        assert_eq!(files.read("a").expect("a file"), Some(b"old".to_vec()));
        files.replace("a", b"new").expect("a file");
        assert_eq!(files.read("a").expect("a file"), Some(b"new".to_vec()));
    }
}
