//! Rows to a Parquet file and back.

use super::super::index::FrameToRead;
use super::super::lanes::LaneKey;
use super::manifest::{HistoryFile, HistoryPartition};
use crate::contract::LogError;
use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, TimestampNanosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};
use bytes::Bytes;
use chalk_catalog::{SchemaId, TopicDef, TopicId, TopicSchema};
use chalk_event::{CommitSeq, IngestTime, Offset, PartitionId, Provenance};
use chalk_store::objects::Objects;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{RowGroupMetaData, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows of a row group at most: what is decoded to read one of them.
const GROUP_ROWS_MAX: usize = 64 << 10;

const COMMIT_TIME: &str = "_commit_time";
const FRAME: &str = "_frame";
const SCHEMA: &str = "_schema";

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// The columns of a file.
fn columns_of(schema: &TopicSchema) -> SchemaRef {
    let stored = schema.arrow().fields().iter().map(|field| match field.data_type() {
        DataType::Timestamp(..) => field.as_ref().clone().with_data_type(utc()),
        _ => field.as_ref().clone(),
    });
    let place = [Provenance::Partition, Provenance::Offset, Provenance::CommitSeq].map(Provenance::field);
    let rest = [
        Field::new(COMMIT_TIME, utc(), false),
        Field::new(FRAME, DataType::Int32, false),
        Field::new(SCHEMA, DataType::Int32, false),
    ];
    Arc::new(Schema::new(stored.chain(place).chain(rest).collect::<Vec<_>>()))
}

/// Stored timestamps are instants: the files say so, the log's columns need not.
fn with_zone(column: &ArrayRef, zone: Option<&str>) -> ArrayRef {
    match column.as_primitive_opt::<TimestampNanosecondType>() {
        Some(times) => Arc::new(times.clone().with_timezone_opt(zone)),
        None => Arc::clone(column),
    }
}

fn properties(schema: &TopicSchema, columns: &Schema) -> WriterProperties {
    let level = ZstdLevel::try_new(3).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("chalk {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX));
    for name in [Provenance::Offset.column(), Provenance::CommitSeq.column(), COMMIT_TIME] {
        let path = || ColumnPath::from(name);
        properties = properties.set_column_dictionary_enabled(path(), false);
        properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
    }
    // Every row has another value: a dictionary would be begun in vain.
    for name in [EVENT_ID, TopicSchema::CONTENT] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    let keys = schema.records.iter().flat_map(|record| &record.key).map(|&column| schema.columns[column].name.as_str());
    let looked_up: BTreeSet<&str> = keys.chain(schema.column_index(EVENT_ID).map(|_| EVENT_ID)).collect();
    for name in looked_up {
        properties = properties.set_column_bloom_filter_enabled(ColumnPath::from(name), true);
    }
    let sorted_by = [Provenance::CommitSeq, Provenance::Partition, Provenance::Offset].map(|kind| {
        let column_idx = columns.index_of(kind.column()).unwrap_or_default() as i32;
        SortingColumn { column_idx, descending: false, nulls_first: false }
    });
    properties.set_sorting_columns(Some(sorted_by.to_vec())).build()
}

/// The envelope's column with an event's identity.
const EVENT_ID: &str = "event_id";

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn cannot_encode<E: ToString>(error: E) -> LogError {
    LogError::Batch { operation: "encode", message: error.to_string() }
}

/// A file that is being made.
pub(super) struct FileWriter {
    columns: SchemaRef,
    stored: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    file: HistoryFile,
    partitions: BTreeMap<PartitionId, HistoryPartition>,
}

impl FileWriter {
    pub(super) fn new(
        key: String,
        topic: &TopicDef,
        (schema_id, schema): (SchemaId, &TopicSchema),
        day: String,
    ) -> Result<Self, LogError> {
        let columns = columns_of(schema);
        let properties = properties(schema, &columns);
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&columns), Some(properties));
        let file = HistoryFile {
            key,
            topic: topic.name().to_owned(),
            topic_id: topic.id,
            schema: schema_id,
            day,
            rows: 0,
            bytes: 0,
            crc32c: 0,
            log_bytes: 0,
            commits: (CommitSeq(0), CommitSeq(0)),
            commit_times: (0, 0),
            event_times: None,
            partitions: Vec::new(),
        };
        let (stored, partitions) = (Arc::clone(schema.arrow()), BTreeMap::new());
        Ok(Self { columns, stored, writer: writer.map_err(cannot_encode)?, file, partitions })
    }

    /// Adds frames, which must be in the log's order and of the file's schema.
    pub(super) fn push(&mut self, frames: &[(FrameToRead, RecordBatch)]) -> Result<(), LogError> {
        let rows = concat_batches(&self.stored, frames.iter().map(|(_, rows)| rows)).map_err(cannot_encode)?;
        for (place, rows) in frames.iter().filter(|(_, rows)| rows.num_rows() > 0) {
            self.count(place, rows.num_rows() as u64);
        }
        let each = || frames.iter().flat_map(|(place, rows)| (0..rows.num_rows()).map(move |row| (place, row)));
        let long = |of: fn(&FrameToRead, usize) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(each().map(|(place, row)| of(place, row))))
        };
        let times = TimestampNanosecondArray::from_iter_values(each().map(|(place, _)| place.time.0));
        let mut columns: Vec<ArrayRef> = rows.columns().iter().map(|column| with_zone(column, Some("UTC"))).collect();
        columns.extend([
            long(|place, _| i64::from(place.partition.0)),
            long(|place, row| (place.base_offset.0 + row as u64) as i64),
            long(|place, _| place.commit.0 as i64),
            Arc::new(times.with_timezone("UTC")),
            Arc::new(Int32Array::from_iter_values(each().map(|(place, _)| place.number as i32))),
            Arc::new(Int32Array::from(vec![self.file.schema.0 as i32; rows.num_rows()])),
        ]);
        let batch = RecordBatch::try_new(Arc::clone(&self.columns), columns).map_err(cannot_encode)?;
        self.writer.write(&batch).map_err(cannot_encode)
    }

    fn count(&mut self, place: &FrameToRead, rows: u64) {
        let tail = Offset(place.base_offset.0 + rows);
        let new = HistoryPartition { partition: place.partition, first: place.base_offset, tail };
        let known = self.partitions.entry(place.partition).or_insert(new);
        (known.first, known.tail) = (known.first.min(new.first), known.tail.max(tail));
        if self.file.rows == 0 {
            (self.file.commits.0, self.file.commit_times.0) = (place.commit, place.time.0);
        }
        (self.file.commits.1, self.file.commit_times.1) = (place.commit, place.time.0);
        self.file.rows += rows;
        self.file.log_bytes += u64::from(place.body_bytes);
    }

    /// The file and what the manifest says of it; `None` when it has no rows.
    pub(super) fn finish(mut self, event_times: Option<(i64, i64)>) -> Result<Option<(HistoryFile, Bytes)>, LogError> {
        if self.file.rows == 0 {
            return Ok(None);
        }
        let bytes = Bytes::from(self.writer.into_inner().map_err(cannot_encode)?);
        (self.file.bytes, self.file.crc32c) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        self.file.event_times = event_times;
        self.file.partitions = self.partitions.into_values().collect();
        Ok(Some((self.file, bytes)))
    }
}

/// A file in memory, with what its footer says of its row groups.
#[derive(Debug)]
pub(super) struct LoadedFile {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    pub(super) groups: Vec<Group>,
}

/// What stands in a row group. Ranges include both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) rows: u64,
    pub(super) commits: (CommitSeq, CommitSeq),
    partitions: (i64, i64),
    offset_max: i64,
}

impl Group {
    /// Whether it can have offsets of a partition from one on.
    pub(super) fn can_have(&self, partition: PartitionId, from: Offset) -> bool {
        (self.partitions.0..=self.partitions.1).contains(&i64::from(partition.0)) && self.offset_max >= from.0 as i64
    }
}

/// Rows of a file with their places.
#[derive(Debug)]
pub(super) struct PlacedRows {
    /// In the schema that they were written in.
    pub(super) rows: RecordBatch,
    partitions: Int64Array,
    offsets: Int64Array,
    commits: Int64Array,
    times: TimestampNanosecondArray,
    frames: Int32Array,
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowPlace {
    pub(super) commit: CommitSeq,
    pub(super) time: IngestTime,
    pub(super) partition: PartitionId,
    pub(super) offset: Offset,
    /// The number of its frame in the commit.
    pub(super) frame: u32,
}

impl PlacedRows {
    pub(super) fn place(&self, row: usize) -> RowPlace {
        RowPlace {
            commit: CommitSeq(self.commits.value(row) as u64),
            time: IngestTime(self.times.value(row)),
            partition: PartitionId(self.partitions.value(row) as u16),
            offset: Offset(self.offsets.value(row) as u64),
            frame: self.frames.value(row) as u32,
        }
    }
}

impl LoadedFile {
    /// Reads a file, and checks it against its checksum.
    pub(super) fn get(objects: &dyn Objects, file: &HistoryFile) -> Result<Self, LogError> {
        let bytes = objects.get(&file.key)?.ok_or_else(|| file.damaged("it is missing"))?;
        if bytes.len() as u64 != file.bytes || crc32c::crc32c(&bytes) != file.crc32c {
            return Err(file.damaged("its checksum does not match"));
        }
        let damaged = |error: parquet::errors::ParquetError| file.damaged(error.to_string());
        let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).map_err(damaged)?;
        let groups = metadata.metadata().row_groups().iter().map(|group| Group::of(group, metadata.schema()));
        let groups: Option<Vec<Group>> = groups.collect();
        let groups = groups.ok_or_else(|| file.damaged("it has no statistics"))?;
        Ok(Self { bytes, metadata, groups })
    }

    /// About how much memory it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.metadata.metadata().memory_size()
    }

    /// The rows of some of its row groups, which were written in `schema`.
    pub(super) fn rows(
        &self,
        file: &HistoryFile,
        groups: Vec<usize>,
        schema: &TopicSchema,
    ) -> Result<PlacedRows, LogError> {
        let batch = self.decode(file, groups, None)?;
        let stored = schema.arrow();
        let (columns, places) = batch.columns().split_at_checked(stored.fields().len()).unwrap_or_default();
        let [partitions, offsets, commits, times, frames, _] = places else {
            return Err(file.damaged("it does not have the columns of its schema"));
        };
        let columns = columns.iter().map(|column| with_zone(column, None)).collect();
        let rows =
            RecordBatch::try_new(Arc::clone(stored), columns).map_err(|error| file.damaged(error.to_string()))?;
        let of_another_type = || file.damaged("its columns are of other types");
        let long = |column: &ArrayRef| column.as_primitive_opt::<Int64Type>().cloned().ok_or_else(of_another_type);
        Ok(PlacedRows {
            rows,
            partitions: long(partitions)?,
            offsets: long(offsets)?,
            commits: long(commits)?,
            times: times.as_primitive_opt::<TimestampNanosecondType>().cloned().ok_or_else(of_another_type)?,
            frames: frames.as_primitive_opt::<Int32Type>().cloned().ok_or_else(of_another_type)?,
        })
    }

    /// The first commit made at `time` or later that it has rows of.
    pub(super) fn commit_at(&self, file: &HistoryFile, time: IngestTime) -> Result<Option<CommitSeq>, LogError> {
        let batch =
            self.decode(file, (0..self.groups.len()).collect(), Some(&[Provenance::CommitSeq.column(), COMMIT_TIME]))?;
        let commits = batch.columns().first().and_then(|column| column.as_primitive_opt::<Int64Type>());
        let times = batch.columns().get(1).and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
        let (commits, times) = commits.zip(times).ok_or_else(|| file.damaged("its columns are of other types"))?;
        let before = times.values().partition_point(|&made| made < time.0);
        Ok((before < times.len()).then(|| CommitSeq(commits.value(before) as u64)))
    }

    fn decode(&self, file: &HistoryFile, groups: Vec<usize>, names: Option<&[&str]>) -> Result<RecordBatch, LogError> {
        let damaged = |error: &dyn ToString| file.damaged(error.to_string());
        let count: u64 = groups.iter().map(|&group| self.groups[group].rows).sum();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone());
        let mask = match names {
            Some(names) => ProjectionMask::columns(reader.parquet_schema(), names.iter().copied()),
            None => ProjectionMask::all(),
        };
        let reader = reader.with_projection(mask).with_row_groups(groups).with_batch_size(count.max(1) as usize);
        let reader = reader.build().map_err(|error| damaged(&error))?;
        let schema = arrow::array::RecordBatchReader::schema(&reader);
        let mut batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| damaged(&error))?;
        match batches.len() {
            1 => Ok(batches.remove(0)),
            _ => concat_batches(&schema, &batches).map_err(|error| damaged(&error)),
        }
    }

    /// Checks the rows against what the manifest says.
    pub(super) fn verify(&self, file: &HistoryFile, schema: &TopicSchema) -> Result<(), LogError> {
        let (mut rows, mut last) = (0, None);
        let mut tails: BTreeMap<LaneKey, HistoryPartition> = BTreeMap::new();
        for group in 0..self.groups.len() {
            let placed = self.rows(file, vec![group], schema)?;
            for row in 0..placed.rows.num_rows() {
                let place = placed.place(row);
                let order = (place.commit, place.partition, place.offset);
                if last.is_some_and(|last| last >= order) {
                    let (commit, partition, offset) = order;
                    return Err(file.damaged(format!(
                        "commit {commit}, partition {partition}, offset {offset} is not where it should be"
                    )));
                }
                last = Some(order);
                let tail = Offset(place.offset.0 + 1);
                let new = HistoryPartition { partition: place.partition, first: place.offset, tail };
                tails.entry((TopicId(0), place.partition)).or_insert(new).tail = tail;
            }
            rows += placed.rows.num_rows() as u64;
        }
        if rows != file.rows || !tails.values().eq(&file.partitions) {
            return Err(file.damaged("it has other rows than the manifest says"));
        }
        Ok(())
    }
}

impl Group {
    /// `None` when the footer does not say.
    fn of(group: &RowGroupMetaData, columns: &Schema) -> Option<Self> {
        let range = |kind: Provenance| {
            let column = columns.index_of(kind.column()).ok()?;
            match group.column(column).statistics()? {
                Statistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
                _ => None,
            }
        };
        let commits = range(Provenance::CommitSeq)?;
        Some(Self {
            rows: group.num_rows() as u64,
            commits: (CommitSeq(commits.0 as u64), CommitSeq(commits.1 as u64)),
            partitions: range(Provenance::Partition)?,
            offset_max: range(Provenance::Offset)?.1,
        })
    }
}
