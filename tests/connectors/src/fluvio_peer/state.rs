//! What the cluster has, and what it is told to do.

use bytes::Bytes;
use fluvio_protocol::record::{Batch, MemoryRecords, RawRecords, Record, RecordData};
use fluvio_protocol::{Decoder, Encoder};
use std::collections::{BTreeMap, VecDeque};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What becomes of a request to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceFault {
    /// It is refused: the partition's storage is full.
    Refused,
    /// Its records are appended, and the connection ends before the answer.
    AppendedUnanswered,
    /// The connection ends.
    Dropped,
}

/// What the cluster has.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Vec<Partition>>,
    /// Where the SPU listens; 0 while it is away.
    pub(super) spu_port: u16,
    /// Counts the SPU's lives.
    pub(super) generation: u64,
    pub(super) connections: Vec<TcpStream>,
    pub(super) held: bool,
    pub(super) produce_faults: VecDeque<ProduceFault>,
    pub(super) sent_bytes: u64,
    pub(super) streams: u64,
    /// How far consumers are, by stream.
    pub(super) acknowledged: BTreeMap<u32, i64>,
    pub(super) ended: bool,
    /// Counts changes.
    pub(super) version: u64,
}

/// The state, and a way to wait for its changes.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.version += 1;
        let changed = change(&mut state);
        self.changed.notify_all();
        changed
    }

    pub(super) fn wait(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state();
        self.changed.wait_while(state, |state| !is_so(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch as it is in the log and on the wire.
#[derive(Clone, Debug)]
struct Stored {
    base: i64,
    records: i64,
    bytes: Bytes,
}

/// A partition's log.
#[derive(Debug, Default)]
pub(super) struct Partition {
    batches: Vec<Stored>,
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Partition {
    /// Appends a batch, and says its first offset.
    pub(super) fn append(&mut self, mut batch: Batch<RawRecords>) -> i64 {
        let (base, records) = (self.end, batch.records_len() as i64);
        batch.set_base_offset(base);
        let mut bytes = Vec::new();
        batch.encode(&mut bytes, 0).expect("a batch can be written to memory");
        self.batches.push(Stored { base, records, bytes: bytes.into() });
        self.end += records;
        base
    }

    pub(super) fn append_records(&mut self, values: &[Vec<u8>]) {
        let records: MemoryRecords = values.iter().map(|value| Record::new(RecordData::from(value.clone()))).collect();
        self.append(Batch::from(records).try_into().expect("nothing is compressed"));
    }

    /// The bytes from the batch that has an offset on, at most so many: the last batch can be cut.
    pub(super) fn slice(&self, offset: i64, bytes_max: usize) -> Bytes {
        let mut slice = Vec::new();
        for batch in self.batches.iter().skip_while(|batch| batch.base + batch.records <= offset) {
            let left = bytes_max - slice.len();
            slice.extend_from_slice(&batch.bytes[..left.min(batch.bytes.len())]);
            if slice.len() == bytes_max {
                break;
            }
        }
        slice.into()
    }

    pub(super) fn trim(&mut self, offset: i64) {
        self.batches.retain(|batch| batch.base + batch.records > offset);
        self.start = self.batches.first().map_or(self.end, |batch| batch.base);
    }

    pub(super) fn lose(&mut self, offset: i64) {
        self.batches.retain(|batch| !(batch.base..batch.base + batch.records).contains(&offset));
    }

    pub(super) fn records(&self) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
        let decoded = self.decoded().map(|batch| batch.memory_records().expect("records as they were sent"));
        let pair = |record: Record| (record.key.map(|key| key.to_vec()), record.value.to_vec());
        decoded.flatten().map(pair).collect()
    }

    pub(super) fn batches(&self) -> (usize, usize) {
        let is_compressed = |batch: &Batch<RawRecords>| batch.get_header().attributes & 7 != 0;
        let compressed = self.decoded().filter(is_compressed).count();
        (compressed, self.batches.iter().map(|batch| batch.bytes.len()).max().unwrap_or(0))
    }

    fn decoded(&self) -> impl Iterator<Item = Batch<RawRecords>> {
        self.batches
            .iter()
            .map(|stored| Batch::decode_from(&mut stored.bytes.clone(), 0).expect("a batch as it was stored"))
    }
}
