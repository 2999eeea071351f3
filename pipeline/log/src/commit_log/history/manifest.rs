//! What counts of a history's files, format 1: two lines of text, a JSON object ([`Manifest`]) and the CRC32C of that line, 8 hexadecimal
//! digits.

use super::super::lanes::LaneKey;
use super::MANIFEST;
use crate::contract::LogError;
use bytes::Bytes;
use chalk_catalog::{SchemaId, TopicId};
use chalk_event::{CommitSeq, EventTime, IngestTime, Offset, PartitionId};
use chalk_store::objects::Objects;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: u16 = 1;

/// The offsets of a partition that a file has: all from `first` to before `tail`, but for those that stand in a file of another schema or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset.
    pub first: Offset,
    /// The offset after the last.
    pub tail: Offset,
}

/// A file of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFile {
    /// Its key in the object store.
    pub key: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's number.
    pub topic_id: TopicId,
    /// The schema that its rows were written in.
    pub schema: SchemaId,
    /// The UTC day of its commits, such as `2025-09-01`.
    pub day: String,
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// Its CRC32C.
    pub crc32c: u32,
    /// What the frames of its rows take in the log, encoded.
    pub log_bytes: u64,
    /// The first and the last commit with rows in it.
    pub commits: (CommitSeq, CommitSeq),
    /// When these were made, in nanoseconds UTC.
    pub commit_times: (i64, i64),
    /// The least and greatest event time of the topic's rows in the segment, in nanoseconds UTC.
    pub event_times: Option<(EventTimeNanos, EventTimeNanos)>,
    /// Its partitions, by number.
    pub partitions: Vec<HistoryPartition>,
}

type EventTimeNanos = i64;

impl HistoryFile {
    pub(super) fn damaged(&self, what: impl Into<String>) -> LogError {
        LogError::Damaged { file: self.key.clone(), commit: self.commits.0, position: 0, what: what.into() }
    }
}

/// Nanoseconds of a range of event times.
pub(super) fn nanos((least, greatest): (EventTime, EventTime)) -> (i64, i64) {
    (least.0, greatest.0)
}

/// A segment that was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) first: CommitSeq,
    pub(super) last: CommitSeq,
    /// When these were made.
    #[serde(with = "nanos_of_times")]
    pub(super) times: (IngestTime, IngestTime),
    pub(super) files: Vec<HistoryFile>,
}

mod nanos_of_times {
    use chalk_event::IngestTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(times: &(IngestTime, IngestTime), serializer: S) -> Result<S::Ok, S::Error> {
        (times.0.0, times.1.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(IngestTime, IngestTime), D::Error> {
        <(i64, i64)>::deserialize(deserializer).map(|(first, last)| (IngestTime(first), IngestTime(last)))
    }
}

/// What counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u16,
    /// Those that were exported, without a gap between them.
    pub(super) segments: Vec<Entry>,
    /// By topic, the last commit whose rows may have been let go of.
    pub(super) expired: BTreeMap<TopicId, CommitSeq>,
}

impl Manifest {
    /// Of nothing.
    pub(super) fn empty() -> Self {
        Self { format: FORMAT, segments: Vec::new(), expired: BTreeMap::new() }
    }

    pub(super) fn read(objects: &dyn Objects) -> Result<Self, LogError> {
        objects.get(MANIFEST)?.map_or_else(|| Ok(Self::empty()), |bytes| Self::decode(&bytes, &objects.location()))
    }

    pub(super) fn encode(&self) -> Result<Bytes, LogError> {
        let json = serde_json::to_string(self);
        let json = json.map_err(|error| LogError::Batch { operation: "encode", message: error.to_string() })?;
        Ok(Bytes::from(format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()))))
    }

    fn decode(bytes: &[u8], location: &str) -> Result<Self, LogError> {
        let file = || format!("{location}/{MANIFEST}");
        let damaged = |what: &str| LogError::Damaged {
            file: file(),
            commit: CommitSeq(0),
            position: 0,
            what: format!(
                "{what}\n  hint: it has to come from a copy; where the log still has every segment, a history can also begin anew at an empty place"
            ),
        };
        let lines = str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n')?.split_once('\n'));
        let (json, crc) = lines.ok_or_else(|| damaged("it is cut off"))?;
        if crc != format!("{:08x}", crc32c::crc32c(json.as_bytes())) {
            return Err(damaged("its checksum does not match"));
        }
        #[derive(Deserialize)]
        struct Format {
            format: u16,
        }
        let Format { format } = serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        if format > FORMAT {
            return Err(LogError::NewerFormat { file: file(), found: format, known: FORMAT });
        }
        serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))
    }

    /// The first commit that it is of; the first of all when it has none.
    pub(super) fn first(&self) -> CommitSeq {
        self.segments.first().map_or(CommitSeq(1), |entry| entry.first)
    }

    /// The last commit that it is of.
    pub(super) fn upto(&self) -> CommitSeq {
        self.segments.last().map_or(CommitSeq(0), |entry| entry.last)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &HistoryFile> + Clone {
        self.segments.iter().flat_map(|entry| &entry.files)
    }

    /// The offsets that files have of a partition, in order.
    pub(super) fn ranges(&self, (topic, partition): LaneKey) -> impl Iterator<Item = (Offset, Offset)> {
        self.files().filter(move |file| file.topic_id == topic).filter_map(move |file| {
            let found = file.partitions.iter().find(|found| found.partition == partition)?;
            Some((found.first, found.tail))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let file = HistoryFile {
            key: "topic=marks/day=2025-09-01/00000000000000000001-16.parquet".to_owned(),
            topic: "marks".to_owned(),
            topic_id: TopicId(16),
            schema: SchemaId(16),
            day: "2025-09-01".to_owned(),
            rows: 3,
            bytes: 1000,
            crc32c: 7,
            log_bytes: 2000,
            commits: (CommitSeq(2), CommitSeq(4)),
            commit_times: (1, 2),
            event_times: Some((-1, 5)),
            partitions: vec![HistoryPartition { partition: PartitionId(1), first: Offset(0), tail: Offset(3) }],
        };
        let times = (IngestTime(1), IngestTime(3));
        let entry = Entry { first: CommitSeq(1), last: CommitSeq(5), times, files: vec![file] };
        Manifest { segments: vec![entry], expired: BTreeMap::from([(TopicId(2), CommitSeq(4))]), ..Manifest::empty() }
    }

    #[test]
    fn manifests_come_back_and_every_flipped_bit_is_noticed() {
        let bytes = manifest().encode().expect("text");
        assert_eq!(Manifest::decode(&bytes, "x").expect("a manifest"), manifest());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped, "x").is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_refused() {
        let newer = Manifest { format: FORMAT + 1, ..manifest() }.encode().expect("text");
        let error = Manifest::decode(&newer, "x").expect_err("a newer format").to_string();
        assert_eq!(error, "x/manifest has format 2, this build reads 1: use a newer chalk");
    }
}
