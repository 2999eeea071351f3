//! [`Objects`] in a local directory. `object_store`'s own back end for files never syncs them.

use super::{ObjectInfo, Objects, check_key};
use crate::storage::{StorageError, failed};
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Ends the name of a file that is to take another's place.
const NEW: &str = ".new";

/// Objects as files of a directory and of those in it.
#[derive(Debug)]
pub struct LocalObjects {
    root: PathBuf,
}

impl LocalObjects {
    /// In the directory at `path`, which is made when something is put there.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { root: path.to_owned() }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        check_key(key)?;
        Ok(self.root.join(key))
    }

    /// Makes the names on the way to a file durable, each directory's in the one above.
    fn sync_names(&self, file: &Path) -> Result<(), StorageError> {
        let above_root = self.root.parent().map(|above| if above == Path::new("") { Path::new(".") } else { above });
        let on_the_way = file.ancestors().skip(1).take_while(|&directory| directory.starts_with(&self.root));
        for directory in on_the_way.chain(above_root) {
            let opened = File::open(directory).map_err(failed("open directory", directory))?;
            opened.sync_all().map_err(failed("sync directory", directory))?;
        }
        Ok(())
    }

    fn list_into(&self, directory: &Path, into: &mut Vec<ObjectInfo>) -> Result<(), StorageError> {
        let fail = || failed("list", directory);
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(fail())?,
        };
        for entry in entries {
            let entry = entry.map_err(fail())?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(fail())?);
            if kind.is_dir() {
                self.list_into(&path, into)?;
            } else if let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) {
                let bytes = entry.metadata().map_err(fail())?.len();
                into.push(ObjectInfo { key: key.to_owned(), bytes });
            }
        }
        Ok(())
    }
}

impl Objects for LocalObjects {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let path = self.path(key)?;
        let new = path.with_file_name(format!("{}{NEW}", path.file_name().unwrap_or_default().to_string_lossy()));
        let directory = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory).map_err(failed("create directory", directory))?;
        let mut file = File::create(&new).map_err(failed("create", &new))?;
        file.write_all(&bytes).map_err(failed("write", &new))?;
        file.sync_all().map_err(failed("sync", &new))?;
        fs::rename(&new, &path).map_err(failed("replace", &path))?;
        self.sync_names(&path)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        let path = self.path(key)?;
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            result => result.map(|bytes| Some(Bytes::from(bytes))).map_err(failed("read", &path)),
        }
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        let mut objects = Vec::new();
        self.list_into(&self.root, &mut objects)?;
        objects.sort();
        Ok(objects)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key)?;
        let removed: io::Result<()> = match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            result => result,
        };
        removed.map_err(failed("remove", &path))?;
        // A directory that is empty now says nothing any more; one that is not stays.
        let on_the_way = path.ancestors().skip(1).take_while(|&directory| directory != self.root);
        on_the_way.map(fs::remove_dir).take_while(Result::is_ok).for_each(drop);
        Ok(())
    }
}
