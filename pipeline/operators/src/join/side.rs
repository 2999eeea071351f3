//! One side of a join: its configuration, its rows by key, and one step's changes to them.

use super::bucket::Bucket;
use super::rows::Rows;
use crate::interner::Interner;
use crate::row_codec::{EncodedRows, KeyCodec, RowCodec};
use crate::row_hash::RowHasher;
use crate::state::put_i64;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use chalk_event::ChangeBatch;

/// Which rows of a side are given without a partner's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    /// None.
    Never,
    /// Those that have no partner: outer and anti joins.
    WithoutPartner,
    /// Those that have one, once each: semi joins.
    WithPartner,
}

impl Alone {
    /// Whether a row is given, by whether the other side has its key.
    pub(super) fn gives(self, has_partner: bool) -> bool {
        match self {
            Self::Never => false,
            Self::WithoutPartner => !has_partner,
            Self::WithPartner => has_partner,
        }
    }
}

/// One side of a join.
#[derive(Debug)]
pub(super) struct Side {
    // Configuration.
    pub(super) alone: Alone,
    key_columns: Vec<usize>,
    keys: KeyCodec,
    hasher: RowHasher,
    /// For rows that leave memory.
    codec: RowCodec,
    // State: by key id, the rows that have this key; and where they are.
    pub(super) state: Vec<Bucket>,
    rows: Rows,
}

/// The changes of one step to one side.
pub(super) struct Delta<'a> {
    pub(super) batch: &'a ChangeBatch,
    /// The key of each row; `None` when a part of it is NULL.
    pub(super) keys: Vec<Option<u32>>,
    hashes: Vec<u128>,
}

impl Side {
    /// A side whose input has this schema.
    pub(super) fn new(alone: Alone, key_columns: &[usize], schema: &SchemaRef) -> Result<Self, ArrowError> {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(Self {
            alone,
            key_columns: key_columns.to_vec(),
            keys: KeyCodec::new(key_columns, &types.iter().collect::<Vec<_>>())?,
            hasher: RowHasher::new(&types)?,
            codec: RowCodec::new(&types)?,
            state: Vec::new(),
            rows: Rows::new(types),
        })
    }

    /// Encodes a step's changes.
    pub(super) fn delta<'a>(&self, batch: &'a ChangeBatch, interner: &mut Interner) -> Result<Delta<'a>, ArrowError> {
        let encoded = self.keys.encode(batch.rows())?;
        let nulls = self.null_keys(batch.rows());
        let key = |row| match &nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(interner.intern(encoded.row(row))),
        };
        let keys = (0..batch.len()).map(key).collect();
        Ok(Delta { batch, keys, hashes: self.hasher.hash(batch.rows().columns(), batch.len())? })
    }

    /// The key of each row as far as one of a step's rows or of the kept ones had it before.
    pub(super) fn known(&self, rows: &RecordBatch, interner: &Interner) -> Result<Vec<Option<u32>>, ArrowError> {
        let encoded = self.keys.encode(rows)?;
        let nulls = self.null_keys(rows);
        let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        Ok((0..rows.num_rows()).map(|row| (!is_null(row)).then(|| interner.find(encoded.row(row))).flatten()).collect())
    }

    fn null_keys(&self, rows: &RecordBatch) -> Option<NullBuffer> {
        let nulls = self.key_columns.iter().fold(None, |nulls: Option<NullBuffer>, &column| {
            NullBuffer::union(nulls.as_ref(), rows.column(column).logical_nulls().as_ref())
        });
        nulls.filter(|nulls| nulls.null_count() > 0)
    }

    /// Applies a step's changes; rows with NULL keys are not kept.
    pub(super) fn apply(&mut self, delta: &Delta<'_>) -> Result<(), ArrowError> {
        if delta.batch.is_empty() {
            return Ok(());
        }
        let chunk = self.rows.begin(delta.batch.rows().columns(), delta.batch.len());
        for ((row, key), &hash) in delta.keys.iter().enumerate().zip(&delta.hashes) {
            if let Some(key) = key {
                self.state[*key as usize].add(hash, delta.batch.weight(row), &mut self.rows, chunk, row);
            }
        }
        self.rows.settle(chunk)
    }

    /// Whether there is a row with this key.
    pub(super) fn has(&self, key: u32) -> bool {
        !self.state[key as usize].is_empty()
    }

    /// Columns of kept rows, by their slots.
    pub(super) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows.columns(slots)
    }

    /// The keys of rows.
    pub(super) fn encode_keys(&self, batch: &ChangeBatch) -> Result<EncodedRows, ArrowError> {
        self.keys.encode(batch.rows())
    }

    /// Appends to each key's bytes the rows of that key: how many (8 bytes), and of each its weight (8), its length (8), its bytes.
    pub(super) fn encode(&self, keys: &[u32], states: &mut [Vec<u8>]) -> Result<(), ArrowError> {
        let slots: Vec<u32> =
            keys.iter().flat_map(|&key| self.state[key as usize].iter()).map(|(slot, _)| slot).collect();
        let encoded = self.codec.encode(&self.rows.columns(&slots)?)?;
        let mut row = 0;
        for (&key, state) in keys.iter().zip(states) {
            let bucket = &self.state[key as usize];
            put_i64(state, bucket.iter().count() as i64);
            for (_, weight) in bucket.iter() {
                let bytes = encoded.row(row);
                put_i64(state, weight);
                put_i64(state, bytes.len() as i64);
                state.extend_from_slice(bytes);
                row += 1;
            }
        }
        Ok(())
    }

    /// Takes rows back: key, weight, bytes.
    pub(super) fn bring_back(&mut self, rows: &[(u32, i64, &[u8])]) -> Result<(), ArrowError> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.codec.decode(rows.iter().map(|(_, _, bytes)| *bytes))?;
        let hashes = self.hasher.hash(&columns, rows.len())?;
        let chunk = self.rows.begin(&columns, rows.len());
        for ((row, &(key, weight, _)), hash) in rows.iter().enumerate().zip(hashes) {
            self.state[key as usize].add(hash, weight, &mut self.rows, chunk, row);
        }
        self.rows.settle(chunk)
    }

    /// Lets go of the rows of a key; [`Side::tidy`] gives back their memory.
    pub(super) fn forget(&mut self, key: u32) {
        self.state[key as usize].clear(&mut self.rows);
    }

    /// Gives back the memory of rows that were let go.
    pub(super) fn tidy(&mut self) {
        // What cannot be put together anew stays as it is.
        let _ = self.rows.tidy();
    }

    /// About so many bytes, with `keys` keys.
    pub(super) fn memory(&self, keys: usize) -> usize {
        keys * size_of::<Bucket>() + self.rows.memory()
    }

    /// This side's columns where it has no row.
    pub(super) fn nulls(&self, count: usize) -> Vec<ArrayRef> {
        self.rows.types().iter().map(|data_type| new_null_array(data_type, count)).collect()
    }
}

impl Delta<'_> {
    /// Columns of some of the changed rows.
    pub(super) fn take(&self, rows: &UInt32Array) -> Result<Vec<ArrayRef>, ArrowError> {
        if rows.len() == self.batch.len() && rows.values().iter().zip(0..).all(|(row, index)| *row == index) {
            return Ok(self.batch.rows().columns().to_vec());
        }
        self.batch.rows().columns().iter().map(|column| take(column, rows, None)).collect()
    }

    /// The distinct keys of the changed rows, in order.
    pub(super) fn distinct_keys(&self) -> Vec<u32> {
        let mut keys: Vec<u32> = self.keys.iter().flatten().copied().collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}
