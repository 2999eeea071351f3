//! Builds, kept with what they are: `.chalk/builds/NAME-HASH.so` and a record beside it. New ones stand beside old ones.
//!
//! A library is loaded only when its bytes are those of its record, and the record that of a source.

use crate::declaration::Declaration;
use crate::identity::INTERFACE;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};
use xxhash_rust::xxh3::xxh3_128;

/// The version of the record's format: a newer one is refused.
const FORMAT: u32 = 1;

/// What is known of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// The function.
    pub declaration: Declaration,
    /// The hash of its source and of what it is built with.
    pub content_hash: String,
    /// The hash of the library's bytes.
    pub library_hash: String,
    /// Through what it is called.
    pub interface: String,
    /// What compiled it, as far as it is known. It is no part of who the function is.
    pub compiler: Option<String>,
}

/// The builds of a project's functions.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

/// Why a build cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record or the library is not what was written.
    #[error("{}: {message}\n  hint: build it again: chalk udf build", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

fn damaged(path: &Path, message: impl Into<String>) -> ShelfError {
    ShelfError::Damaged { path: path.to_owned(), message: message.into() }
}

impl Shelf {
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.join(".chalk") }
    }

    /// Where Cargo's files are.
    pub(crate) fn scratch(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str, content_hash: &str, ending: &str) -> PathBuf {
        self.folder.join("builds").join(format!("{name}-{content_hash}.{ending}"))
    }

    /// The library of a function as its source is, checked; `None` when it was not built.
    ///
    /// # Errors
    /// When the build is not what was written, or cannot be read.
    pub fn find(&self, declaration: &Declaration, content_hash: &str) -> Result<Option<(PathBuf, Record)>, ShelfError> {
        let found = self.kept(&declaration.name, content_hash)?;
        if found.as_ref().is_some_and(|(_, record)| record.declaration != *declaration) {
            let path = self.path(&declaration.name, content_hash, "json");
            return Err(damaged(&path, "it is the record of another source"));
        }
        Ok(found)
    }

    /// The library that was built of a source with this hash, checked; `None` when it was not built here.
    ///
    /// # Errors
    /// As for [`Shelf::find`].
    pub fn kept(&self, name: &str, content_hash: &str) -> Result<Option<(PathBuf, Record)>, ShelfError> {
        let path = self.path(name, content_hash, "json");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ShelfError::Io { path, source }
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&path)(error)),
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| damaged(&path, error.to_string()))?;
        if record.format != FORMAT {
            return Err(damaged(&path, format!("it is of format {}, this build knows {FORMAT}", record.format)));
        }
        if record.content_hash != content_hash || record.declaration.name != name {
            return Err(damaged(&path, "it is the record of another source"));
        }
        let library = self.path(name, content_hash, "so");
        let library = library.canonicalize().map_err(io(&library))?;
        let bytes = fs::read(&library).map_err(io(&library))?;
        if hash(&bytes) != record.library_hash {
            return Err(damaged(&library, "its bytes are not those that were built"));
        }
        Ok(Some((library, record)))
    }

    /// Keeps a copy of a library that was compiled from a source of this declaration and hash.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn put(
        &self,
        declaration: &Declaration,
        content_hash: &str,
        library: &Path,
        compiler: Option<String>,
    ) -> Result<Record, ShelfError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ShelfError::Io { path, source }
        };
        let bytes = fs::read(library).map_err(io(library))?;
        let record = Record {
            format: FORMAT,
            declaration: declaration.clone(),
            content_hash: content_hash.to_owned(),
            library_hash: hash(&bytes),
            interface: format!("{INTERFACE} 0.2"),
            compiler,
        };
        let text = serde_json::to_string_pretty(&record).map_err(|error| damaged(library, error.to_string()))?;
        let builds = self.folder.join("builds");
        fs::create_dir_all(&builds).map_err(io(&builds))?;
        self.keep_out_of_git().map_err(io(&self.folder))?;
        // The record last: a library without one does not count.
        for (ending, bytes) in [("so", bytes.as_slice()), ("json", text.as_bytes())] {
            let path = self.path(&declaration.name, content_hash, ending);
            let mut file = tempfile::NamedTempFile::new_in(&builds).map_err(io(&builds))?;
            io::Write::write_all(&mut file, bytes).map_err(io(&path))?;
            // A running engine has the old file mapped: it is replaced, never written into.
            file.persist(&path).map_err(|error| io(&path)(error.error))?;
        }
        Ok(record)
    }

    pub(crate) fn keep_out_of_git(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        fs::write(self.folder.join(".gitignore"), "*\n")
    }
}

fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf, Declaration) {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf::of(folder.path());
        let declaration = Declaration::read("#[udf] fn f(a: i64) -> i64 { a }").expect("a function");
        fs::write(folder.path().join("lib.so"), "bytes").expect("a file");
        shelf.put(&declaration, "1", &folder.path().join("lib.so"), None).expect("room");
        (folder, shelf, declaration)
    }

    #[test]
    fn what_was_put_is_found_by_its_hash() {
        let (_folder, shelf, declaration) = shelf();
        let (library, record) = shelf.find(&declaration, "1").expect("a shelf").expect("a build");
        assert_eq!(fs::read(library).expect("a file"), b"bytes");
        assert_eq!(record.interface, "arroyo-udf-plugin 0.2");
        assert!(shelf.find(&declaration, "2").expect("a shelf").is_none());
    }

    #[test]
    fn only_what_was_built_is_found() {
        let (_folder, shelf, declaration) = shelf();
        let other = Declaration::read("#[udf] fn f(a: i32) -> i64 { 1 }").expect("a function");
        assert!(shelf.find(&other, "1").expect_err("another source").to_string().contains("another source"));
        let library = shelf.path("f", "1", "so");
        fs::write(&library, "other").expect("a file");
        assert!(shelf.find(&declaration, "1").expect_err("damage").to_string().contains("not those that were built"));
        let record = shelf.path("f", "1", "json");
        let text = fs::read_to_string(&record).expect("a file").replace("\"format\": 1", "\"format\": 2");
        fs::write(&record, text).expect("a file");
        assert!(shelf.find(&declaration, "1").expect_err("a newer format").to_string().contains("of format 2"));
    }
}
