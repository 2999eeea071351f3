//! A topic, read to the last record.

use super::Access;
use super::cluster::{Cluster, Trouble, blocking, within};
use super::follow::follows;
use super::record::push_line;
use crate::source::CHUNK_BYTES;
use crate::{Chunk, ConnectError, Place, Polled, Source, SourceHealth};
use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use fluvio::{Offset, PartitionConsumer};
use fluvio_future::task::run_block_on;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Asked for the same so often, a cluster does not have it.
const ATTEMPTS_MAX: u32 = 3;

/// What a source reads, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// The cluster.
    pub access: Access,
    /// The topic.
    pub topic: String,
    /// Where a topic is begun that was never read.
    pub begin: Begin,
    /// What becomes of records that the cluster no longer has.
    pub lost: Lost,
    /// So many bytes are asked for at once, of each partition. Every batch must be smaller.
    pub fetch_bytes: i32,
    /// How long things take.
    pub timing: Timing,
}

/// Where a topic is begun that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the first record that is there.
    Earliest,
    /// With the first that comes.
    Latest,
}

/// What becomes of records that the cluster no longer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The source fails.
    Stop,
    /// They are counted, and reading goes on with the first that is there.
    Skip,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// So long an answer is waited for.
    pub answer: Duration,
    /// So often the cluster is asked what it has: new partitions, and records that should have come.
    pub refresh: Duration,
    /// After the first failure the next attempt comes so much later; after each further one twice as much.
    pub retry_min: Duration,
    /// But no more than this.
    pub retry_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            refresh: Duration::from_secs(10),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
        }
    }
}

/// Offsets by partition: the first that is there, and the one after the last.
type Offsets = BTreeMap<u32, Range<u64>>;
type Batches = BoxStream<'static, Result<Batch, Trouble>>;

/// A topic of a cluster.
///
/// ```text
///             opened           gap in a partition: that one's stream anew, at `next`
/// Away ─────▶ Opening ─────▶ Reading ─┐
///   ▲            │             │  ▲───┘
///   └────────────┴─────────────┘  the cluster is gone, or silent although it has more: all anew, after a while
/// ```
pub struct FluvioSource {
    // configuration
    settings: SourceSettings,
    // state
    partitions: BTreeMap<u32, Reached>,
    connection: Connection,
    /// So often in a row the cluster could not be used.
    failures: u32,
    ready: VecDeque<Chunk>,
    /// Where to end, once it is known.
    ends: Option<Offsets>,
    // metrics
    health: SourceHealth,
}

/// How far a partition is.
#[derive(Clone, Copy, Debug)]
struct Reached {
    next: u64,
    /// It was asked for again so often from there on.
    attempts: u32,
}

enum Connection {
    /// Until then.
    Away(Instant),
    Opening(BoxFuture<'static, Result<(Cluster, Offsets), Trouble>>),
    Reading(Reading),
}

struct Reading {
    cluster: Arc<Cluster>,
    streams: Vec<Stream>,
    /// Whose turn it is, so that none is left behind.
    turn: usize,
    refresh: Refresh,
}

struct Stream {
    partition: u32,
    batches: Batches,
    /// At the last look the cluster had more than was read, which was up to here.
    behind: Option<u64>,
}

enum Refresh {
    At(Instant),
    Asking(BoxFuture<'static, Result<Offsets, Trouble>>),
}

/// What happened next.
enum Event {
    Batch(usize, Batch),
    /// It is time to look what the cluster has.
    Due,
    Refreshed(Offsets),
    Failed(Trouble),
}

impl FluvioSource {
    /// Opens a topic: where chunks ended, and where the settings say.
    ///
    /// # Errors
    /// When the cluster cannot be reached, has no such topic, or no longer has what is to be read next.
    pub fn open(settings: SourceSettings, places: &BTreeMap<u32, Place>) -> Result<Self, ConnectError> {
        let access = settings.access.clone();
        let opened = blocking(2 * settings.timing.answer, open(settings.clone()));
        let (cluster, offsets) = opened.map_err(|trouble| trouble.into_error(&access))?;
        let partitions = places.iter().map(|(&partition, place)| (partition, Reached::at(place.position))).collect();
        let mut source = Self {
            settings,
            partitions,
            connection: Connection::Away(Instant::now()),
            failures: 0,
            ready: VecDeque::new(),
            ends: None,
            health: SourceHealth::default(),
        };
        source.fit(&offsets, places.is_empty())?;
        source.read(cluster);
        Ok(source)
    }

    /// Compares what was read with what is there, and begins partitions that are new. `first`: all of them are, for nothing was read yet.
    fn fit(&mut self, offsets: &Offsets, first: bool) -> Result<(), ConnectError> {
        let topic = &self.settings.topic;
        for (&partition, there) in offsets {
            let Some(reached) = self.partitions.get_mut(&partition) else {
                let next = if first && self.settings.begin == Begin::Latest { there.end } else { there.start };
                self.partitions.insert(partition, Reached::at(next));
                // From here on it is known that this one was begun, and where.
                self.ready.push_back(Chunk { partition, bytes: Vec::new(), first: next, records: 0, position: next });
                continue;
            };
            if reached.next > there.end {
                let (topic, read, has) = (topic.clone(), reached.next, there.end);
                return Err(ConnectError::OtherTopic { topic, partition, read, has });
            }
            if reached.next < there.start {
                if self.settings.lost == Lost::Stop {
                    let (topic, missing) = (topic.clone(), reached.next..there.start);
                    return Err(ConnectError::Lost { topic, partition, missing });
                }
                self.health.lost += there.start - reached.next;
                *reached = Reached::at(there.start);
            }
        }
        Ok(())
    }

    /// Begins to read all partitions.
    fn read(&mut self, cluster: Cluster) {
        let cluster = Arc::new(cluster);
        let streams = self.partitions.iter().map(|(&partition, reached)| Stream {
            partition,
            batches: batches(&cluster, &self.settings, partition, reached.next),
            behind: None,
        });
        let streams = streams.collect();
        let refresh = Refresh::At(Instant::now() + self.settings.timing.refresh);
        self.connection = Connection::Reading(Reading { cluster, streams, turn: 0, refresh });
    }

    /// The cluster cannot be used for a while.
    fn away(&mut self, trouble: &Trouble) {
        let Timing { retry_min, retry_max, .. } = self.settings.timing;
        let wait = retry_min.saturating_mul(1 << self.failures.min(16)).min(retry_max);
        self.failures += 1;
        self.health.waits = Some(trouble.to_string());
        self.connection = Connection::Away(Instant::now() + wait);
    }

    /// A step on the way to the next chunk.
    async fn step(&mut self) -> Result<(), ConnectError> {
        match &mut self.connection {
            Connection::Away(until) => {
                if let Some(left) = until.checked_duration_since(Instant::now()) {
                    fluvio_future::timer::after(left).await;
                }
                self.connection = Connection::Opening(open(self.settings.clone()).boxed());
            }
            Connection::Opening(opening) => match opening.await {
                Ok((cluster, offsets)) => {
                    self.health.reconnects += 1;
                    self.health.waits = None;
                    self.fit(&offsets, false)?;
                    self.read(cluster);
                }
                Err(trouble @ Trouble::Settings(_)) => return Err(trouble.into_error(&self.settings.access)),
                Err(trouble) => self.away(&trouble),
            },
            Connection::Reading(reading) => match reading.next(&self.settings).await {
                Event::Batch(index, batch) => self.take(index, batch)?,
                Event::Due => reading.ask(&self.settings.topic),
                Event::Refreshed(offsets) => self.refreshed(&offsets)?,
                Event::Failed(trouble) => self.away(&trouble),
            },
        }
        Ok(())
    }

    /// Takes a batch, and what of the same partition is there already, up to a chunk.
    fn take(&mut self, index: usize, batch: Batch) -> Result<(), ConnectError> {
        let Connection::Reading(reading) = &mut self.connection else { return Ok(()) };
        let stream = &mut reading.streams[index];
        let partition = stream.partition;
        let Some(reached) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let mut chunk = Chunk { partition, bytes: Vec::new(), first: reached.next, records: 0, position: reached.next };
        let mut batch = Some(batch);
        let (mut gap, mut failed) = (None, None);
        while let Some(at_hand) = batch.take() {
            let base = u64::try_from(at_hand.get_base_offset()).unwrap_or(u64::MAX);
            let follows = follows(chunk.position, base, at_hand.records_len(), at_hand.records().len());
            for record in &at_hand.records()[follows.take.clone()] {
                push_line(&mut chunk.bytes, record.value().as_ref());
            }
            chunk.records += follows.take.len() as u64;
            chunk.position += follows.take.len() as u64;
            if follows.gap {
                gap = Some((base, at_hand.records_len()));
                break;
            }
            if chunk.bytes.len() < CHUNK_BYTES {
                match stream.batches.try_next().now_or_never() {
                    Some(Ok(next)) => batch = next,
                    Some(Err(trouble)) => failed = Some(trouble),
                    None => {}
                }
            }
        }
        if chunk.records > 0 {
            self.failures = 0;
            *reached = Reached::at(chunk.position);
            self.health.records += chunk.records;
        }
        if let Some((base, said)) = gap {
            self.health.gaps += 1;
            reached.attempts += 1;
            if reached.attempts > ATTEMPTS_MAX {
                missing(&self.settings, partition, reached, base, said, &mut self.health)?;
            }
            stream.batches = batches(&reading.cluster, &self.settings, partition, reached.next);
        }
        if chunk.records > 0 {
            self.ready.push_back(chunk);
        }
        if let Some(trouble) = failed {
            self.away(&trouble);
        }
        Ok(())
    }

    /// The cluster has said what it has: partitions that are new, and records that should have come.
    fn refreshed(&mut self, offsets: &Offsets) -> Result<(), ConnectError> {
        let known: Vec<u32> = self.partitions.keys().copied().collect();
        self.fit_new(offsets)?;
        let Connection::Reading(reading) = &mut self.connection else { return Ok(()) };
        for (&partition, reached) in self.partitions.iter().filter(|(partition, _)| !known.contains(partition)) {
            let batches = batches(&reading.cluster, &self.settings, partition, reached.next);
            reading.streams.push(Stream { partition, batches, behind: None });
        }
        let mut stuck = None;
        for stream in &mut reading.streams {
            let next = self.partitions.get(&stream.partition).map_or(0, |reached| reached.next);
            let has_more = offsets.get(&stream.partition).is_some_and(|there| there.end > next);
            if has_more && stream.behind == Some(next) {
                stuck = Some(stream.partition);
            }
            stream.behind = has_more.then_some(next);
        }
        if let Some(partition) = stuck {
            let what = format!("partition {partition} has more records, but they do not come");
            self.away(&Trouble::Passing(what));
        }
        Ok(())
    }

    /// As [`FluvioSource::fit`], for partitions that are new; the others are being read.
    fn fit_new(&mut self, offsets: &Offsets) -> Result<(), ConnectError> {
        let new = |partition: &u32| !self.partitions.contains_key(partition);
        let new: Offsets = offsets.iter().filter(|(p, _)| new(p)).map(|(&p, there)| (p, there.clone())).collect();
        self.fit(&new, false)
    }

    fn is_at_its_end(&self) -> bool {
        self.ends.as_ref().is_some_and(|ends| {
            let is_read = |partition, there: &Range<u64>| {
                self.partitions.get(partition).is_some_and(|reached| reached.next >= there.end)
            };
            ends.iter().all(|(partition, there)| is_read(partition, there))
        })
    }
}

impl Reached {
    fn at(next: u64) -> Self {
        Self { next, attempts: 0 }
    }
}

/// What becomes of records that were asked for again and again, and did not come.
fn missing(
    settings: &SourceSettings,
    partition: u32,
    reached: &mut Reached,
    base: u64,
    said: usize,
    health: &mut SourceHealth,
) -> Result<(), ConnectError> {
    let topic = settings.topic.clone();
    if base <= reached.next {
        let (offset, records, limit) = (base, said, settings.fetch_bytes);
        return Err(ConnectError::BatchTooLarge { topic, partition, offset, records, limit });
    }
    if settings.lost == Lost::Stop {
        return Err(ConnectError::Lost { topic, partition, missing: reached.next..base });
    }
    health.lost += base - reached.next;
    *reached = Reached::at(base);
    Ok(())
}

/// Connects, and asks what there is.
async fn open(settings: SourceSettings) -> Result<(Cluster, Offsets), Trouble> {
    let cluster = Cluster::connect(&settings.access, settings.timing.answer).await?;
    let offsets = cluster.offsets(&settings.topic).await?;
    Ok((cluster, offsets))
}

/// A partition's batches from an offset on. Nothing is asked for before it is polled.
fn batches(cluster: &Arc<Cluster>, settings: &SourceSettings, partition: u32, next: u64) -> Batches {
    let (cluster, settings) = (Arc::clone(cluster), settings.clone());
    let opened = async move {
        let asked = async {
            let consumer = consumer(&cluster, &settings.topic, partition).await?;
            let offset = Offset::absolute(i64::try_from(next).map_err(Trouble::passing)?).map_err(Trouble::passing)?;
            let config = ConsumerConfig::builder().max_bytes(settings.fetch_bytes).build().map_err(Trouble::passing)?;
            consumer.stream_batches_with_config(offset, config).await.map_err(Trouble::passing)
        };
        let stream = within(settings.timing.answer, asked).await?;
        Ok(stream.map_err(move |code: ErrorCode| Trouble::Passing(format!("partition {partition}: {code}"))))
    };
    let gone =
        stream::once(async move { Err(Trouble::Passing(format!("partition {partition}: the stream has ended"))) });
    stream::once(opened).try_flatten().chain(gone).boxed()
}

#[expect(deprecated, reason = "what it is to be replaced by gives records one by one, and no headers of batches")]
async fn consumer(cluster: &Cluster, topic: &str, partition: u32) -> Result<PartitionConsumer, Trouble> {
    cluster.client.partition_consumer(topic, partition).await.map_err(Trouble::passing)
}

impl Reading {
    /// What happens next. Nothing is lost when it is not waited for.
    async fn next(&mut self, settings: &SourceSettings) -> Event {
        let Self { streams, turn, refresh, .. } = self;
        let mut due = match refresh {
            Refresh::At(at) => Some(fluvio_future::timer::after(at.saturating_duration_since(Instant::now()))),
            Refresh::Asking(_) => None,
        };
        std::future::poll_fn(|context: &mut Context<'_>| {
            let count = streams.len();
            for index in (0..count).map(|number| (*turn + number) % count) {
                if let Poll::Ready(came) = streams[index].batches.poll_next_unpin(context) {
                    *turn = index + 1;
                    return Poll::Ready(match came {
                        Some(Ok(batch)) => Event::Batch(index, batch),
                        Some(Err(trouble)) => Event::Failed(trouble),
                        None => Event::Failed(Trouble::Passing("the stream has ended".to_owned())),
                    });
                }
            }
            if due.as_mut().is_some_and(|due| due.poll_unpin(context).is_ready()) {
                return Poll::Ready(Event::Due);
            }
            let Refresh::Asking(answer) = refresh else { return Poll::Pending };
            answer.poll_unpin(context).map(|answer| {
                *refresh = Refresh::At(Instant::now() + settings.timing.refresh);
                answer.map_or_else(Event::Failed, Event::Refreshed)
            })
        })
        .await
    }

    /// Asks the cluster what it has.
    fn ask(&mut self, topic: &str) {
        let (cluster, topic) = (Arc::clone(&self.cluster), topic.to_owned());
        self.refresh = Refresh::Asking(async move { cluster.offsets(&topic).await }.boxed());
    }
}

impl Source for FluvioSource {
    fn poll(&mut self, wait: Duration) -> Result<Polled, ConnectError> {
        let until = Instant::now() + wait;
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(Polled::Chunk(chunk));
            }
            if self.is_at_its_end() {
                return Ok(Polled::End);
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Ok(Polled::Nothing) };
            let timer = fluvio_future::timer::after(left);
            let step = std::pin::pin!(self.step());
            match run_block_on(futures::future::select(step, timer)) {
                futures::future::Either::Left((stepped, _)) => stepped?,
                futures::future::Either::Right(_) => return Ok(Polled::Nothing),
            }
        }
    }

    fn drain(&mut self) -> Result<(), ConnectError> {
        let opened = blocking(2 * self.settings.timing.answer, open(self.settings.clone()));
        let (_, offsets) = opened.map_err(|trouble| trouble.into_error(&self.settings.access))?;
        self.refreshed(&offsets)?;
        self.ends = Some(offsets);
        Ok(())
    }

    fn health(&self) -> SourceHealth {
        self.health.clone()
    }
}
