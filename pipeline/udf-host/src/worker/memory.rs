//! Columns in the memory that a host and its worker have in common.
//!
//! ```text
//! 0        columns for the worker: their buffers one after the other, each from a multiple of 64 bytes on
//! 1 TiB    those of the other slot, likewise
//! 2 TiB    the column that it gives
//! 3 TiB    that of the other slot
//! ```
//!
//! There are two slots, so that one call's columns are laid down while the worker is busy with another's.
//!
//! Buffers are Arrow's: of each column those of validity (none if nothing is NULL), values, or offsets from 0 on and what they point
//! into, of a list its values as a column. The [`Layout`] of columns goes over the socket.
//!
//! The host never maps what its worker could shorten or write to: it writes and reads the file, and validates its own copy.

use crate::raw::{believed, mapped};
use arrow::array::{Array, ArrayData, ArrayDataBuilder, ArrayRef, AsArray, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::error::ArrowError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where each buffer begins.
const ALIGNMENT: u64 = 64;
/// How many calls there are columns of.
pub(super) const SLOTS: usize = 2;
/// From one slot to the next: beyond all columns that there can be.
const SLOT_BYTES: u64 = 1 << 40;
/// Where the worker's column is in the first slot.
const RESULTS_AT: u64 = SLOTS as u64 * SLOT_BYTES;
/// After a call with more, the memory is given back.
const KEPT_BYTES_MAX: u64 = 64 << 20;
/// The worker maps so many bytes at a time.
const MAPPED_AT_A_TIME: usize = 1 << 20;

/// What lies there: the slot, the number of rows, and the bytes of each buffer. As bytes: little-endian `u64`s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    slot: usize,
    rows: u64,
    buffers: Vec<u64>,
}

impl Layout {
    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.slot as u64, self.rows].iter().chain(&self.buffers).flat_map(|number| number.to_le_bytes()).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let slot = usize::try_from(numbers.next()?).ok().filter(|slot| *slot < SLOTS)?;
        Some(Self { slot, rows: numbers.next()?, buffers: numbers.collect() })
    }

    /// Up to where its buffers go.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().fold(0, |end: u64, bytes| end.next_multiple_of(ALIGNMENT).saturating_add(*bytes))
    }
}

/// The memory, from either side.
#[derive(Debug)]
pub(super) struct Memory {
    file: File,
    /// The worker's view of the columns that it is given.
    mapped: [Option<Buffer>; SLOTS],
}

impl Memory {
    pub(super) fn new(file: File) -> Self {
        Self { file, mapped: [None, None] }
    }

    /// Host: lays columns of one length down for the worker.
    pub(super) fn give(&self, columns: &[ArrayRef], slot: usize) -> io::Result<Layout> {
        self.write(columns, slot, 0)
    }

    /// Worker: the columns that it was given, of these types, where they lie.
    pub(super) fn take<'t>(
        &mut self,
        layout: &Layout,
        types: impl Iterator<Item = &'t DataType>,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let bytes = usize::try_from(layout.bytes()).map_err(|_| malformed())?;
        let mapped_before = &mut self.mapped[layout.slot];
        let memory = match mapped_before {
            Some(mapped) if mapped.len() >= bytes => mapped.clone(),
            _ if bytes == 0 => Buffer::default(),
            _ => {
                *mapped_before = None;
                // Beyond the buffers' end there is nothing that anybody reads.
                let whole = bytes.next_multiple_of(MAPPED_AT_A_TIME);
                mapped_before.insert(mapped(&self.file, layout.slot as u64 * SLOT_BYTES, whole)?).clone()
            }
        };
        columns(layout, types, &memory, |data| Ok(believed(data)))
    }

    /// Worker: lays its column down for the host, in the slot of what it was given.
    pub(super) fn answer(&self, column: &ArrayRef, slot: usize) -> io::Result<Layout> {
        self.write(std::slice::from_ref(column), slot, RESULTS_AT)
    }

    /// Host: a copy of the worker's column, if it has no more than so many bytes.
    pub(super) fn answered(
        &self,
        layout: &Layout,
        data_type: &DataType,
        bytes_max: u64,
    ) -> Result<ArrayRef, ArrowError> {
        let bytes = layout.bytes();
        if bytes > bytes_max {
            return Err(ArrowError::InvalidArgumentError(format!("{bytes} bytes are more than it may have")));
        }
        let mut copy = vec![0; usize::try_from(bytes).map_err(|_| malformed())?];
        self.file.read_exact_at(&mut copy, RESULTS_AT + layout.slot as u64 * SLOT_BYTES)?;
        let mut columns = columns(layout, [data_type].into_iter(), &Buffer::from_vec(copy), ArrayDataBuilder::build)?;
        columns.pop().ok_or_else(malformed)
    }

    /// Host: gives back what large calls have needed, so many bytes at once at most. Nothing lies there any more.
    pub(super) fn trim(&self, bytes: u64) {
        if bytes > KEPT_BYTES_MAX {
            // It is room, no more.
            let _ = self.file.set_len(0);
        }
    }

    fn write(&self, columns: &[ArrayRef], slot: usize, at: u64) -> io::Result<Layout> {
        let at = at + slot as u64 * SLOT_BYTES;
        let rows = columns.first().map_or(0, |column| column.len() as u64);
        let (mut buffers, mut layout) = (Vec::new(), Layout { slot, rows, buffers: Vec::new() });
        for column in columns {
            buffers_of(column, &mut buffers);
        }
        for buffer in &buffers {
            let start = layout.bytes().next_multiple_of(ALIGNMENT);
            self.file.write_all_at(buffer, at + start)?;
            layout.buffers.push(buffer.len() as u64);
        }
        Ok(layout)
    }
}

/// The buffers of a column, without what lies beside its rows.
fn buffers_of(column: &dyn Array, buffers: &mut Vec<Buffer>) {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
    buffers.push(nulls.map_or_else(Buffer::default, |nulls| nulls.inner().sliced()));
    let data = column.to_data();
    match column.data_type() {
        DataType::Utf8 | DataType::Binary => {
            let offsets: &[i32] = match column.as_string_opt::<i32>() {
                Some(texts) => texts.value_offsets(),
                None => column.as_binary::<i32>().value_offsets(),
            };
            let (offsets, first, last) = from_zero(offsets);
            buffers.push(offsets);
            buffers.push(data.buffers()[1].slice_with_length(first, last - first));
        }
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let (offsets, first, last) = from_zero(lists.value_offsets());
            buffers.push(offsets);
            buffers_of(&lists.values().slice(first, last - first), buffers);
        }
        number => {
            let width = number.primitive_width().expect("functions take numbers, texts, bytes, and lists of them");
            buffers.push(data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width));
        }
    }
}

/// Offsets that begin with 0, and between which they were.
fn from_zero(offsets: &[i32]) -> (Buffer, usize, usize) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let moved = offsets.iter().map(|offset| offset - first).collect::<Vec<i32>>();
    (Buffer::from_vec(moved), first.as_usize(), last.as_usize())
}

/// Columns of these types.
fn columns<'t>(
    layout: &Layout,
    types: impl Iterator<Item = &'t DataType>,
    memory: &Buffer,
    build: fn(ArrayDataBuilder) -> Result<ArrayData, ArrowError>,
) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut reading = Reading { layout, memory, build, next: 0, at: 0 };
    let rows = usize::try_from(layout.rows).map_err(|_| malformed())?;
    types.map(|data_type| reading.column(data_type, rows).map(make_array)).collect()
}

struct Reading<'a> {
    // configuration
    layout: &'a Layout,
    memory: &'a Buffer,
    build: fn(ArrayDataBuilder) -> Result<ArrayData, ArrowError>,
    // state
    next: usize,
    at: u64,
}

impl Reading<'_> {
    fn column(&mut self, data_type: &DataType, rows: usize) -> Result<ArrayData, ArrowError> {
        let nulls = self.buffer()?;
        let nulls = (!nulls.is_empty()).then_some(nulls);
        let first = self.buffer()?;
        let data = ArrayData::builder(data_type.clone()).len(rows).null_bit_buffer(nulls).add_buffer(first.clone());
        let data = match data_type {
            DataType::Utf8 | DataType::Binary => data.add_buffer(self.buffer()?),
            DataType::List(field) => {
                let values = first.last_chunk().and_then(|last| usize::try_from(i32::from_ne_bytes(*last)).ok());
                data.add_child_data(self.column(field.data_type(), values.ok_or_else(malformed)?)?)
            }
            _ => data,
        };
        (self.build)(data.align_buffers(true))
    }

    fn buffer(&mut self) -> Result<Buffer, ArrowError> {
        let bytes = *self.layout.buffers.get(self.next).ok_or_else(malformed)?;
        let start = self.at.next_multiple_of(ALIGNMENT);
        self.at = start.saturating_add(bytes);
        self.next += 1;
        if self.at > self.memory.len() as u64 {
            return Err(malformed());
        }
        // Both are within what is in memory.
        Ok(self.memory.slice_with_length(if bytes == 0 { 0 } else { start as usize }, bytes as usize))
    }
}

fn malformed() -> ArrowError {
    ArrowError::InvalidArgumentError("its buffers do not lie as it says".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::memory_file;
    use arrow::array::{BinaryArray, Float64Array, Int16Array, ListBuilder, StringArray, StringBuilder};
    use std::sync::Arc;

    fn all_kinds() -> Vec<ArrayRef> {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for list in [Some(vec![Some("a"), None]), None, Some(vec![]), Some(vec![Some("bc")]), Some(vec![Some("")])] {
            lists.append_option(list);
        }
        vec![
            Arc::new(Int16Array::from(vec![Some(1), None, Some(-3), Some(4), None])),
            Arc::new(Float64Array::from(vec![0.5, f64::NAN, 1.0, -0.0, 2.0])),
            Arc::new(StringArray::from(vec![Some("one"), Some(""), None, Some("four"), Some("ü")])),
            Arc::new(BinaryArray::from_opt_vec(vec![None, Some(b"\xff"), Some(b""), Some(b"xyz"), None])),
            Arc::new(lists.finish()),
        ]
    }

    #[test]
    fn columns_arrive_as_they_were_given() {
        let file = memory_file().expect("memory");
        let host = Memory::new(file.try_clone().expect("a file"));
        let mut worker = Memory::new(file);
        for (call, (start, rows)) in [(0, 5), (1, 3), (4, 1), (2, 0), (0, 5)].into_iter().enumerate() {
            let slot = call % SLOTS;
            let columns: Vec<ArrayRef> = all_kinds().iter().map(|column| column.slice(start, rows)).collect();
            let given = host.give(&columns, slot).expect("room");
            let said = Layout::from_bytes(&given.to_bytes()).expect("a layout");
            let taken = worker.take(&said, columns.iter().map(|column| column.data_type())).expect("columns");
            assert_eq!(format!("{taken:?}"), format!("{columns:?}"), "{start} {rows}");
            for column in &columns {
                let answer = worker.answer(column, slot).expect("room");
                let answered = host.answered(&answer, column.data_type(), 1 << 20).expect("a column");
                assert_eq!(format!("{answered:?}"), format!("{column:?}"), "{start} {rows}");
            }
        }
    }

    #[test]
    fn what_was_needed_once_is_given_back() {
        let file = memory_file().expect("memory");
        let host = Memory::new(file.try_clone().expect("a file"));
        let mut worker = Memory::new(file.try_clone().expect("a file"));
        let large: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(KEPT_BYTES_MAX as usize + 1)]));
        for column in [&large, &all_kinds()[2], &large] {
            let given = host.give(std::slice::from_ref(column), 1).expect("room");
            let taken = worker.take(&given, [column.data_type()].into_iter()).expect("columns");
            assert_eq!(&taken[0], column);
            drop(taken);
            host.trim(given.bytes());
        }
        assert_eq!(file.metadata().expect("a file").len(), 0);
    }

    #[test]
    fn what_does_not_lie_as_it_says_is_refused() {
        let file = memory_file().expect("memory");
        let host = Memory::new(file.try_clone().expect("a file"));
        let column: ArrayRef = Arc::new(StringArray::from(vec!["one", "two"]));
        let good = host.write(std::slice::from_ref(&column), 0, RESULTS_AT).expect("room");
        let refused = |change: fn(&mut Layout)| {
            let mut layout = good.clone();
            change(&mut layout);
            host.answered(&layout, &DataType::Utf8, 1000).expect_err("a refusal").to_string()
        };
        let why = refused(|layout| layout.rows = 3);
        assert!(why.contains("16"), "an offset is missing: {why}");
        assert!(refused(|layout| layout.buffers.truncate(1)).contains("do not lie"));
        assert!(refused(|layout| layout.buffers[2] = 900).contains("fill whole buffer"), "nothing is there");
        assert!(refused(|layout| layout.buffers[2] = 5000).contains("more than it may have"));
        assert!(refused(|layout| layout.buffers[2] = u64::MAX).contains("more than it may have"));
        file.write_all_at(b"\xff", RESULTS_AT + ALIGNMENT).expect("room");
        assert!(refused(|_| ()).to_lowercase().contains("utf"), "it is no text");
        assert_eq!(Layout::from_bytes(&Layout { slot: 2, ..good }.to_bytes()), None);
        assert_eq!(Layout::from_bytes(b"1234567"), None);
        assert_eq!(Layout::from_bytes(b""), None);
    }
}
