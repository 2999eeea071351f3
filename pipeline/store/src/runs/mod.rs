//! Sorted run files: what state larger than memory, and state that must be there at once after a restart, is kept in.
//!
//! A *run* is an immutable file of keys in ascending order, each with a [`Change`]. A [`RunSet`] is several of them, oldest
//! first: a newer run's word stands before an older one's, and weights add up. Whoever owns a set writes new runs for what has
//! changed, merges runs when [`RunSet::due`] says so, and keeps a small manifest of the runs that count
//! ([`Storage::replace`](crate::Storage::replace)); a run that no manifest names is nobody's and can be removed.
//!
//! # Example
//!
//! Three runs, oldest first, and what the set says:
//!
//! ```text
//!  key      0.run      1.run      2.run         get / scan
//!  ada      Put "7"    -          Put "9"       Bytes "9"
//!  ben      Put "3"    Delete     -             -
//!  cleo     Add 2      Add -1     Add 1         Weight 2
//!  dora     Add 1      Add -1     -             -
//! ```
//!
//! ```
//! use chalk_store::runs::{Change, OwnedValue, Run, RunSet, RunWriter};
//! use chalk_store::{LocalFiles, Storage};
//! use std::sync::Arc;
//!
//! # let folder = tempfile::tempdir().expect("a temporary directory");
//! # let path = folder.path();
//! let storage: Arc<dyn Storage> = Arc::new(LocalFiles::at(path)?);
//! let mut set = RunSet::open(Arc::clone(&storage), &[] as &[&str])?;
//! let runs: [&[(&str, Change<'_>)]; 3] = [
//!     &[("ada", Change::Put(b"7")), ("ben", Change::Put(b"3")), ("cleo", Change::Add(2)), ("dora", Change::Add(1))],
//!     &[("ben", Change::Delete), ("cleo", Change::Add(-1)), ("dora", Change::Add(-1))],
//!     &[("ada", Change::Put(b"9")), ("cleo", Change::Add(1))],
//! ];
//! for (number, changes) in runs.iter().enumerate() {
//!     let name = format!("{number}.run");
//!     let mut writer = RunWriter::create(&*storage, &name)?;
//!     for (key, change) in *changes {
//!         writer.push(key.as_bytes(), *change)?;
//!     }
//!     writer.finish()?; // durable from here on
//!     set.push(Run::open(&*storage, &name)?);
//! }
//! let expected = [("ada", OwnedValue::Bytes(b"9".to_vec())), ("cleo", OwnedValue::Weight(2))];
//! let found = set.scan().collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(found, expected.clone().map(|(key, value)| (key.as_bytes().to_vec(), value)));
//! assert_eq!(set.get(b"ben")?, None);
//!
//! // All three become one, which says the same.
//! let merged = set.merge(0..3, "3.run")?;
//! assert_eq!(merged.info().entries, 2);
//! let no_more_needed = set.replace(0..3, merged);
//! assert_eq!(set.names().collect::<Vec<_>>(), ["3.run"]);
//! storage.replace("manifest", b"3.run")?; // whatever form the owner likes
//! for name in no_more_needed {
//!     storage.remove(&name)?;
//! }
//! assert_eq!(set.get(b"ada")?, Some(OwnedValue::Bytes(b"9".to_vec())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Memory
//!
//! An open run keeps its filter (10 bits a key) and the first key of each block (32 KiB); a scan keeps one block of each run.
//! A [`RunWriter`] keeps one block and 8 bytes a key, or only the filter when it is told how many keys are to come.

mod change;
mod error;
mod filter;
mod format;
mod run;
mod set;
#[cfg(test)]
mod tests;
mod writer;

pub use change::{Change, OwnedChange, OwnedValue, Value};
pub use error::RunError;
pub use run::{Run, RunInfo, RunScan};
pub use set::{RunSet, SetScan};
pub use writer::RunWriter;

/// A key may have this many bytes.
pub const KEY_BYTES_MAX: usize = 16 << 20;
/// A value may have this many bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// A key for people, as far as it is worth reading.
fn readable(key: &[u8]) -> String {
    const SHOWN: usize = 40;
    let end = if key.len() > SHOWN { "…" } else { "" };
    format!("'{}{end}'", key[..key.len().min(SHOWN)].escape_ascii())
}
