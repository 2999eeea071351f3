//! The contract of an event log.

use crate::commit_log::HistorySize;
use arrow::array::RecordBatch;
use chalk_catalog::{ControlEvent, Journal, SchemaId, TopicDef, TopicId, Topics};
use chalk_event::{CommitSeq, EventTime, IngestTime, Offset, PartitionId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{oneshot, watch};

/// Rows to append to one partition.
#[derive(Clone, Debug)]
pub struct FrameToAppend {
    /// The topic.
    pub topic: TopicId,
    /// Which of its partitions.
    pub partition: PartitionId,
    /// The schema that `rows` are of.
    pub schema: SchemaId,
    /// The least and greatest event time among the rows, if they have one.
    pub event_times: Option<(EventTime, EventTime)>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Frames that become durable together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// The frames, in the order in which offsets are given.
    pub frames: Vec<FrameToAppend>,
}

/// Where an append came to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its commit.
    pub commit_seq: CommitSeq,
    /// When that was.
    pub commit_time: IngestTime,
    /// The first offset of each frame.
    pub base_offsets: Vec<Offset>,
}

/// A frame read back.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the first row.
    pub base_offset: Offset,
    /// The rows, in the schema that the topic has now.
    pub rows: RecordBatch,
}

/// A commit read back, with the frames that were asked for.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its number.
    pub seq: CommitSeq,
    /// When it was made.
    pub time: IngestTime,
    /// Its frames, in append order.
    pub frames: Vec<Frame>,
}

/// What a partition with rows comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSize {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The first offset that is kept, in history or in the log.
    pub first: Offset,
    /// The first offset that the log's segments have, or will have.
    pub first_in_log: Offset,
    /// The next offset: it has `tail - first` rows.
    pub tail: Offset,
    /// What its frames take in the log's segments, encoded.
    pub bytes: u64,
    /// The last commit with rows of it.
    pub last_commit: CommitSeq,
    /// When that was made.
    pub last_commit_time: IngestTime,
}

/// What a log comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// How many segments there are.
    pub segments: u64,
    /// What they take on disk.
    pub bytes: u64,
    /// The first commit that they have, or will have.
    pub first: CommitSeq,
    /// What is in history; `None` when none is kept.
    pub history: Option<HistorySize>,
    /// What keeps segments that retention would have let go of when it was last looked at.
    pub held_back: Option<String>,
    /// The partitions that have rows, by topic and partition.
    pub partitions: Vec<PartitionSize>,
}

/// What can go wrong with a log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The storage failed.
    #[error("{0}")]
    Storage(Arc<chalk_store::StorageError>),
    /// The writer has stopped after a failed write or sync, for good.
    #[error(
        "the log's writer has stopped: {0}\n  hint: nothing acknowledged is lost; see to the disk, then start again"
    )]
    Stopped(String),
    /// Bytes on disk are not what was written.
    #[error("damaged log: {file}, commit {commit}, at byte {position}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// The commit, as far as it is known.
        commit: CommitSeq,
        /// The byte at which it was noticed.
        position: u64,
        /// What does not fit.
        what: String,
    },
    /// The file was written by a newer build.
    #[error("{file} has format {found}, this build reads {known}: use a newer chalk")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u16,
        /// The one that this build reads.
        known: u16,
    },
    /// The file was written by an earlier build, whose format is not read any more.
    #[error(
        "{file} has format {found}, this build reads {known}: use the chalk that wrote it, or begin in another directory"
    )]
    OlderFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u16,
        /// The one that this build reads.
        known: u16,
    },
    /// Another process writes to the directory.
    #[error("{directory} is in use by {holder}")]
    InUse {
        /// The directory.
        directory: String,
        /// Who holds it.
        holder: String,
    },
    /// The lock file was removed while it was held.
    #[error(
        "{lock} is not the file that this process has locked: somebody has removed it, and another process can have the directory by now. \
         Nothing more is written"
    )]
    TakenOver {
        /// The lock file.
        lock: String,
    },
    /// Arrow could not encode or decode a batch.
    #[error("cannot {operation} a batch: {message}")]
    Batch {
        /// `encode` or `decode`.
        operation: &'static str,
        /// What Arrow said.
        message: String,
    },
    /// The append is larger than a commit can be.
    #[error("an append of {bytes} bytes is larger than the {limit} that a commit can hold: send less at once")]
    TooLarge {
        /// The append's encoded size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// What is asked for was let go of.
    #[error(
        "{asked} is not kept any more: what is kept begins with {kept}; {why}\n  hint: read on from there; whatever has to begin before needs a copy of the history"
    )]
    NotKept {
        /// What is asked for.
        asked: String,
        /// What there is from.
        kept: String,
        /// Why there is nothing before.
        why: String,
    },
    /// A schema in the log cannot be read.
    #[error("{0}")]
    Schema(String),
}

impl From<chalk_store::StorageError> for LogError {
    fn from(error: chalk_store::StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}

/// An append that has its place in the order but is not yet known to be durable. Await it.
#[derive(Debug)]
pub struct Pending(pub(crate) oneshot::Receiver<Result<Appended, LogError>>);

impl Pending {
    /// Waits on the calling thread, which must not be one that runs async tasks.
    ///
    /// # Errors
    /// When the append did not become durable.
    pub fn wait(self) -> Result<Appended, LogError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(LogError::Stopped("it was closed".to_owned())))
    }
}

impl Future for Pending {
    type Output = Result<Appended, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(LogError::Stopped("it was closed".to_owned()))))
    }
}

/// Topics of partitions of events, in one total order.
///
/// # Contract
///
/// ```text
///             commit 7            commit 8        commit 9
///  p0   [ 0  1  2 ]              [ 3  4 ]                        offsets: dense, immutable
///  p1              [ 0  1 ]                        [ 2 ]
///                                        ▲                ▲
///                                        durable          tail: the next commit
/// ```
///
/// - **Atomic.** All frames of an [`Append`] stand in one commit, or none does.
/// - **Ordered.** Appends take their places in the order of the calls; `(commit_seq, partition, offset)` is a total order over
///   everything and never changes.
/// - **Durable before visible.** A [`Pending`] resolves, [`EventLog::durable`] moves and reads return a commit only after its
///   bytes are synced.
/// - **Bounded.** [`EventLog::append`] blocks while too much is waiting to be written. Neither memory nor the time to open
///   grows with history.
/// - **Never skipped.** Retention lets go of the oldest rows; a read from before what is kept fails with [`LogError::NotKept`], it does not
///   begin later. Where history has them, reads go from there into the log's own segments as if these had never been removed.
/// - **Fail-stop.** After a failed write or sync every later append fails; reads go on.
/// - **A full disk is waited for.** Appends stay in their places until there is room again, then go on; see
///   [`EventLog::stalled`].
pub trait EventLog: Send + Sync {
    /// Takes a place in the order. Blocks while the queue is full: never call it on an async task's thread.
    ///
    /// An append without frames is a barrier: it resolves when everything before it is durable.
    ///
    /// # Errors
    /// When the append is too large, has rows of `_catalog` (which [`EventLog::ensure_topic`] writes) or rows of `_journal`
    /// that are no control events, or when the writer has stopped.
    fn append(&self, append: Append) -> Result<Pending, LogError>;

    /// Makes a topic exist with this schema, or gives the topic its new schema; waits until that is durable.
    ///
    /// # Errors
    /// When the schema cannot be read, or as for [`EventLog::append`].
    fn ensure_topic(&self, name: &str, avsc: &str, envelope: &str) -> Result<TopicDef, LogError>;

    /// A frame that records a control event in a system topic.
    ///
    /// # Errors
    /// When it cannot be encoded.
    fn control_frame(&self, event: &ControlEvent) -> Result<FrameToAppend, LogError>;

    /// All control events of a system topic that are durable, in order. The catalogue's are few; for how far pipelines are,
    /// [`EventLog::journal`] has the answer at hand.
    ///
    /// # Errors
    /// As for [`EventLog::read`].
    fn control_events(&self, topic: TopicId) -> Result<Vec<ControlEvent>, LogError>;

    /// The topics as they are now.
    fn topics(&self) -> Arc<Topics>;

    /// How far pipelines and bounded sources are, by what is durable.
    fn journal(&self) -> Journal;

    /// The last durable commit, and a way to wait for the next.
    fn durable(&self) -> watch::Receiver<CommitSeq>;

    /// Durable commits after `after` in order, with the frames of `topics` (commits without one are left out), until about
    /// `bytes_max` of frames are read; and the last commit looked at, which is where to go on.
    ///
    /// # Errors
    /// When bytes cannot be read or are damaged.
    fn read(
        &self,
        after: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
    ) -> Result<(Vec<Commit>, CommitSeq), LogError>;

    /// Durable frames of one partition from `from` on, until about `bytes_max` are read. The first frame may begin before
    /// `from`.
    ///
    /// # Errors
    /// As for [`EventLog::read`].
    fn read_partition(
        &self,
        topic: TopicId,
        partition: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<(CommitSeq, Frame)>, LogError>;

    /// The first offset of a partition that is kept.
    ///
    /// # Errors
    /// As for [`EventLog::read`].
    fn first(&self, topic: TopicId, partition: PartitionId) -> Result<Offset, LogError>;

    /// The last commit whose rows of these topics may have been let go of: [`EventLog::read`] after it, or after a later one, has all
    /// of them. 0 as long as everything is kept.
    fn let_go(&self, topics: &[TopicId]) -> CommitSeq;

    /// The next offset of a partition.
    fn tail(&self, topic: TopicId, partition: PartitionId) -> Offset;

    /// The first durable commit made at `time` or later.
    ///
    /// # Errors
    /// As for [`EventLog::read`].
    fn commit_at(&self, time: IngestTime) -> Result<Option<CommitSeq>, LogError>;

    /// The durable commit that has the row at an offset.
    ///
    /// # Errors
    /// As for [`EventLog::read`].
    fn commit_of(&self, topic: TopicId, partition: PartitionId, offset: Offset) -> Result<Option<CommitSeq>, LogError>;

    /// Why appends wait although nothing has failed: the disk is full.
    fn stalled(&self) -> Option<String>;

    /// How large it is.
    fn size(&self) -> LogSize;
}
