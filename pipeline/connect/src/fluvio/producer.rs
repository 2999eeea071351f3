//! Records into a topic: each is acknowledged, or it is tried again.

use super::cluster::{Cluster, Trouble, blocking, within};
use super::source::Timing;
use super::{Access, Compression};
use crate::{ConnectError, Event, Publish};
use fluvio::dataplane::record::{RecordData, RecordKey};
use fluvio::{DeliverySemantic, Isolation, ProducerError, RetryPolicy, TopicProducerConfigBuilder, TopicProducerPool};
use fluvio_future::timer::after;
use futures::future::{Either, select};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

/// Records that could not be delivered are tried again so often.
const ATTEMPTS_MAX: u32 = 5;
/// A record with its batch has fewer bytes: readers that ask for the usual megabyte would never get beyond a larger one.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// An event with its key and what a batch has besides.
const EVENT_BYTES_MAX: usize = 900_000;
/// The client sends what is full; the rest is sent when all records are there.
const LINGER: Duration = Duration::from_secs(60);

/// Which topic is written to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSettings {
    /// The cluster.
    pub access: Access,
    /// The topic, which must exist.
    pub topic: String,
    /// How batches are compressed.
    pub compression: Compression,
    /// A batch has about so many bytes at most.
    pub batch_bytes: usize,
    /// How long things take.
    pub timing: Timing,
}

/// A record to be written. Records with one key are in one partition, in order.
pub struct Record {
    key: Option<RecordData>,
    value: RecordData,
}

impl Record {
    /// A record.
    #[must_use]
    pub fn new(key: Option<String>, value: Vec<u8>) -> Self {
        Self { key: key.map(RecordData::from), value: value.into() }
    }
}

/// Writes to a topic, at least once.
pub struct Producer {
    // configuration
    settings: ProducerSettings,
    // state
    /// `None` at first, and after a failure.
    connected: Option<(Cluster, TopicProducerPool)>,
}

/// Why records were not delivered.
enum Undelivered {
    Trouble(Trouble),
    /// A record is too large for any batch: bytes.
    TooLarge(usize),
}

impl From<Trouble> for Undelivered {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Producer {
    /// Nothing is done before the first record, or before it is told to connect.
    #[must_use]
    pub fn new(settings: ProducerSettings) -> Self {
        Self { settings, connected: None }
    }

    /// Connects, if it is not.
    ///
    /// # Errors
    /// When the cluster cannot be reached in time, or has no such topic.
    pub fn connect(&mut self) -> Result<(), ConnectError> {
        self.try_connect().map_err(|trouble| trouble.into_error(&self.settings.access))
    }

    fn try_connect(&mut self) -> Result<(), Trouble> {
        if self.connected.is_none() {
            let connected = blocking(2 * self.settings.timing.answer, connect(&self.settings))?;
            self.connected = Some(connected);
        }
        Ok(())
    }

    /// Writes records, and waits until each is acknowledged; gives the offset after the last of them, by partition. When only a part was
    /// acknowledged all are written again.
    ///
    /// # Errors
    /// When they are not acknowledged, after several attempts; some may be there.
    pub fn produce(&mut self, records: &[Record]) -> Result<BTreeMap<u32, u64>, ConnectError> {
        let mut attempts = 0;
        loop {
            let trouble = match self.deliver(records) {
                Ok(reached) => return Ok(reached),
                Err(Undelivered::TooLarge(bytes)) => {
                    let (topic, limit) = (self.settings.topic.clone(), BATCH_BYTES_MAX);
                    return Err(ConnectError::RecordTooLarge { topic, bytes, limit });
                }
                Err(Undelivered::Trouble(trouble)) => trouble,
            };
            self.connected = None;
            attempts += 1;
            if attempts == ATTEMPTS_MAX {
                return Err(trouble.into_error(&self.settings.access));
            }
            let Timing { retry_min, retry_max, .. } = self.settings.timing;
            std::thread::sleep(retry_min.saturating_mul(1 << attempts).min(retry_max));
        }
    }

    fn deliver(&mut self, records: &[Record]) -> Result<BTreeMap<u32, u64>, Undelivered> {
        self.try_connect()?;
        let Some((cluster, producer)) = &self.connected else { return Ok(BTreeMap::new()) };
        let Timing { answer, refresh, .. } = self.settings.timing;
        let mut too_large = None;
        let sent = send(producer, records, &mut too_large);
        // A client that has lost its cluster would wait for it, and never look where it is now.
        let watch = async {
            loop {
                after(refresh / 10).await;
                within(answer / 4, cluster.offsets(&self.settings.topic)).await?;
            }
        };
        // So much is on its way at once, and all of it is to be there in time.
        let delivered = blocking(3 * answer, async {
            match select(pin!(sent), pin!(watch)).await {
                Either::Left((sent, _)) => sent,
                Either::Right((lost, _)) => lost,
            }
        });
        match (delivered, too_large) {
            (Ok(reached), _) => Ok(reached),
            (Err(_), Some(bytes)) => Err(Undelivered::TooLarge(bytes)),
            (Err(trouble), None) => Err(Undelivered::Trouble(trouble)),
        }
    }
}

impl Publish for Producer {
    fn publish(&mut self, events: &[Event<'_>]) -> Result<BTreeMap<u32, u64>, ConnectError> {
        let record = |event: &Event<'_>| Record::new(event.key.map(str::to_owned), event.text.to_vec());
        self.produce(&events.iter().map(record).collect::<Vec<_>>())
    }

    fn event_bytes_max(&self) -> usize {
        EVENT_BYTES_MAX
    }
}

/// Sends records, and waits until each is acknowledged.
async fn send(
    producer: &TopicProducerPool,
    records: &[Record],
    too_large: &mut Option<usize>,
) -> Result<BTreeMap<u32, u64>, Trouble> {
    let mut outcomes = Vec::with_capacity(records.len());
    for Record { key, value } in records {
        let key = key.clone().map_or(RecordKey::NULL, RecordKey::from);
        let sent = producer.send(key, value.clone()).await.map_err(|error| {
            if let Some(ProducerError::RecordTooLarge(bytes, _)) = error.downcast_ref() {
                *too_large = Some(*bytes);
            }
            Trouble::passing(error)
        });
        outcomes.push(sent?);
    }
    producer.flush().await.map_err(Trouble::passing)?;
    // What flushing says of failures is not to be relied upon: each record is asked about.
    let mut reached = BTreeMap::new();
    for outcome in outcomes {
        let written = outcome.wait().await.map_err(Trouble::passing)?;
        let after = u64::try_from(written.offset()).map_err(Trouble::passing)? + 1;
        let reached = reached.entry(written.partition_id()).or_insert(after);
        *reached = after.max(*reached);
    }
    Ok(reached)
}

async fn connect(settings: &ProducerSettings) -> Result<(Cluster, TopicProducerPool), Trouble> {
    let cluster = Cluster::connect(&settings.access, settings.timing.answer).await?;
    // Who is not there is said by name; the client would wait.
    cluster.offsets(&settings.topic).await?;
    let policy = RetryPolicy { max_retries: 1, timeout: settings.timing.answer, ..RetryPolicy::default() };
    let config = TopicProducerConfigBuilder::default()
        .batch_size(settings.batch_bytes.min(BATCH_BYTES_MAX))
        .max_request_size(BATCH_BYTES_MAX)
        .batch_queue_size(1000)
        .linger(LINGER)
        .compression(settings.compression)
        .isolation(Isolation::ReadCommitted)
        .timeout(settings.timing.answer)
        .delivery_semantic(DeliverySemantic::AtLeastOnce(policy))
        .build()
        .map_err(|error| Trouble::Settings(error.to_string()))?;
    let asked = async {
        let producer = cluster.client.topic_producer_with_config(&settings.topic, config).await;
        producer.map_err(Trouble::passing)
    };
    let producer = within(settings.timing.answer, asked).await?;
    Ok((cluster, producer))
}
