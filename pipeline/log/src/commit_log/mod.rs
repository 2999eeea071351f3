//! [`EventLog`] on local disk: one append-only file format, one order, one sync per group commit.

mod body;
mod control;
mod fence;
mod footer;
mod format;
mod history;
mod index;
mod lanes;
mod lru;
mod queue;
mod reader;
mod recovery;
mod retention;
mod sealed;
mod segment;
mod shared;
mod tail_cache;
mod trim;
mod verify;
mod writer;

pub use fence::{Holder, read_holder};
pub use history::{Expired, Exported, History, HistoryFile, HistoryPartition, HistorySize};
pub use retention::{Keep, LetGo, Need, Retention};
pub use verify::{CommitReport, CutOff, FrameReport, SegmentReport, inspect, repair_tail, verify};

use crate::contract::{Append, Commit, EventLog, Frame, FrameToAppend, LogError, LogSize, PartitionSize, Pending};
use chalk_catalog::{ControlEvent, Evolution, Journal, SystemTopic, TopicDef, TopicId, TopicSchema, Topics};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use chalk_store::objects::Objects;
use chalk_store::{LocalFiles, Storage, StorageError};
use fence::{Fence, Hold};
use format::COMMIT_BYTES_MAX;
use index::Index;
use queue::{EncodedFrame, Queue, Waiting};
use recovery::{HasHeader, Recovered};
use retention::Archive;
use sealed::{Footers, IndexedSegment};
use segment::SegmentFile;
use shared::{Found, Shared, State};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tail_cache::TailCache;
use tokio::sync::{oneshot, watch};
use writer::{Writer, begin_segment};

/// Reads the time, in nanoseconds since the Unix epoch.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Bodies that are read before something else is looked at.
const STEP_BYTES_MAX: usize = 8 << 20;

/// How a log is opened.
#[derive(Clone)]
pub struct LogOptions {
    /// A segment is sealed when it has grown to this many bytes.
    pub segment_bytes_max: u64,
    /// A segment is sealed when its first commit is so old, once there is another to begin the next with.
    pub segment_age_max: Duration,
    /// Commits that tailing readers find in memory, in bytes of memory that they take.
    pub cache_bytes_max: usize,
    /// Footers of sealed segments that are kept in memory, in bytes of memory that they take.
    pub footers_bytes_max: usize,
    /// Appends that may wait for the writer, in bytes of memory that they take.
    pub queue_bytes_max: usize,
    /// On a full disk what could not be written is tried again so often.
    pub full_disk_pause: Duration,
    /// Where history is kept; `None` for a log that keeps none.
    pub history: Option<Arc<dyn Objects>>,
    /// Where `commit_time` comes from.
    pub clock: Clock,
}

impl LogOptions {
    /// The defaults, with the given clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            segment_age_max: Duration::from_secs(24 * 3600),
            cache_bytes_max: 64 << 20,
            footers_bytes_max: 32 << 20,
            queue_bytes_max: 64 << 20,
            full_disk_pause: Duration::from_millis(200),
            history: None,
            clock,
        }
    }
}

/// The commit log of one data directory.
pub struct CommitLog {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    catalog_writer: Mutex<()>,
    durable: watch::Receiver<CommitSeq>,
    /// `None` when the log is only looked at.
    fence: Mutex<Option<Fence>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// `None` when the log is only looked at.
    archive: Option<Mutex<Archive>>,
}

impl CommitLog {
    /// Opens the log of a data directory, creating it when there is none, and takes the directory's lock.
    ///
    /// # Errors
    /// When another process holds the directory, or the log is damaged or of another format.
    pub fn open(directory: &Path, holder: &Holder, options: LogOptions) -> Result<Self, LogError> {
        let storage: Arc<dyn Storage> = Arc::new(LocalFiles::at(&directory.join("log"))?);
        let fence = Fence::take(directory, holder)?;
        let hold = fence.hold(directory)?;
        Self::start(storage, node_of(directory), Some((fence, hold)), options)
    }

    /// Opens the log in a storage of whatever kind. Nobody keeps others from writing to it.
    ///
    /// # Errors
    /// When the log is damaged or of another format.
    pub fn open_in(storage: Arc<dyn Storage>, options: LogOptions) -> Result<Self, LogError> {
        Self::start(storage, [0; 16], None, options)
    }

    fn start(
        storage: Arc<dyn Storage>,
        node: [u8; 16],
        fence: Option<(Fence, Hold)>,
        options: LogOptions,
    ) -> Result<Self, LogError> {
        let history = options.history.clone().map(History::open).transpose()?;
        let (fence, hold) = fence.unzip();
        let recovered = recovery::recover(&*storage)?;
        let (last_commit, last_time) = (recovered.last_commit, recovered.last_time);
        let archive = Archive { storage: Arc::clone(&storage) };
        archive.finish(&recovered.trim)?;
        let (shared, durable, open) = share(recovered, history, &storage, &options);
        check_is_of(&shared, last_commit)?;
        let open = match open {
            None => None,
            Some((index, HasHeader(false))) => Some(begin_segment(&*storage, &shared, node, index, true)?),
            Some((index, HasHeader(true))) => {
                let segment = SegmentFile::open(&*storage, index.first())?;
                let file = storage.reopen(&segment.name, index.end())?;
                shared.state_mut().open = Some(IndexedSegment { segment, index });
                Some(file)
            }
        };
        let queue = Arc::new(Queue::new(options.queue_bytes_max));
        let writer = Writer {
            storage,
            hold,
            shared: Arc::clone(&shared),
            clock: options.clock,
            node,
            segment_bytes_max: options.segment_bytes_max,
            segment_age_max: i64::try_from(options.segment_age_max.as_nanos()).unwrap_or(i64::MAX),
            full_disk_pause: options.full_disk_pause,
            open,
            next: last_commit.next(),
            last_time,
            buffer: Vec::new(),
        };
        let waiting = Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|source| StorageError { operation: "start a thread for", path: "the log".into(), source })?;
        Ok(Self {
            shared,
            queue,
            catalog_writer: Mutex::new(()),
            durable,
            fence: Mutex::new(fence),
            writer: Mutex::new(Some(writer)),
            archive: Some(Mutex::new(archive)),
        })
    }

    /// Looks at the log of a data directory as it is now, whether or not a process writes to it: takes no lock, writes nothing
    /// and cuts nothing off. What is appended later is not seen; what was appended a moment ago may be seen before it is durable.
    ///
    /// # Errors
    /// When there is no log, or it is damaged or of another format.
    pub fn look(directory: &Path, options: &LogOptions) -> Result<Self, LogError> {
        let storage: Arc<dyn Storage> = Arc::new(LocalFiles::existing(&directory.join("log"))?);
        // Before the log: what it has then, the log has, or has let go of.
        let history = options.history.clone().map(History::open).transpose()?;
        let (shared, durable, open) = share(recovery::recover(&*storage)?, history, &storage, options);
        if let Some((index, HasHeader(true))) = open {
            let segment = SegmentFile::open(&*storage, index.first())?;
            shared.state_mut().open = Some(IndexedSegment { segment, index });
        }
        shared.state_mut().stopped = Some("it was opened only to look at it".to_owned());
        let queue = Arc::new(Queue::new(0));
        queue.close();
        let (catalog_writer, fence, writer) = (Mutex::new(()), Mutex::new(None), Mutex::new(None));
        Ok(Self { shared, queue, catalog_writer, durable, fence, writer, archive: None })
    }

    /// Its history; `None` when it keeps none.
    #[must_use]
    pub fn history(&self) -> Option<&History> {
        self.shared.history.as_ref()
    }

    /// How many sealed segments are not in history yet; 0 when none is kept.
    #[must_use]
    pub fn to_export(&self) -> usize {
        let upto = self.shared.history.as_ref().map(History::upto);
        let state = self.shared.state();
        upto.map_or(0, |upto| state.sealed.len() - state.sealed.partition_point(|&first| first <= upto))
    }

    /// Puts all sealed segments into history that are not there yet. `go_on` is asked between steps of a few megabytes, and may wait there so
    /// that others get on; when it says no, what is begun is given up.
    ///
    /// # Errors
    /// When the log keeps no history or was opened only to look at it, when a segment cannot be read, or when the object store fails. It can be
    /// tried again.
    pub fn export(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Exported, LogError> {
        let (Some(archive), Some(history)) = (&self.archive, &self.shared.history) else {
            return Err(LogError::Stopped("it keeps no history, or was opened only to look at it".to_owned()));
        };
        let _one_at_a_time = lock(archive);
        let exported = self.export_to(history, go_on);
        history.tell(exported.as_ref().err().map(ToString::to_string));
        exported
    }

    fn export_to(&self, history: &History, go_on: &mut dyn FnMut() -> bool) -> Result<Exported, LogError> {
        let mut exported = Exported::default();
        let sealed = Arc::clone(&self.shared.state().sealed);
        let upto = history.upto();
        for &first in sealed.iter().filter(|&&first| first > upto) {
            let segment = self.shared.footers.index(first)?;
            let summary = self.shared.footers.summary(first)?;
            let topics = self.topics();
            if !history.export(&segment, &summary, &topics, go_on, &mut exported)? {
                break;
            }
        }
        Ok(exported)
    }

    /// Seals the segment that is written to, with everything that was acknowledged before, so that it can be exported; waits until that is
    /// done. Nothing happens when it has no commits.
    ///
    /// # Errors
    /// When the writer has stopped.
    pub fn seal(&self) -> Result<(), LogError> {
        let (answer, sealed) = oneshot::channel();
        let waiting = Waiting { frames: Vec::new(), control: Vec::new(), seal: true, answer };
        self.queue.push(waiting).map_err(|_| self.shared.stopped())?;
        Pending(sealed).wait().map(drop)
    }

    /// Says in the lock file who holds the directory and where it listens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&self, holder: &Holder) -> Result<(), LogError> {
        let mut fence = lock(&self.fence);
        let Some(fence) = fence.as_mut() else { return Err(self.shared.stopped()) };
        fence.announce(holder).map_err(|source| StorageError { operation: "write", path: "lock".into(), source }.into())
    }

    /// Takes a place in the order for an append that may hold anything.
    fn enqueue(&self, append: Append) -> Result<Pending, LogError> {
        let control = append.frames.iter().filter(|frame| control::is_control(frame.topic));
        let control = control.map(|frame| control::events_of(&frame.rows)).collect::<Result<Vec<_>, _>>()?.concat();
        let frames = append.frames.into_iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let (answer, pending) = oneshot::channel();
        let waiting = Waiting { frames, control, seal: false, answer };
        let (bytes, limit) = (waiting.body_bytes(), COMMIT_BYTES_MAX / 4);
        if bytes > limit {
            return Err(LogError::TooLarge { bytes, limit });
        }
        self.queue.push(waiting).map_err(|_| self.shared.stopped())?;
        Ok(Pending(pending))
    }
}

/// What was found in a directory, to be read; and the segment to go on in.
fn share(
    found: Recovered,
    history: Option<History>,
    storage: &Arc<dyn Storage>,
    options: &LogOptions,
) -> (Arc<Shared>, watch::Receiver<CommitSeq>, Option<(Index, HasHeader)>) {
    let (durable_sender, durable) = watch::channel(found.last_commit);
    let state = State {
        sealed: Arc::new(found.sealed),
        segments: found.segments,
        trim: found.trim,
        held_back: None,
        open: None,
        lanes: found.lanes,
        control: found.control,
        cache: TailCache::new(options.cache_bytes_max),
        stopped: None,
        stalled: None,
    };
    let footers = Footers::new(Arc::clone(storage), options.footers_bytes_max);
    (Arc::new(Shared::new(state, footers, history, durable_sender)), durable, found.open)
}

/// That a history is of this log, as far as both have the same segment.
fn check_is_of(shared: &Shared, last_commit: CommitSeq) -> Result<(), LogError> {
    let Some(history) = &shared.history else { return Ok(()) };
    let of_another = |what: String| {
        let location = history.location();
        Err(LogError::Schema(format!(
            "the history at {location} is of another log: {what}\n  hint: let this log keep its history in another place"
        )))
    };
    if history.upto() > last_commit {
        return of_another(format!("it ends with commit {}, and the log with {last_commit}", history.upto()));
    }
    let sealed = Arc::clone(&shared.state().sealed);
    let both = sealed.iter().rev().find_map(|&first| Some((first, history.times_of(first)?)));
    let Some((first, times)) = both else { return Ok(()) };
    let ending = shared.footers.summary(first)?.ending;
    if (ending.first.1, ending.last.1) != times {
        return of_another(format!("commit {first} was made at another time"));
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node's identity: stable for a directory, so that copies of segments can be told apart.
fn node_of(directory: &Path) -> [u8; 16] {
    let path = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let hash = chalk_event::hash_key(path.as_os_str().as_encoded_bytes());
    let mut node = [0; 16];
    node[..8].copy_from_slice(&hash.to_le_bytes());
    node
}

/// The work on a frame that does not need its place in the order: done by whoever appends, so that the writer only writes.
fn encode(frame: FrameToAppend) -> Result<EncodedFrame, LogError> {
    let FrameToAppend { topic, partition, schema, event_times, rows } = frame;
    let body = body::encode(&rows)?;
    let body_crc = crc32c::crc32c(&body);
    let row_count = rows.num_rows() as u32;
    let kept = tail_cache::worth_keeping(rows, &body);
    Ok(EncodedFrame { topic, partition, schema, event_times, row_count, body, body_crc, kept })
}

impl EventLog for CommitLog {
    fn append(&self, append: Append) -> Result<Pending, LogError> {
        let catalog = SystemTopic::Catalog;
        if append.frames.iter().any(|frame| frame.topic == catalog.id()) {
            return Err(LogError::Schema(format!(
                "topic '{}' is written by making and changing topics",
                catalog.name()
            )));
        }
        self.enqueue(append)
    }

    fn ensure_topic(&self, name: &str, avsc: &str, envelope: &str) -> Result<TopicDef, LogError> {
        let _one_at_a_time = lock(&self.catalog_writer);
        let bad = |error: chalk_catalog::SchemaError| LogError::Schema(error.to_string());
        let wanted = TopicSchema::parse(name, avsc, envelope).map_err(bad)?;
        let topics = self.topics();
        let (next_topic, next_schema) = topics.next_ids();
        let (avsc, envelope) = (avsc.to_owned(), envelope.to_owned());
        let event = match topics.by_name(name) {
            Some(topic) if topic.schema.same_as(&wanted) => return Ok(topic.clone()),
            Some(topic) => {
                let breaks = Evolution::of(&topic.schema, &wanted).breaks;
                if !breaks.is_empty() {
                    let why: Vec<String> = breaks.iter().map(ToString::to_string).collect();
                    return Err(LogError::Schema(format!(
                        "the schema of topic '{name}' cannot change like this: {}",
                        why.join("; ")
                    )));
                }
                ControlEvent::SchemaChanged { topic: topic.id, schema: next_schema, avsc, envelope }
            }
            None => ControlEvent::TopicCreated {
                topic: next_topic,
                name: name.to_owned(),
                partitions: wanted.partitions,
                schema: next_schema,
                avsc,
                envelope,
            },
        };
        self.enqueue(Append { frames: vec![self.control_frame(&event)?] })?.wait()?;
        self.topics().by_name(name).cloned().ok_or_else(|| LogError::Schema(format!("topic '{name}' was not created")))
    }

    fn control_frame(&self, event: &ControlEvent) -> Result<FrameToAppend, LogError> {
        let topic = event.topic().id();
        let (partition, schema) = (PartitionId(0), event.topic().schema_id());
        let rows = control::rows_of(std::slice::from_ref(event))?;
        Ok(FrameToAppend { topic, partition, schema, event_times: None, rows })
    }

    fn control_events(&self, topic: TopicId) -> Result<Vec<ControlEvent>, LogError> {
        if topic == SystemTopic::Catalog.id() {
            return Ok(self.shared.state().control.catalog.clone());
        }
        let mut events = Vec::new();
        let mut from = self.first(topic, PartitionId(0))?;
        loop {
            let frames = self.read_partition(topic, PartitionId(0), from, STEP_BYTES_MAX)?;
            let Some((_, last)) = frames.last() else {
                return Ok(events);
            };
            from = Offset(last.base_offset.0 + last.rows.num_rows() as u64);
            for (_, frame) in &frames {
                events.extend(control::events_of(&frame.rows)?);
            }
        }
    }

    fn topics(&self) -> Arc<Topics> {
        Arc::clone(&self.shared.state().control.topics)
    }

    fn journal(&self) -> Journal {
        self.shared.state().control.journal.clone()
    }

    fn durable(&self) -> watch::Receiver<CommitSeq> {
        self.durable.clone()
    }

    fn read(
        &self,
        after: CommitSeq,
        topics: &[TopicId],
        bytes_max: usize,
    ) -> Result<(Vec<Commit>, CommitSeq), LogError> {
        let (mut commits, mut bytes, mut looked_at) = (Vec::new(), 0, after);
        let durable = *self.durable.borrow();
        while looked_at < durable && bytes < bytes_max {
            let step_bytes_max = (bytes_max - bytes).min(STEP_BYTES_MAX);
            let (more, last, read) = self.shared.step(looked_at.next(), durable, topics, step_bytes_max)?;
            commits.extend(more);
            looked_at = last;
            bytes += read;
        }
        Ok((commits, looked_at))
    }

    fn read_partition(
        &self,
        topic: TopicId,
        partition: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<(CommitSeq, Frame)>, LogError> {
        let (mut frames, mut bytes, mut next) = (Vec::new(), 0, from);
        while bytes < bytes_max {
            let step_bytes_max = (bytes_max - bytes).min(STEP_BYTES_MAX);
            let found = self.shared.frames_from((topic, partition), next, step_bytes_max)?;
            match found {
                None => break,
                Some(Found::InHistory(read, read_bytes)) => {
                    let Some((_, last)) = read.last() else { break };
                    next = Offset(last.base_offset.0 + last.rows.num_rows() as u64);
                    bytes += read_bytes;
                    frames.extend(read);
                }
                Some(Found::InSegment(segment, places, topics)) => {
                    let Some(last) = places.last() else { break };
                    next = Offset(last.base_offset.0 + u64::from(last.rows));
                    bytes += places.iter().map(|place| place.body_bytes as usize).sum::<usize>();
                    let read = reader::read_frames(&segment, &places, &topics)?;
                    frames.extend(places.iter().map(|place| place.commit).zip(read));
                }
            }
        }
        Ok(frames)
    }

    fn first(&self, topic: TopicId, partition: PartitionId) -> Result<Offset, LogError> {
        self.shared.first_offset((topic, partition))
    }

    fn let_go(&self, topics: &[TopicId]) -> CommitSeq {
        let trimmed = CommitSeq(self.shared.state().trim.first.0 - 1);
        match &self.shared.history {
            // Where the history begins later than the log once did, the log may still have what is between.
            Some(history) if history.upto() > CommitSeq(0) && history.upto() >= trimmed => {
                let before = history.first().map_or(CommitSeq(0), |first| CommitSeq(first.0 - 1));
                before.min(trimmed).max(history.expired(topics).min(trimmed))
            }
            _ => trimmed,
        }
    }

    fn tail(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.shared.state().lanes.get((topic, partition)).tail
    }

    fn commit_at(&self, time: IngestTime) -> Result<Option<CommitSeq>, LogError> {
        let (sealed, in_open) = {
            let state = self.shared.state();
            (Arc::clone(&state.sealed), state.open.as_ref().and_then(|open| open.index.commit_at(time)))
        };
        if let Some(history) = &self.shared.history
            && let Some(commit) = history.commit_at(time)?
            && sealed.first().is_some_and(|&first| commit < first)
        {
            return Ok(Some(commit));
        }
        match self.shared.footers.of_time(&sealed, time)? {
            Some(first) => Ok(self.shared.footers.index(first)?.index.commit_at(time)),
            None => Ok(in_open),
        }
    }

    fn commit_of(&self, topic: TopicId, partition: PartitionId, offset: Offset) -> Result<Option<CommitSeq>, LogError> {
        let found = self.shared.frames_from((topic, partition), offset, 1)?;
        Ok(found.and_then(|found| match found {
            Found::InSegment(_, frames, _) => Some(frames.first()?.commit),
            Found::InHistory(frames, _) => Some(frames.first()?.0),
        }))
    }

    fn stalled(&self) -> Option<String> {
        self.shared.state().stalled.clone()
    }

    fn size(&self) -> LogSize {
        let history = self.shared.history.as_ref().map(History::size);
        let (first_sealed, trimmed) = {
            let state = self.shared.state();
            (state.sealed.first().copied(), state.trim.removed.count > 0)
        };
        // What cannot be read is told by whoever reads there.
        let of_first = first_sealed.and_then(|first| self.shared.footers.summary(first).ok());
        let in_first = first_sealed.filter(|_| trimmed).and_then(|first| self.shared.footers.index(first).ok());
        let state = self.shared.state();
        let open = state.open.as_ref().map(|open| open.index.end());
        let first_in_log = |key, lane: &lanes::Lane| match &of_first {
            Some(summary) => summary.lanes.get(key).first,
            None => lane.first,
        };
        let first = |key, lane| {
            let in_history = self.shared.history.as_ref().and_then(|history| history.first_offset(key));
            in_history.map_or_else(|| first_in_log(key, lane), |first| first.min(first_in_log(key, lane)))
        };
        // Of a partition's bytes those that stood in segments before the first that there is.
        let removed = |key| match (&of_first, &in_first) {
            (Some(summary), Some(segment)) => summary.lanes.get(key).bytes.saturating_sub(segment.index.bytes_of(key)),
            _ => 0,
        };
        let partitions = state.lanes.iter().map(|((topic, partition), lane)| PartitionSize {
            topic,
            partition,
            first: first((topic, partition), lane),
            first_in_log: first_in_log((topic, partition), lane),
            tail: lane.tail,
            bytes: lane.bytes.saturating_sub(removed((topic, partition))),
            last_commit: lane.last_commit,
            last_commit_time: lane.last_time,
        });
        LogSize {
            segments: state.segments.count - state.trim.removed.count + u64::from(open.is_some()),
            bytes: state.segments.bytes - state.trim.removed.bytes + open.unwrap_or(0),
            first: state.trim.first,
            history,
            held_back: state.held_back.clone(),
            partitions: partitions.collect(),
        }
    }
}

impl Drop for CommitLog {
    /// Lets the writer finish what is queued.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = lock(&self.writer).take() {
            let _ = writer.join();
        }
    }
}
