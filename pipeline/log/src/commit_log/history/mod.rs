//! History: sealed segments as Parquet on an object store, which anybody can read, and which the log reads on where its own segments end.
//!
//! ```text
//! limits    files of a segment ≤ the segment · rows of a row group ≤ 65,536 · the manifest has about 300 bytes for each file
//!
//! manifest                                           what counts, format 1; see manifest.rs
//! topic={name}/day={YYYY-MM-DD}/{first}-{schema}.parquet
//!           name    the topic's; other characters than letters, digits, '_', '-' and '.' as %XX of their bytes
//!           day     the UTC day of commit_time: it never goes back, so that a day that is over gets no more rows
//!           first   the first commit of the segment that the rows were in, 20 digits
//!           schema  the number of the schema that they were written in
//! ```
//!
//! A segment becomes a file for each topic, day and schema that it has rows of. Rows are in the log's order (`_commit_seq`,
//! `_partition`, `_offset`) and in **the schema that they were written in**: a field that a later schema leaves out is not lost.
//! Readers resolve to the topic's present schema, as they do when they read segments; other programs read files of several schemas by
//! name (DuckDB: `union_by_name`). Columns are those that are stored ([`chalk_catalog::TopicSchema::arrow`]), timestamps in UTC, JSON as
//! text, then `_partition`, `_offset`, `_commit_seq`, `_commit_time`, `_frame` (the number of the row's frame in its commit, from
//! which commits are put together again as they were) and `_schema`.
//!
//! Files are put first, the manifest last and at once. Whatever happens in between, the manifest is the old one or the new one; files that
//! it does not name do not count, and the next export puts them again or removes them. What it names is written once. The manifest
//! alone says how far the export is.
//!
//! ```text
//! manifest   what counts
//! file       rows to Parquet and back
//! export     a segment to files
//! read       frames from files
//! expire     what history's own retention lets go of
//! ```

mod expire;
mod export;
mod file;
mod manifest;
mod read;

pub use expire::Expired;
pub use export::Exported;
pub use manifest::{HistoryFile, HistoryPartition};

use super::lanes::LaneKey;
use super::lru::Lru;
use crate::contract::LogError;
use chalk_catalog::{SchemaId, TopicId, Topics};
use chalk_event::{CommitSeq, IngestTime, Offset};
use chalk_store::objects::Objects;
use file::LoadedFile;
use manifest::{Entry, Manifest};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The key of what counts.
const MANIFEST: &str = "manifest";

/// Files that are kept in memory, in bytes.
const FILES_BYTES_MAX: usize = 64 << 20;

/// Tells one file from all others.
type FileKey = (CommitSeq, TopicId, SchemaId);

/// The history of a log.
pub struct History {
    // configuration
    objects: Arc<dyn Objects>,
    // state
    manifest: RwLock<Arc<Manifest>>,
    files: Mutex<Lru<FileKey, Arc<LoadedFile>>>,
    /// Whether files that do not count were looked for since this was opened.
    swept: Mutex<bool>,
    /// Why the last export failed.
    failed: Mutex<Option<String>>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "history at {}, up to commit {}", self.location(), self.upto())
    }
}

/// What a history comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Where it is.
    pub location: String,
    /// The first commit that it is of.
    pub first: CommitSeq,
    /// The last; 0 when nothing was exported yet.
    pub upto: CommitSeq,
    /// How many files there are.
    pub files: u64,
    /// What they take.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
    /// Why the last export failed, if it did. It is tried again.
    pub failed: Option<String>,
}

impl History {
    /// Opens the history in an object store; an empty one when there is none.
    ///
    /// # Errors
    /// When the manifest cannot be read, is damaged or of a newer format.
    pub fn open(objects: Arc<dyn Objects>) -> Result<Self, LogError> {
        let manifest = Arc::new(Manifest::read(&*objects)?);
        Ok(Self {
            objects,
            manifest: RwLock::new(manifest),
            files: Mutex::new(Lru::new(FILES_BYTES_MAX)),
            swept: Mutex::new(false),
            failed: Mutex::new(None),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> String {
        self.objects.location()
    }

    /// The last commit that is in it; 0 when nothing was exported yet.
    #[must_use]
    pub fn upto(&self) -> CommitSeq {
        self.manifest().upto()
    }

    /// What it comes to.
    #[must_use]
    pub fn size(&self) -> HistorySize {
        let manifest = self.manifest();
        let files = manifest.files();
        let sum = |of: fn(&HistoryFile) -> u64| files.clone().map(of).sum();
        HistorySize {
            location: self.location(),
            first: manifest.first(),
            upto: manifest.upto(),
            files: files.clone().count() as u64,
            bytes: sum(|file| file.bytes),
            rows: sum(|file| file.rows),
            failed: self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Its files, in the order in which they were exported.
    #[must_use]
    pub fn files(&self) -> Vec<HistoryFile> {
        self.manifest().files().cloned().collect()
    }

    /// Reads all of a file, checks its checksum, and that it has the rows that the manifest says, in the log's order.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn verify(&self, file: &HistoryFile, topics: &Topics) -> Result<(), LogError> {
        let schema = topics.schema(file.schema).ok_or_else(|| file.damaged("its schema is not known"))?;
        LoadedFile::get(&*self.objects, file)?.verify(file, schema)
    }

    fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says how the last export went.
    pub(super) fn tell(&self, failed: Option<String>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    /// Makes a manifest the one that counts.
    fn put(&self, manifest: Manifest) -> Result<(), LogError> {
        self.objects.put(MANIFEST, manifest.encode()?)?;
        *self.manifest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(manifest);
        Ok(())
    }

    /// Reads the manifest again, which another process may have replaced.
    pub(super) fn refresh(&self) -> Result<(), LogError> {
        let manifest = Arc::new(Manifest::read(&*self.objects)?);
        *self.manifest.write().unwrap_or_else(PoisonError::into_inner) = manifest;
        Ok(())
    }

    /// The first commit that it is of, when it has any.
    pub(super) fn first(&self) -> Option<CommitSeq> {
        let manifest = self.manifest();
        (manifest.upto() > CommitSeq(0)).then(|| manifest.first())
    }

    /// When the first and the last commit of an exported segment were made, by its first.
    pub(super) fn times_of(&self, first: CommitSeq) -> Option<(IngestTime, IngestTime)> {
        let manifest = self.manifest();
        manifest.entry_of(first).filter(|entry| entry.first == first).map(|entry| entry.times)
    }

    /// The last commit whose rows of these topics may have been let go of.
    pub(super) fn expired(&self, topics: &[TopicId]) -> CommitSeq {
        let manifest = self.manifest();
        topics.iter().filter_map(|topic| manifest.expired.get(topic)).max().copied().unwrap_or_default()
    }

    /// The first offset of a partition that it has.
    pub(super) fn first_offset(&self, key: LaneKey) -> Option<Offset> {
        self.manifest().ranges(key).next().map(|(first, _)| first)
    }

    /// A file, from memory or the object store.
    fn load(&self, file: &HistoryFile) -> Result<Arc<LoadedFile>, LogError> {
        let key = (file.commits.0, file.topic_id, file.schema);
        if let Some(loaded) = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(loaded);
        }
        let loaded = Arc::new(LoadedFile::get(&*self.objects, file)?);
        let bytes = loaded.held_bytes();
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&loaded), bytes);
        Ok(loaded)
    }
}

impl Manifest {
    /// The entry that has a commit.
    fn entry_of(&self, commit: CommitSeq) -> Option<&Entry> {
        let place = self.segments.partition_point(|entry| entry.last < commit);
        self.segments.get(place).filter(|entry| entry.first <= commit)
    }
}
