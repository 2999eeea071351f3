//! Object stores: whole objects under keys, in a local directory or behind a URL.
//!
//! What is kept in one is written once and read as a whole: history, photos. Files that grow are [`crate::Storage`]'s.

mod local;
mod remote;
#[cfg(feature = "s3")]
mod s3;

pub use local::LocalObjects;
pub use remote::RemoteObjects;

use crate::storage::StorageError;
use bytes::Bytes;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// How long it is.
    pub bytes: u64,
}

/// Whole objects under keys.
///
/// # Contract
///
/// - A key is a relative path: names with `/` between them, none of them empty, `.` or `..`.
/// - [`Objects::put`] puts an object in the place of one of this key, or where there was none, at once: whatever happens, the key has
///   all of its old bytes or all of the new, which are durable when it returns.
/// - Calls wait on the calling thread, whichever that is: none of them on a thread that runs async tasks.
/// - There may be objects that nobody knows of: what an upload that was cut off has left.
pub trait Objects: Debug + Send + Sync {
    /// Where they are, for people.
    fn location(&self) -> String;

    /// Writes an object.
    ///
    /// # Errors
    /// When it could not be made durable. It can be tried again.
    fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError>;

    /// All of an object; `None` when there is none of this key.
    ///
    /// # Errors
    /// When it cannot be read.
    fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError>;

    /// All objects, by key.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError>;

    /// Removes an object; that there is none is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn delete(&self, key: &str) -> Result<(), StorageError>;
}

/// Opens the object store at a place: a directory (made when something is put there), `file:///directory`, or `s3://bucket/prefix`, whose
/// options come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`,
/// `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` …) in a build with the feature `s3`.
///
/// # Errors
/// When the place is of no kind that this build knows, or its options do not do.
pub fn open_objects(location: &str) -> Result<Arc<dyn Objects>, StorageError> {
    let not_known = |what: String| StorageError {
        operation: "open the object store",
        path: PathBuf::from(location),
        source: io::Error::new(io::ErrorKind::Unsupported, what),
    };
    match location.split_once("://") {
        None => Ok(Arc::new(LocalObjects::at(Path::new(location)))),
        Some(("file", path)) if path.starts_with('/') => Ok(Arc::new(LocalObjects::at(Path::new(path)))),
        Some(("s3", rest)) => s3(location, rest).map_err(not_known),
        Some((scheme, _)) => Err(not_known(format!(
            "'{scheme}' is no kind of object store\n  hint: name a directory or s3://bucket/prefix"
        ))),
    }
}

#[cfg(feature = "s3")]
fn s3(location: &str, rest: &str) -> Result<Arc<dyn Objects>, String> {
    s3::open(location, rest)
}

/// In a build that does not know it.
#[cfg(not(feature = "s3"))]
fn s3(_: &str, _: &str) -> Result<Arc<dyn Objects>, String> {
    Err("this build is without S3\n  hint: cargo build --release --features chalk-cli/s3 makes one with it".to_owned())
}

/// Whether a key is one, for those that would otherwise leave their directory.
pub(crate) fn check_key(key: &str) -> Result<(), StorageError> {
    if key.split('/').all(|name| !matches!(name, "" | "." | "..")) {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no key of an object");
    Err(StorageError { operation: "use", path: PathBuf::from(key), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryFiles;

    /// What every object store does.
    fn check(objects: &dyn Objects) {
        let get = |key: &str| objects.get(key).expect("a store that works");
        let keys = || -> Vec<(String, u64)> {
            objects.list().expect("a store that works").into_iter().map(|object| (object.key, object.bytes)).collect()
        };
        assert_eq!((get("a"), get("a=b/c"), keys()), (None, None, Vec::new()));
        for bytes in [&b"one"[..], b"", b"another"] {
            objects.put("a=b/c d%20.x", Bytes::copy_from_slice(bytes)).expect("a store that works");
            assert_eq!(get("a=b/c d%20.x").as_deref(), Some(bytes));
        }
        objects.put("a", Bytes::from_static(b"2")).expect("a store that works");
        assert_eq!(keys(), [("a".to_owned(), 1), ("a=b/c d%20.x".to_owned(), 7)]);
        for _ in 0..2 {
            objects.delete("a=b/c d%20.x").expect("a store that works");
        }
        assert_eq!((get("a=b/c d%20.x"), keys()), (None, vec![("a".to_owned(), 1)]));
        for key in ["", "../a", "a//b", "/a", "a/."] {
            assert!(objects.put(key, Bytes::new()).is_err(), "{key}");
        }
    }

    #[test]
    fn a_directory_is_an_object_store() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("not/there/yet");
        check(&LocalObjects::at(&path));
        let again = open_objects(&format!("file://{}", path.display())).expect("a directory");
        assert_eq!(again.get("a").expect("a directory").as_deref(), Some(&b"2"[..]));
    }

    #[test]
    fn files_in_memory_are_an_object_store() {
        check(&MemoryFiles::new());
    }

    #[test]
    fn what_object_store_offers_is_an_object_store() {
        let memory: Arc<dyn object_store::ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        check(&RemoteObjects::new(Arc::clone(&memory), "with/prefix", "memory").expect("a thread"));
        let all = RemoteObjects::new(memory, "", "memory").expect("a thread");
        all.delete("with/prefix/a").expect("a store that works");
        check(&all);
    }

    /// `CHALK_S3=s3://bucket/prefix` names one with nothing in it; see `.ci/s3`.
    #[cfg(feature = "s3")]
    #[test]
    fn a_bucket_is_an_object_store() {
        let Some(place) = std::env::var("CHALK_S3").ok() else { return };
        let bucket = open_objects(&place).expect("a bucket");
        check(&*bucket);
        // Beside it, and above it.
        let beside = open_objects(&format!("{place}-beside/a b")).expect("a bucket");
        beside.delete("a").expect("a bucket");
        check(&*beside);
        assert_eq!(bucket.list().expect("a bucket").len(), 1);
        // As large as history's files are at most.
        let large = Bytes::from((0..64_u32 << 20).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        bucket.put("large.part", large.clone()).expect("a bucket");
        assert!(bucket.get("large.part").expect("a bucket") == Some(large), "all of its bytes");
        // More than one answer of the server lists.
        for number in 0..1100 {
            bucket.put(&format!("many/{number}"), Bytes::from_static(b"x")).expect("a bucket");
        }
        assert_eq!(bucket.list().expect("a bucket").len(), 1102);
        let nowhere = open_objects("s3://no-such-bucket/prefix").expect("it is not asked yet");
        let error = nowhere.list().expect_err("there is none").to_string();
        assert!(error.contains("s3://no-such-bucket/prefix"), "{error}");
    }

    #[test]
    fn places_of_no_known_kind_are_refused() {
        for (place, expected) in [("ftp://x/y", "'ftp' is no kind of object store"), ("s3://", "names no bucket")] {
            let error = open_objects(place).expect_err(place).to_string();
            assert!(error.contains(expected) || error.contains("without S3"), "{error}");
        }
    }
}
