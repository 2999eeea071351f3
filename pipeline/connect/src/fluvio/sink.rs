//! A topic, written at least once: every row has an id that stays, by which readers leave out what they have had.
//!
//! A cluster can take nothing back, so a row is there once it is prepared. A run that ends before the journal's record is durable has given
//! rows that the next one gives again, with the same ids; readers that keep to them see each row once.
//!
//! The state in the journal is a JSON object: how many rows were given. A row's id is made of the sink, its number and its text.

use super::Access;
use super::producer::{Producer, ProducerSettings, Record};
use super::record::{event_id, key_of, with_id};
use super::source::Timing;
use crate::{ConnectError, Recovered, Sink};
use chalk_event::Epoch;
use serde::{Deserialize, Serialize};

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
    producer: Producer,
}

impl FluvioSink {
    /// A topic. Nothing is done before the sink recovers.
    #[must_use]
    pub fn new(settings: SinkSettings) -> Self {
        let SinkSettings { access, topic, compression, batch_bytes, timing, .. } = settings.clone();
        let producer = Producer::new(ProducerSettings { access, topic, compression, batch_bytes, timing });
        Self { settings, rows: 0, producer }
    }

    fn state(&self) -> Result<String, ConnectError> {
        let state = serde_json::to_string(&State { rows: self.rows });
        state.map_err(|error| ConnectError::State(error.to_string()))
    }

    fn record(&self, row: u64, line: &str) -> Record {
        let key = self.settings.key_field.as_ref().and_then(|field| key_of(line, field));
        let value = match self.settings.add_event_id {
            true => with_id(line, event_id(&self.settings.identity, row, line)),
            false => line.as_bytes().to_vec(),
        };
        Record::new(key, value)
    }
}

impl Sink for FluvioSink {
    fn recover(&mut self, committed: Option<&str>) -> Result<Recovered, ConnectError> {
        let state: Option<State> =
            committed.map(serde_json::from_str).transpose().map_err(|error| ConnectError::State(error.to_string()))?;
        self.producer.connect()?;
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
        let records: Vec<Record> = (self.rows..).zip(lines.lines()).map(|(row, line)| self.record(row, line)).collect();
        self.producer.produce(&records)?;
        self.rows += records.len() as u64;
        self.state()
    }

    fn commit(&mut self, _: Epoch) -> Result<(), ConnectError> {
        Ok(())
    }
}
