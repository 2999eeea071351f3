//! Rows by partition, each partition's in an order: what ranks and functions over ordered rows keep.

mod cold;

use crate::copies::Copies;
use crate::interner::Interner;
use crate::output::Output;
use crate::row_codec::{KeyCodec, RowCodec};
use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::SortField;
use chalk_event::ChangeBatch;
use chalk_graph::SortColumn;
use hashbrown::HashMap;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows by partition; partitions can leave memory.
#[derive(Debug)]
pub(crate) struct Partitions {
    // Configuration.
    output: Output,
    partition: KeyCodec,
    order: RowCodec,
    order_columns: Vec<usize>,
    rows: RowCodec,
    // State: by partition id, its rows in order.
    ids: Interner,
    ordered: Vec<Ordered>,
    /// Of all rows, about.
    row_bytes: usize,
    steps: u64,
    /// By partition id: the last step that touched it.
    touched_in: Vec<u64>,
    copies: Copies,
}

/// What a row takes beside its bytes, about: its entry in a tree, and an allocation.
const ROW_BYTES: usize = 64;

/// A row in its partition's order: the encoding of what it is sorted by, then that of all its columns. Neither can be the
/// prefix of another, so the bytes compare like the pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    bytes: Box<[u8]>,
    sort_len: usize,
}

/// Where a partition is cut off.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The first row that is not kept as it is.
    pub(crate) from: Place,
    /// That row, when only so many of its copies are kept.
    pub(crate) last: Option<(Place, i64)>,
}

/// Rows in their partition's order, with their weights.
pub(crate) type Ordered = BTreeMap<Place, i64>;

impl Borrow<[u8]> for Place {
    fn borrow(&self) -> &[u8] {
        &self.bytes
    }
}

impl Place {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// About so many bytes.
    fn memory(&self) -> usize {
        self.bytes.len() + ROW_BYTES
    }

    /// What it is sorted by.
    pub(crate) fn sort(&self) -> &[u8] {
        &self.bytes[..self.sort_len]
    }

    /// All its columns.
    pub(crate) fn row(&self) -> &[u8] {
        &self.bytes[self.sort_len..]
    }
}

impl Partitions {
    /// No rows as yet of an input with this schema.
    pub(crate) fn new(
        partition: &[usize],
        order: &[SortColumn],
        input: &SchemaRef,
        output: &Output,
    ) -> Result<Self, ArrowError> {
        let types: Vec<&DataType> = input.fields().iter().map(|field| field.data_type()).collect();
        let sort = order.iter().map(|by| {
            let options = SortOptions { descending: by.descending, nulls_first: by.nulls_first };
            SortField::new_with_options(types[by.column].clone(), options)
        });
        Ok(Self {
            output: output.clone(),
            partition: KeyCodec::new(partition, &types)?,
            order: RowCodec::sorted(sort.collect())?,
            order_columns: order.iter().map(|by| by.column).collect(),
            rows: RowCodec::new(types.iter().copied())?,
            ids: Interner::default(),
            ordered: Vec::new(),
            row_bytes: 0,
            steps: 0,
            touched_in: Vec::new(),
            copies: Copies::default(),
        })
    }

    /// A step's net changes: partitions in the order of their first row, and their rows in order.
    pub(crate) fn deltas(&mut self, input: &ChangeBatch) -> Result<Vec<(u32, Ordered)>, ArrowError> {
        let batch = input.rows();
        let partitions = self.partition.encode(batch)?;
        let order: Vec<ArrayRef> = self.order_columns.iter().map(|&column| Arc::clone(batch.column(column))).collect();
        let (sorts, rows) = (self.order.encode(&order)?, self.rows.encode(batch.columns())?);
        let mut deltas: Vec<(u32, Ordered)> = Vec::new();
        let mut delta_of: HashMap<u32, usize> = HashMap::new();
        for row in 0..input.len() {
            let partition = self.ids.intern(partitions.row(row));
            let delta = *delta_of.entry(partition).or_insert_with(|| {
                deltas.push((partition, Ordered::new()));
                deltas.len() - 1
            });
            let sort = sorts.row(row);
            let place = Place { bytes: [sort, rows.row(row)].concat().into_boxed_slice(), sort_len: sort.len() };
            *deltas[delta].1.entry(place).or_default() += input.weight(row);
        }
        self.reserve();
        self.steps += 1;
        for (partition, delta) in &mut deltas {
            self.touched_in[*partition as usize] = self.steps;
            delta.retain(|_, weight| *weight != 0);
        }
        Ok(deltas)
    }

    /// Makes room for all partition ids.
    fn reserve(&mut self) {
        let count = self.ids.len();
        self.ordered.resize_with(count, Ordered::new);
        self.touched_in.resize(count, 0);
        self.copies.reserve(count);
    }

    /// The rows of a partition.
    pub(crate) fn rows(&self, partition: u32) -> &Ordered {
        &self.ordered[partition as usize]
    }

    /// Columns of rows.
    pub(crate) fn decode<'a>(&'a self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows.decode(rows)
    }

    pub(crate) fn apply(&mut self, partition: u32, delta: &Ordered) {
        let ordered = &mut self.ordered[partition as usize];
        for (place, weight) in delta {
            match ordered.get_mut(place.bytes()) {
                None => {
                    self.row_bytes += place.memory();
                    ordered.insert(place.clone(), *weight);
                }
                Some(sum) => {
                    *sum += weight;
                    if *sum == 0 {
                        self.row_bytes -= place.memory();
                        ordered.remove(place.bytes());
                    }
                }
            }
        }
    }

    /// Lets go of the rows of a partition from a place on.
    pub(crate) fn truncate(&mut self, partition: u32, cut: &Cut) {
        let ordered = &mut self.ordered[partition as usize];
        let beyond = ordered.split_off(cut.from.bytes());
        self.row_bytes -= beyond.keys().map(Place::memory).sum::<usize>();
        if let Some((last, copies)) = &cut.last {
            self.row_bytes += last.memory();
            ordered.insert(last.clone(), *copies);
        }
    }

    /// How many distinct rows a partition has.
    #[cfg(test)]
    pub(crate) fn len(&self, partition: u32) -> usize {
        self.ordered[partition as usize].len()
    }

    /// Gives back the ids of partitions that have no row any longer; with `whole`, of all that a step has touched, with their rows.
    pub(crate) fn free(&mut self, deltas: &[(u32, Ordered)], whole: bool) {
        for (partition, _) in deltas {
            if whole {
                self.clear(*partition);
            }
            if self.ordered[*partition as usize].is_empty() {
                self.copies.released(*partition, &self.ids);
                self.ids.release(*partition);
            }
        }
    }

    fn clear(&mut self, partition: u32) {
        let rows = std::mem::take(&mut self.ordered[partition as usize]);
        self.row_bytes -= rows.keys().map(Place::memory).sum::<usize>();
    }

    /// Takes changes that came in back; gives the partitions that they are of.
    pub(crate) fn restore(&mut self, input: &ChangeBatch) -> Result<Vec<(u32, Ordered)>, ArrowError> {
        let deltas = self.deltas(input)?;
        for (partition, delta) in &deltas {
            self.apply(*partition, delta);
        }
        self.free(&deltas, false);
        Ok(deltas)
    }
}
