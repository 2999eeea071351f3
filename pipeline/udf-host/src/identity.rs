//! Who a function is: a hash of its source and of everything that it is built with, but for the interface that it is called through.
//!
//! | part | is |
//! |---|---|
//! | its own files | `Cargo.toml`, `build.rs` and everything in `src/`; of a single file its text |
//! | packages that lie beside it | the same of each |
//! | packages from elsewhere | name, version and checksum, from `Cargo.lock` |
//!
//! The compiler is not part of it, nor are features that only a workspace asks for. A function that is linked natively has the
//! identity of the source that it stands for.

use crate::lock::Lock;
use std::path::Path;
use std::{fs, io};
use xxhash_rust::xxh3::Xxh3;

/// The package that every function is built with in order to be called; it does not decide what a function answers.
pub(crate) const INTERFACE: &str = "arroyo-udf-plugin";

/// A package's files, by their paths in it with `/` between folders, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name in `Cargo.lock`.
    pub name: String,
    /// Paths and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Package {
    /// A package whose files are known.
    pub fn of<'f>(name: &str, files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Self {
        let mut files: Vec<_> =
            files.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect();
        files.sort();
        Self { name: name.to_owned(), files }
    }

    /// Reads what counts of a package in a folder.
    pub(crate) fn read(name: &str, folder: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for path in ["Cargo.toml", "build.rs"] {
            match fs::read(folder.join(path)) {
                Ok(bytes) => files.push((path.to_owned(), bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        read_all(&folder.join("src"), "src", &mut files)?;
        files.sort();
        Ok(Self { name: name.to_owned(), files })
    }
}

fn read_all(folder: &Path, name: &str, into: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            read_all(&path, &name, into)?;
        } else {
            into.push((name, fs::read(&path)?));
        }
    }
    Ok(())
}

/// Why there is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The lock file cannot be read.
    #[error("the lock file cannot be read: {0}")]
    Lock(String),
    /// It does not have the function's package, or not one that its package names.
    #[error("the lock file does not have '{0}'")]
    NotLocked(String),
    /// A package that lies beside the function's was not found.
    #[error("the source of '{0}', which it is built with, was not found")]
    NoSource(String),
}

/// The hash of a crate's source and of what it is built with, as 32 hexadecimal digits. `local` are the packages that lie beside it.
///
/// # Errors
/// When the lock file, or a package that lies beside it, does not tell what it is built with.
pub fn content_hash(package: &Package, local: &[Package], lock: &str) -> Result<String, IdentityError> {
    hash_with(package, local, lock, |name| name != INTERFACE)
}

/// The same of a single file, whose dependencies are `named`; without any, no lock file is needed.
pub(crate) fn file_hash(
    file: &Package,
    named: &[String],
    local: &[Package],
    lock: Option<&str>,
) -> Result<String, IdentityError> {
    if named.is_empty() {
        return Ok(hash(file, &[], &[]));
    }
    hash_with(file, local, lock.unwrap_or_default(), |name| named.iter().any(|named| named == name))
}

fn hash_with(
    package: &Package,
    local: &[Package],
    lock: &str,
    enters: impl Fn(&str) -> bool,
) -> Result<String, IdentityError> {
    let lock = Lock::read(lock).map_err(IdentityError::Lock)?;
    let closure = lock.closure(&package.name, enters);
    let closure = closure.ok_or_else(|| IdentityError::NotLocked(package.name.clone()))?;
    let (mut foreign, mut beside) = (Vec::new(), Vec::new());
    for dependency in closure {
        match &dependency.content {
            Some(content) => foreign.push(format!("{} {} {content}", dependency.name, dependency.version)),
            None => {
                let found = local.iter().find(|package| package.name == dependency.name);
                beside.push(found.ok_or_else(|| IdentityError::NoSource(dependency.name.clone()))?);
            }
        }
    }
    Ok(hash(package, &beside, &foreign))
}

fn hash(package: &Package, beside: &[&Package], foreign: &[String]) -> String {
    let mut hash = Xxh3::new();
    let mut put = |part: &[u8]| {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    put(b"udf-1");
    for package in std::iter::once(&package).chain(beside) {
        put(&(package.files.len() as u64).to_le_bytes());
        for (path, content) in &package.files {
            put(path.as_bytes());
            put(content);
        }
    }
    foreign.iter().for_each(|line| put(line.as_bytes()));
    format!("{:032x}", hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
[[package]]
name = "udf-f"
version = "0.1.0"
dependencies = ["arroyo-udf-plugin", "beside", "foreign"]
[[package]]
name = "arroyo-udf-plugin"
version = "0.2.0"
checksum = "a"
[[package]]
name = "beside"
version = "0.1.0"
[[package]]
name = "foreign"
version = "1.0.0"
checksum = "b"
"#;

    fn hashed(text: &str, beside: &str, lock: &str) -> String {
        let (package, local) =
            (Package::of("udf-f", [("src/lib.rs", text)]), Package::of("beside", [("src/lib.rs", beside)]));
        content_hash(&package, &[local], lock).expect("a hash")
    }

    #[test]
    fn everything_that_decides_an_answer_counts_and_nothing_else() {
        let usual = hashed("a", "b", LOCK);
        assert_eq!(usual.len(), 32);
        assert_eq!(hashed("a", "b", &LOCK.replace("\"0.2.0\"", "\"0.2.1\"")), usual, "the interface");
        assert_ne!(hashed("c", "b", LOCK), usual, "its own source");
        assert_ne!(hashed("a", "c", LOCK), usual, "source beside it");
        assert_ne!(hashed("a", "b", &LOCK.replace("\"b\"", "\"c\"")), usual, "what it is built with");
    }

    #[test]
    fn what_is_missing_is_named() {
        let package = Package::of("udf-f", []);
        assert_eq!(content_hash(&package, &[], LOCK), Err(IdentityError::NoSource("beside".to_owned())));
        assert_eq!(content_hash(&package, &[], ""), Err(IdentityError::NotLocked("udf-f".to_owned())));
    }

    #[test]
    fn a_file_that_names_nothing_needs_no_lock() {
        let file = Package::of("udf-f", [("f.rs", "text")]);
        let alone = file_hash(&file, &[], &[], None).expect("a hash");
        assert_eq!(file_hash(&file, &[], &[], Some(LOCK)).as_deref(), Ok(alone.as_str()));
        let with = file_hash(&file, &["foreign".to_owned()], &[], Some(LOCK)).expect("a hash");
        assert_ne!(with, alone);
        assert_eq!(
            file_hash(&file, &["foreign".to_owned()], &[], None),
            Err(IdentityError::NotLocked("udf-f".to_owned()))
        );
    }
}
