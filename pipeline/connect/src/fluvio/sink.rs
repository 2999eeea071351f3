//! A topic, written at least once: every row has an id that stays, by which readers leave out what they have had.
//!
//! A cluster can take nothing back, so a row is there once it is prepared. A run that ends before the journal's record is durable has given
//! rows that the next one gives again, with the same ids; readers that keep to them see each row once.
//!
//! The state in the journal is a JSON object: how many rows were given. A row's id is made of the sink, its number and its text.

use super::Access;
use super::cluster::{Cluster, Trouble, blocking, within};
use super::record::{event_id, key_of, with_id};
use super::source::Timing;
use crate::{ConnectError, Recovered, Sink};
use chalk_event::Epoch;
use fluvio::{
    DeliverySemantic, Isolation, ProducerError, RecordKey, RetryPolicy, TopicProducerConfigBuilder, TopicProducerPool,
};
use fluvio_future::timer::after;
use futures::future::{Either, select};
use serde::{Deserialize, Serialize};
use std::pin::pin;
use std::time::Duration;

/// Rows that could not be delivered are tried again so often.
const ATTEMPTS_MAX: u32 = 5;
/// A record with its batch has fewer bytes: readers that ask for the usual megabyte would never get beyond a larger one.
const BATCH_BYTES_MAX: usize = 1_000_000;
/// The client sends what is full; the rest is sent when all rows are there.
const LINGER: Duration = Duration::from_secs(60);

/// What a sink writes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// The cluster.
    pub access: Access,
    /// The topic, which must exist.
    pub topic: String,
    /// The field whose value is the record's key; rows with one key are in one partition.
    pub key_field: Option<String>,
    /// How batches are compressed.
    pub compression: Compression,
    /// A batch has about so many bytes at most.
    pub batch_bytes: usize,
    /// Whether rows get an `event_id`, since they have none of their own.
    pub add_event_id: bool,
    /// The sink among all others: ids depend on it.
    pub identity: String,
    /// How long things take.
    pub timing: Timing,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As gzip.
    Gzip,
    /// As Snappy.
    Snappy,
    /// As LZ4.
    Lz4,
    /// As Zstandard.
    Zstd,
}

impl From<Compression> for fluvio::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// What the journal keeps.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// How many rows were given.
    rows: u64,
}

/// A topic of a cluster.
pub struct FluvioSink {
    // configuration
    settings: SinkSettings,
    // state
    rows: u64,
    /// `None` after a failure.
    producer: Option<(Cluster, TopicProducerPool)>,
}

/// Why rows were not delivered.
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

impl FluvioSink {
    /// A topic. Nothing is done before the sink recovers.
    #[must_use]
    pub fn new(settings: SinkSettings) -> Self {
        Self { settings, rows: 0, producer: None }
    }

    fn state(&self) -> Result<String, ConnectError> {
        let state = serde_json::to_string(&State { rows: self.rows });
        state.map_err(|error| ConnectError::State(error.to_string()))
    }

    fn failed(&self, trouble: Trouble) -> ConnectError {
        trouble.into_error(&self.settings.access)
    }

    fn connect(&mut self) -> Result<(), Trouble> {
        if self.producer.is_none() {
            let connected = blocking(2 * self.settings.timing.answer, connect(&self.settings))?;
            self.producer = Some(connected);
        }
        Ok(())
    }

    fn deliver(&mut self, lines: &str) -> Result<(), Undelivered> {
        self.connect()?;
        let Some((cluster, producer)) = &self.producer else { return Ok(()) };
        let Timing { answer, refresh, .. } = self.settings.timing;
        let mut too_large = None;
        let sent = send(producer, &self.settings, self.rows, lines, &mut too_large);
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
            (Ok(()), _) => Ok(()),
            (Err(_), Some(bytes)) => Err(Undelivered::TooLarge(bytes)),
            (Err(trouble), None) => Err(Undelivered::Trouble(trouble)),
        }
    }
}

/// Sends rows, of which the first has a number, and waits until each is acknowledged.
async fn send(
    producer: &TopicProducerPool,
    settings: &SinkSettings,
    first: u64,
    lines: &str,
    too_large: &mut Option<usize>,
) -> Result<(), Trouble> {
    let mut outcomes = Vec::new();
    for (row, line) in (first..).zip(lines.lines()) {
        let key = settings.key_field.as_ref().and_then(|field| key_of(line, field));
        let key = key.map_or(RecordKey::NULL, RecordKey::from);
        let value = match settings.add_event_id {
            true => with_id(line, event_id(&settings.identity, row, line)),
            false => line.as_bytes().to_vec(),
        };
        let sent = producer.send(key, value).await.map_err(|error| {
            if let Some(ProducerError::RecordTooLarge(bytes, _)) = error.downcast_ref() {
                *too_large = Some(*bytes);
            }
            Trouble::passing(error)
        });
        outcomes.push(sent?);
    }
    producer.flush().await.map_err(Trouble::passing)?;
    // What flushing says of failures is not to be relied upon: each record is asked about.
    for outcome in outcomes {
        outcome.wait().await.map_err(Trouble::passing)?;
    }
    Ok(())
}

async fn connect(settings: &SinkSettings) -> Result<(Cluster, TopicProducerPool), Trouble> {
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

impl Sink for FluvioSink {
    fn recover(&mut self, committed: Option<&str>) -> Result<Recovered, ConnectError> {
        let state: Option<State> =
            committed.map(serde_json::from_str).transpose().map_err(|error| ConnectError::State(error.to_string()))?;
        self.connect().map_err(|trouble| self.failed(trouble))?;
        match state {
            Some(state) => {
                self.rows = state.rows;
                Ok(Recovered::GoesOn)
            }
            None => Ok(Recovered::Anew(self.state()?)),
        }
    }

    /// Rows are there for all to see by the time this returns.
    fn prepare(&mut self, _: Epoch, lines: &str) -> Result<String, ConnectError> {
        let mut attempts = 0;
        loop {
            let trouble = match self.deliver(lines) {
                Ok(()) => break,
                Err(Undelivered::TooLarge(bytes)) => {
                    let (topic, limit) = (self.settings.topic.clone(), BATCH_BYTES_MAX);
                    return Err(ConnectError::RecordTooLarge { topic, bytes, limit });
                }
                Err(Undelivered::Trouble(trouble)) => trouble,
            };
            self.producer = None;
            attempts += 1;
            if attempts == ATTEMPTS_MAX {
                return Err(self.failed(trouble));
            }
            let Timing { retry_min, retry_max, .. } = self.settings.timing;
            std::thread::sleep(retry_min.saturating_mul(1 << attempts).min(retry_max));
        }
        self.rows += lines.lines().count() as u64;
        self.state()
    }

    fn commit(&mut self, _: Epoch) -> Result<(), ConnectError> {
        Ok(())
    }
}
