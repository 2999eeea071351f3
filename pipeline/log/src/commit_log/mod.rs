//! [`EventLog`] on local disk: one append-only file format, one order, one sync per group commit.

mod body;
mod fence;
mod format;
mod index;
mod recovery;
mod writer;

pub use fence::{Holder, read_holder};

use crate::contract::{Append, Commit, EventLog, Frame, FrameToAppend, LogError, Pending};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::datatypes::SchemaRef;
use chalk_catalog::{ControlEvent, SystemTopic, TopicDef, TopicId, TopicSchema, Topics};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId};
use chalk_store::{LocalFiles, Storage, StorageError};
use fence::Fence;
use format::{COMMIT_BYTES_MAX, CommitHead};
use index::{Index, Segment};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};
use writer::{OpenSegment, Waiting, Writer};

/// Reads the time, in nanoseconds since the Unix epoch.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a log is opened.
#[derive(Clone)]
pub struct LogOptions {
    /// A segment is sealed when it has grown to this many bytes.
    pub segment_bytes_max: u64,
    /// Commits that tailing readers find in memory, in bytes of encoded frames.
    pub cache_bytes_max: usize,
    /// How many appends may wait for the writer.
    pub queue_max: usize,
    /// Where `commit_time` comes from.
    pub clock: Clock,
}

impl LogOptions {
    /// The defaults, with the given clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        Self { segment_bytes_max: 64 << 20, cache_bytes_max: 32 << 20, queue_max: 256, clock }
    }
}

/// The commit log of one data directory.
pub struct CommitLog {
    shared: Arc<Shared>,
    queue: Mutex<Option<SyncSender<Waiting>>>,
    catalog_writer: Mutex<()>,
    durable: watch::Receiver<CommitSeq>,
    fence: Mutex<Fence>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What writer and readers share.
struct Shared {
    state: RwLock<State>,
    durable: watch::Sender<CommitSeq>,
    cache_bytes_max: usize,
}

#[derive(Default)]
struct State {
    index: Index,
    topics: Arc<Topics>,
    /// The newest commits, in order, with their encoded size.
    cache: VecDeque<(usize, Arc<Commit>)>,
    cache_bytes: usize,
    stopped: Option<String>,
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.state().index.tail(topic, partition)
    }

    fn stop(&self, error: &LogError) {
        self.state_mut().stopped = Some(error.to_string());
    }

    fn stopped(&self) -> LogError {
        LogError::Stopped(self.state().stopped.clone().unwrap_or_else(|| "it was closed".to_owned()))
    }

    /// A commit is durable: readers may see it.
    fn publish(&self, position: u64, head: CommitHead, commit: Commit, bytes: usize) {
        let seq = commit.seq;
        let mut state = self.state_mut();
        state.index.add(position, head);
        state.cache.push_back((bytes, Arc::new(commit)));
        state.cache_bytes += bytes;
        while state.cache_bytes > self.cache_bytes_max && state.cache.len() > 1 {
            if let Some((bytes, _)) = state.cache.pop_front() {
                state.cache_bytes -= bytes;
            }
        }
        drop(state);
        self.durable.send_replace(seq);
    }
}

impl CommitLog {
    /// Opens the log of a data directory, creating it when there is none, and takes the directory's lock.
    ///
    /// # Errors
    /// When another process holds the directory, or the log is damaged or newer than this build.
    pub fn open(directory: &Path, holder: &Holder, options: LogOptions) -> Result<Self, LogError> {
        let storage: Arc<dyn Storage> = Arc::new(LocalFiles::at(&directory.join("log"))?);
        let fence = Fence::take(directory, holder)?;
        let recovered = recovery::recover(&*storage)?;
        let last = recovered.index.last_commit();
        let last_time = recovered.index.commit(last).map_or(IngestTime(0), |(_, _, head)| head.time);
        let (durable_sender, durable) = watch::channel(last);
        let shared = Arc::new(Shared {
            state: RwLock::new(State { index: recovered.index, ..State::default() }),
            durable: durable_sender,
            cache_bytes_max: options.cache_bytes_max,
        });
        let node = node_of(directory);
        let open = match recovered.open {
            None => None,
            Some((name, 0)) => Some(restart_segment(&*storage, &shared, node, name, last.next())?),
            Some((name, len)) => Some(OpenSegment { file: storage.reopen(&name, len)?, len }),
        };
        let (queue, waiting) = sync_channel(options.queue_max);
        let writer = Writer {
            storage,
            shared: Arc::clone(&shared),
            clock: options.clock,
            node,
            segment_bytes_max: options.segment_bytes_max,
            open,
            next: last.next(),
            last_time,
        };
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|source| StorageError { operation: "start a thread for", path: directory.to_owned(), source })?;
        let log = Self {
            shared,
            queue: Mutex::new(Some(queue)),
            catalog_writer: Mutex::new(()),
            durable,
            fence: Mutex::new(fence),
            writer: Mutex::new(Some(writer)),
        };
        log.load_topics()?;
        Ok(log)
    }

    /// Says in the lock file who holds the directory and where it listens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&self, holder: &Holder) -> Result<(), LogError> {
        lock(&self.fence)
            .announce(holder)
            .map_err(|source| StorageError { operation: "write", path: "lock".into(), source }.into())
    }

    fn load_topics(&self) -> Result<(), LogError> {
        let mut topics = Topics::default();
        for event in self.control_events(SystemTopic::Catalog.id())? {
            topics.apply(&event).map_err(|error| LogError::Schema(error.to_string()))?;
        }
        self.shared.state_mut().topics = Arc::new(topics);
        Ok(())
    }

    /// Reads and checks one frame.
    fn read_frame(
        segment: &Segment,
        position: u64,
        head: &CommitHead,
        number: usize,
        topics: &Topics,
    ) -> Result<Frame, LogError> {
        let frame = &head.frames[number];
        let before: u64 = head.frames[..number].iter().map(|frame| u64::from(frame.body_bytes)).sum();
        let position = position + head.head_bytes() as u64 + before;
        let damaged = |what: String| LogError::Damaged { file: segment.name.clone(), commit: head.seq, position, what };
        let mut bytes = vec![0; frame.body_bytes as usize];
        segment.file.read_exact_at(&mut bytes, position)?;
        if crc32c::crc32c(&bytes) != frame.body_crc {
            return Err(damaged("a frame's checksum does not match".to_owned()));
        }
        let written = topics.schema(frame.schema);
        let written = written.ok_or_else(|| damaged(format!("schema {} is not known", frame.schema.0)))?;
        let rows = body::decode(&bytes, written.arrow())?;
        let rows = match topics.by_id(frame.topic) {
            Some(topic) if topic.schema_id != frame.schema => resolve(&rows, topic.schema.arrow())?,
            _ => rows,
        };
        Ok(Frame { topic: frame.topic, partition: frame.partition, base_offset: frame.base_offset, rows })
    }
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

fn restart_segment(
    storage: &dyn Storage,
    shared: &Shared,
    node: [u8; 16],
    name: String,
    first: CommitSeq,
) -> Result<OpenSegment, LogError> {
    let header = format::SegmentHeader { node, first }.encode();
    let mut file = storage.reopen(&name, 0)?;
    file.append(&header)?;
    file.sync()?;
    storage.sync_directory()?;
    let reader = storage.open(&name)?;
    shared.state_mut().index.segments.push(Segment { name, file: reader, commits: Vec::new() });
    Ok(OpenSegment { file, len: header.len() as u64 })
}

/// Rows of an earlier schema in the columns of the present one: matched by name, NULL where there was none.
fn resolve(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LogError> {
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), rows.num_rows()),
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| LogError::Batch { operation: "decode", message: error.to_string() })
}

/// Says why frames of `old` could not be read as `new`.
fn incompatible(old: &TopicSchema, new: &TopicSchema) -> Option<String> {
    for column in &old.columns {
        let kept = new.column_index(&column.name).map(|index| &new.columns[index]);
        match kept {
            None => return Some(format!("field '{}' is gone", column.name)),
            Some(kept) if kept.column_type.arrow() != column.column_type.arrow() => {
                return Some(format!("field '{}' has another type", column.name));
            }
            Some(kept) if column.nullable && !kept.nullable => {
                return Some(format!("field '{}' was optional and is now required", column.name));
            }
            Some(_) => {}
        }
    }
    let added = new.columns.iter().find(|column| !column.nullable && old.column_index(&column.name).is_none());
    added.map(|column| format!("new field '{}' is required, but earlier events do not have it", column.name))
}

impl EventLog for CommitLog {
    fn append(&self, append: Append) -> Result<Pending, LogError> {
        let bodies = append.frames.iter().map(|frame| body::encode(&frame.rows)).collect::<Result<Vec<_>, _>>()?;
        let (bytes, limit) = (bodies.iter().map(Vec::len).sum(), COMMIT_BYTES_MAX / 4);
        if bytes > limit {
            return Err(LogError::TooLarge { bytes, limit });
        }
        let (answer, pending) = oneshot::channel();
        let waiting = Waiting { append, bodies, answer };
        let queue = lock(&self.queue).clone().ok_or_else(|| self.shared.stopped())?;
        queue.send(waiting).map_err(|_| self.shared.stopped())?;
        Ok(Pending(pending))
    }

    fn ensure_topic(&self, name: &str, avsc: &str, envelope: &str) -> Result<TopicDef, LogError> {
        let _one_at_a_time = lock(&self.catalog_writer);
        let bad = |error: chalk_catalog::SchemaError| LogError::Schema(error.to_string());
        let wanted = TopicSchema::parse(name, avsc, envelope).map_err(bad)?;
        let topics = self.topics();
        let (next_topic, next_schema) = topics.next_ids();
        let (avsc, envelope) = (avsc.to_owned(), envelope.to_owned());
        let event = match topics.by_name(name) {
            Some(topic) if topic.schema.columns == wanted.columns && topic.schema.records == wanted.records => {
                return Ok(topic.clone());
            }
            Some(topic) => {
                if let Some(why) = incompatible(&topic.schema, &wanted) {
                    return Err(LogError::Schema(format!(
                        "the schema of topic '{name}' cannot change like this: {why}"
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
        self.append(Append { frames: vec![self.control_frame(&event)?] })?.wait()?;
        let mut changed = (*topics).clone();
        changed.apply(&event).map_err(bad)?;
        {
            let mut state = self.shared.state_mut();
            state.topics = Arc::new(changed);
            // Cached rows may be in the schema before this one; what is read from disk is resolved.
            state.cache.clear();
            state.cache_bytes = 0;
        }
        self.topics().by_name(name).cloned().ok_or_else(|| LogError::Schema(format!("topic '{name}' was not created")))
    }

    fn control_frame(&self, event: &ControlEvent) -> Result<FrameToAppend, LogError> {
        let system = match event {
            ControlEvent::TopicCreated { .. } | ControlEvent::SchemaChanged { .. } => SystemTopic::Catalog,
            ControlEvent::EpochCommitted { .. } | ControlEvent::SourceRead { .. } => SystemTopic::Journal,
        };
        let fail = |message: String| LogError::Batch { operation: "encode", message };
        let json = serde_json::to_string(event).map_err(|error| fail(error.to_string()))?;
        let topic = system.definition();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![json])),
            new_null_array(&arrow::datatypes::DataType::Utf8, 1),
            Arc::new(UInt64Array::from(vec![0])),
        ];
        let rows =
            RecordBatch::try_new(Arc::clone(topic.schema.arrow()), columns).map_err(|error| fail(error.to_string()))?;
        let partition = PartitionId(0);
        Ok(FrameToAppend { topic: topic.id, partition, schema: topic.schema_id, event_times: None, rows })
    }

    fn control_events(&self, topic: TopicId) -> Result<Vec<ControlEvent>, LogError> {
        let mut events = Vec::new();
        let mut from = Offset(0);
        loop {
            let frames = self.read_partition(topic, PartitionId(0), from, 8 << 20)?;
            let Some((_, last)) = frames.last() else {
                return Ok(events);
            };
            from = Offset(last.base_offset.0 + last.rows.num_rows() as u64);
            for (_, frame) in &frames {
                let column = frame.rows.column(0).as_any().downcast_ref::<StringArray>();
                for json in column.into_iter().flatten().flatten() {
                    let event = serde_json::from_str(json).map_err(|error| {
                        LogError::Schema(format!("a control event of a newer build? {error}: {json}"))
                    })?;
                    events.push(event);
                }
            }
        }
    }

    fn topics(&self) -> Arc<Topics> {
        Arc::clone(&self.shared.state().topics)
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
            let next = looked_at.next();
            let commit = {
                let state = self.shared.state();
                let oldest = state.cache.front().map(|(_, commit)| commit.seq);
                match oldest.filter(|&oldest| oldest <= next) {
                    Some(oldest) => {
                        let (size, commit) = &state.cache[(next.0 - oldest.0) as usize];
                        bytes += size;
                        let frames = commit.frames.iter().filter(|frame| topics.contains(&frame.topic));
                        Commit { seq: commit.seq, time: commit.time, frames: frames.cloned().collect() }
                    }
                    None => {
                        let known = Arc::clone(&state.topics);
                        let Some((segment, position, head)) = state.index.commit(next) else {
                            break;
                        };
                        let (segment, head) = (segment.clone_without_commits(), Arc::clone(head));
                        drop(state);
                        let mut frames = Vec::new();
                        for (number, frame) in head.frames.iter().enumerate() {
                            if topics.contains(&frame.topic) {
                                bytes += frame.body_bytes as usize;
                                frames.push(Self::read_frame(&segment, position, &head, number, &known)?);
                            }
                        }
                        Commit { seq: head.seq, time: head.time, frames }
                    }
                }
            };
            looked_at = next;
            if !commit.frames.is_empty() {
                commits.push(commit);
            }
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
        let (topics, places) = {
            let state = self.shared.state();
            let mut bytes = 0;
            let mut places = Vec::new();
            for place in state.index.frames_from(topic, partition, from) {
                let Some((segment, position, head)) = state.index.commit(place.commit) else {
                    break;
                };
                places.push((segment.clone_without_commits(), position, Arc::clone(head), place.frame as usize));
                bytes += head.frames[place.frame as usize].body_bytes as usize;
                if bytes >= bytes_max {
                    break;
                }
            }
            (Arc::clone(&state.topics), places)
        };
        places
            .into_iter()
            .map(|(segment, position, head, number)| {
                Ok((head.seq, Self::read_frame(&segment, position, &head, number, &topics)?))
            })
            .collect()
    }

    fn tail(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.shared.tail(topic, partition)
    }
}

impl Segment {
    /// The segment for reading its file outside the lock.
    fn clone_without_commits(&self) -> Self {
        Self { name: self.name.clone(), file: Arc::clone(&self.file), commits: Vec::new() }
    }
}

impl Drop for CommitLog {
    /// Lets the writer finish what is queued.
    fn drop(&mut self) {
        lock(&self.queue).take();
        if let Some(writer) = lock(&self.writer).take() {
            let _ = writer.join();
        }
    }
}
