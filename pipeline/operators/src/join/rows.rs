//! Rows as the columns that they came in, each found by a number of its own.
//!
//! A step's batch becomes a chunk as it is: nothing is copied. A slot is a row's number for as long as it is kept, wherever its
//! chunk is merged to: small chunks are merged once there are many of them, unless their rows are wide, and a chunk whose rows are mostly gone is written
//! anew, so that memory and the number of chunks stay in proportion to the rows that are kept.
//!
//! ```text
//! slot    0  1  2  3
//!         │  │  │  └──────────┐
//!         ▼  ▼  ▼             ▼
//! chunk 0 a  b  c     chunk 1 d  ·     (the row at · was never kept, or is gone)
//! ```

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, UInt32Array, new_empty_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::collections::HashMap;
use std::sync::Arc;

/// A chunk with fewer rows, and fewer bytes, is merged with others: wide rows are not worth copying for the sake of fewer chunks.
const SMALL_ROWS: usize = 1024;
const SMALL_BYTES: usize = 128 << 10;
/// So many small chunks are left alone.
const SMALL_CHUNKS_MAX: usize = 16;
/// Texts may hold so many times the bytes that they use, and this much more.
const TEXT_HELD_MAX: usize = 4;
const TEXT_HELD_FREE: usize = 64 << 10;
/// Nobody owns the row.
const NOBODY: u32 = u32::MAX;

/// Kept rows of one schema.
#[derive(Debug)]
pub(super) struct Rows {
    // Configuration.
    types: Vec<DataType>,
    // State.
    chunks: Vec<Chunk>,
    free_chunks: Vec<u32>,
    /// By slot.
    places: Vec<Place>,
    free_slots: Vec<u32>,
    small: Vec<u32>,
    /// Chunks that lost rows since the last [`Rows::tidy`].
    touched: Vec<u32>,
    /// Of all chunks' columns, about.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Chunk {
    columns: Vec<ArrayRef>,
    /// The slot of each row.
    owners: Vec<u32>,
    live: usize,
    /// Of its columns, about.
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    chunk: u32,
    row: u32,
}

impl Chunk {
    fn is_small(&self) -> bool {
        self.owners.len() < SMALL_ROWS && self.bytes < SMALL_BYTES
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("memory ends before row numbers do")
}

impl Rows {
    pub(super) fn new(types: Vec<DataType>) -> Self {
        Self {
            types,
            chunks: Vec::new(),
            free_chunks: Vec::new(),
            places: Vec::new(),
            free_slots: Vec::new(),
            small: Vec::new(),
            touched: Vec::new(),
            bytes: 0,
        }
    }

    /// The columns' types.
    pub(super) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Takes columns of `count` rows, none of which is kept as yet; gives the chunk.
    pub(super) fn begin(&mut self, columns: &[ArrayRef], count: usize) -> u32 {
        self.add(Chunk { columns: columns.to_vec(), owners: vec![NOBODY; count], live: 0, bytes: 0 })
    }

    fn add(&mut self, chunk: Chunk) -> u32 {
        match self.free_chunks.pop() {
            Some(id) => {
                self.chunks[id as usize] = chunk;
                id
            }
            None => {
                self.chunks.push(chunk);
                number(self.chunks.len() - 1)
            }
        }
    }

    /// Keeps a row of a chunk; gives its slot.
    pub(super) fn keep(&mut self, chunk: u32, row: usize) -> u32 {
        let place = Place { chunk, row: number(row) };
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.places[slot as usize] = place;
                slot
            }
            None => {
                self.places.push(place);
                number(self.places.len() - 1)
            }
        };
        let chunk = &mut self.chunks[chunk as usize];
        chunk.owners[row] = slot;
        chunk.live += 1;
        slot
    }

    /// The row of a slot is not needed any longer.
    pub(super) fn release(&mut self, slot: u32) {
        let Place { chunk, row } = self.places[slot as usize];
        self.free_slots.push(slot);
        let lost = &mut self.chunks[chunk as usize];
        lost.owners[row as usize] = NOBODY;
        lost.live -= 1;
        if self.touched.last() != Some(&chunk) {
            self.touched.push(chunk);
        }
    }

    /// Ends what began with `new`: gives back what is not needed, and keeps chunks few.
    pub(super) fn settle(&mut self, new: u32) -> Result<(), ArrowError> {
        self.settle_new(new);
        self.tidy()
    }

    fn settle_new(&mut self, new: u32) {
        let chunk = &mut self.chunks[new as usize];
        if chunk.live > 0 {
            chunk.columns.iter_mut().for_each(let_go);
            chunk.bytes = chunk.columns.iter().map(bytes_of).sum();
            self.bytes += chunk.bytes;
        }
        if chunk.is_small() {
            self.small.push(new);
        }
        self.touched.push(new);
    }

    /// Gives back what is not needed since rows were released.
    pub(super) fn tidy(&mut self) -> Result<(), ArrowError> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            let chunk = &self.chunks[id as usize];
            if chunk.live == 0 {
                self.remove(id);
            } else if chunk.live * 2 < chunk.owners.len() {
                self.rewrite(&[id])?;
            }
        }
        if self.small.len() > SMALL_CHUNKS_MAX {
            let small = self.small.clone();
            self.rewrite(&small)?;
        }
        Ok(())
    }

    fn remove(&mut self, id: u32) {
        self.bytes -= std::mem::take(&mut self.chunks[id as usize]).bytes;
        self.free_chunks.push(id);
        self.small.retain(|&small| small != id);
    }

    /// Puts the rows of some chunks that are kept into a new one.
    fn rewrite(&mut self, ids: &[u32]) -> Result<(), ArrowError> {
        let (mut places, mut owners) = (Vec::new(), Vec::new());
        for &id in ids {
            for (row, &owner) in self.chunks[id as usize].owners.iter().enumerate() {
                if owner != NOBODY {
                    places.push(Place { chunk: id, row: number(row) });
                    owners.push(owner);
                }
            }
        }
        let mut columns = self.gather(&places)?;
        for column in &mut columns {
            if let Some(texts) = column.as_string_view_opt() {
                *column = Arc::new(texts.gc());
            }
        }
        ids.iter().for_each(|&id| self.remove(id));
        let live = owners.len();
        let bytes = columns.iter().map(bytes_of).sum();
        self.bytes += bytes;
        let chunk = Chunk { columns, owners, live, bytes };
        let is_small = chunk.is_small();
        let id = self.add(chunk);
        for (row, &owner) in self.chunks[id as usize].owners.iter().enumerate() {
            self.places[owner as usize] = Place { chunk: id, row: number(row) };
        }
        if is_small {
            self.small.push(id);
        }
        Ok(())
    }

    /// Columns of the rows in these slots.
    pub(super) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        let places: Vec<Place> = slots.iter().map(|&slot| self.places[slot as usize]).collect();
        self.gather(&places)
    }

    fn gather(&self, places: &[Place]) -> Result<Vec<ArrayRef>, ArrowError> {
        let Some(first) = places.first() else { return Ok(self.types.iter().map(new_empty_array).collect()) };
        if places.iter().all(|place| place.chunk == first.chunk) {
            let rows = UInt32Array::from_iter_values(places.iter().map(|place| place.row));
            let columns = &self.chunks[first.chunk as usize].columns;
            return columns.iter().map(|column| take(column, &rows, None)).collect();
        }
        let mut sources: Vec<u32> = Vec::new();
        let mut source_of: HashMap<u32, usize> = HashMap::new();
        let mut last = (NOBODY, 0);
        let indices: Vec<(usize, usize)> = places
            .iter()
            .map(|place| {
                if last.0 != place.chunk {
                    let source = *source_of.entry(place.chunk).or_insert_with(|| {
                        sources.push(place.chunk);
                        sources.len() - 1
                    });
                    last = (place.chunk, source);
                }
                (last.1, place.row as usize)
            })
            .collect();
        let column = |index: usize| {
            let arrays: Vec<&dyn Array> =
                sources.iter().map(|&id| self.chunks[id as usize].columns[index].as_ref()).collect();
            interleave(&arrays, &indices)
        };
        (0..self.types.len()).map(column).collect()
    }

    /// About so many bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let slots = self.places.len() - self.free_slots.len();
        self.bytes + slots * (size_of::<Place>() + size_of::<u32>())
    }

    /// How many chunks there are.
    #[cfg(test)]
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len() - self.free_chunks.len()
    }
}

/// Texts that share the buffers of many others, of which few are kept, are copied.
fn let_go(column: &mut ArrayRef) {
    let Some(texts) = column.as_string_view_opt() else { return };
    let held: usize = texts.data_buffers().iter().map(arrow::buffer::Buffer::capacity).sum();
    if held > TEXT_HELD_FREE && held > TEXT_HELD_MAX * used(texts) {
        *column = Arc::new(texts.gc());
    }
}

/// About so many bytes of memory, for the rows of this column alone.
fn bytes_of(column: &ArrayRef) -> usize {
    let all = |offsets: &[i32]| offsets.last().zip(offsets.first()).map_or(0, |(end, start)| (end - start) as usize);
    match column.data_type() {
        DataType::Utf8View => size_of::<u128>() * column.len() + used(column.as_string_view()),
        DataType::Utf8 => size_of::<i32>() * column.len() + all(column.as_string::<i32>().value_offsets()),
        DataType::Boolean => column.len().div_ceil(8),
        other => match other.primitive_width() {
            Some(width) => width * column.len(),
            None => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()),
        },
    }
}

/// Bytes of texts that are too long to stand in their views.
fn used(texts: &StringViewArray) -> usize {
    texts.views().iter().map(|&view| view as u32 as usize).filter(|&bytes| bytes > 12).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;

    /// Two rows a step, one of which is dropped two steps later: slots go on to name what they named.
    #[test]
    fn slots_outlive_their_chunks() {
        let mut rows = Rows::new(vec![DataType::Int64, DataType::Utf8View]);
        let mut kept: Vec<(u32, i64)> = Vec::new();
        for step in 0..2000_i64 {
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values([2 * step, 2 * step + 1]));
            let text = |number: i64| format!("a text that does not fit into a view {number}");
            let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values([text(2 * step), text(2 * step + 1)]));
            let chunk = rows.begin(&[numbers, texts], 2);
            for (row, number) in [(0, 2 * step), (1, 2 * step + 1)] {
                kept.push((rows.keep(chunk, row), number));
            }
            if step % 3 > 0 {
                let (slot, _) = kept.swap_remove(usize::try_from(step * 7919).expect("positive") % kept.len());
                rows.release(slot);
            }
            rows.settle(chunk).expect("rows that can be gathered");
            let slots: Vec<u32> = kept.iter().map(|(slot, _)| *slot).collect();
            let columns = rows.columns(&slots).expect("rows that can be gathered");
            let numbers: Vec<i64> = columns[0].as_primitive::<Int64Type>().values().to_vec();
            assert_eq!(numbers, kept.iter().map(|(_, number)| *number).collect::<Vec<_>>(), "step {step}");
            assert_eq!(columns[1].as_string_view().value(0), text(numbers[0]));
            assert!(rows.chunks() <= SMALL_CHUNKS_MAX + kept.len() / (SMALL_ROWS / 2) + 1, "{} chunks", rows.chunks());
        }
        let chunk = rows.begin(&[new_empty_array(&DataType::Int64), new_empty_array(&DataType::Utf8View)], 0);
        kept.iter().for_each(|(slot, _)| rows.release(*slot));
        rows.settle(chunk).expect("nothing to gather");
        assert_eq!(rows.chunks(), 0);
    }

    #[test]
    fn wide_rows_are_not_copied() {
        let mut rows = Rows::new(vec![DataType::Utf8View]);
        let mut kept = Vec::new();
        for step in 0..3 * SMALL_CHUNKS_MAX {
            let texts = StringViewArray::from_iter_values((0..10).map(|_| step.to_string().repeat(20_000)));
            let buffer = texts.data_buffers()[0].as_ptr();
            let chunk = rows.begin(&[Arc::new(texts)], 10);
            kept.extend((0..10).map(|row| (rows.keep(chunk, row), buffer)));
            rows.settle(chunk).expect("nothing to gather");
        }
        for (slot, buffer) in kept {
            let columns = rows.columns(&[slot]).expect("a row");
            assert_eq!(columns[0].as_string_view().data_buffers()[0].as_ptr(), buffer);
        }
    }

    #[test]
    fn a_few_texts_do_not_hold_many() {
        let all = StringViewArray::from_iter_values((0..20_000).map(|n| format!("one of very many texts: {n}")));
        let mut few: ArrayRef = Arc::new(all.slice(7, 3));
        let_go(&mut few);
        assert!(few.get_buffer_memory_size() < 10_000, "{}", few.get_buffer_memory_size());
        assert_eq!(few.as_string_view().value(2), "one of very many texts: 9");
        let mut most: ArrayRef = Arc::new(all.slice(0, 10_000));
        let before = most.as_string_view().data_buffers()[0].as_ptr();
        let_go(&mut most);
        assert_eq!(most.as_string_view().data_buffers()[0].as_ptr(), before, "nothing is copied for little");
    }
}
