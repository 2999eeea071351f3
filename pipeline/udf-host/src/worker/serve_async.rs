//! The worker's side of an async function: rows go in and results come out, each at its own time.

use super::{BATCH, BLOCKED, LOST, write_text};
use crate::declaration::{AsyncOptions, Declaration};
use crate::library::result_schema;
use crate::raw::{Drained, RawAsyncLibrary, RawRuntime, waits};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The interface does not tell when there are results: the library is asked so often, at first and while results come.
const ASKED_EVERY: Duration = Duration::from_micros(100);
/// At least so often.
const ASKED_EVERY_MAX: Duration = Duration::from_millis(2);
/// Between so many rows that are given to it.
const ASKED_EVERY_ROWS: usize = 16;
/// So many batches of rows are read ahead.
const BATCHES_AHEAD: usize = 4;
/// A thread is blocked when it has rows, and neither waits nor gives results for half of what a row may take, but for so long at least.
const BLOCKED_MIN: Duration = Duration::from_millis(500);

/// Serves until its input ends.
pub(super) fn serve_async(
    library: RawAsyncLibrary,
    declaration: &Declaration,
    options: AsyncOptions,
    input: impl Read + Send + 'static,
    mut output: impl Write,
) -> Result<(), Box<dyn Error>> {
    output.write_all(&[BATCH])?;
    output.flush()?;
    let schema = result_schema(declaration);
    let mut results = StreamWriter::try_new(output, &schema)?;
    results.get_mut().flush()?;
    let (sender, batches) = sync_channel(BATCHES_AHEAD);
    std::thread::Builder::new().name("rows".to_owned()).spawn(move || {
        let read = StreamReader::try_new(input, None);
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>> = match read {
            Ok(batches) => Box::new(batches),
            Err(error) => Box::new([Err(error)].into_iter()),
        };
        for batch in batches {
            if sender.send(batch).is_err() {
                return;
            }
        }
    })?;
    let watched = watch_for_blocks((options.timeout / 2).max(BLOCKED_MIN))?;
    let serving = Serving {
        library,
        declaration,
        schema,
        watched,
        runtime: RawRuntime::start(library),
        results,
        in_flight: BTreeSet::new(),
        news: Instant::now(),
    };
    serving.is_seen(false);
    serving.run(&batches)
}

/// What the library's thread is seen to do.
#[derive(Debug)]
struct Watched {
    /// Where the system shows it.
    thread: Option<PathBuf>,
    /// Whether it has rows.
    has_rows: bool,
    /// Whether it is being given one.
    is_given: bool,
    /// When it was last seen to wait, gave a result, or had nothing to do.
    well: Instant,
}

/// Ends the process when the library's thread is blocked by a row: nobody can stop that.
fn watch_for_blocks(limit: Duration) -> std::io::Result<Arc<Mutex<Watched>>> {
    let watched = Watched { thread: None, has_rows: false, is_given: false, well: Instant::now() };
    let watched = Arc::new(Mutex::new(watched));
    let seen = Arc::clone(&watched);
    std::thread::Builder::new().name("block-watch".to_owned()).stack_size(64 << 10).spawn(move || {
        loop {
            std::thread::sleep(limit / 16);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = seen.thread.as_deref().and_then(waits);
            // Where a thread cannot be looked at, it is well as long as it takes rows.
            if !seen.has_rows || waits.unwrap_or(!seen.is_given) {
                seen.well = Instant::now();
            } else if seen.well.elapsed() >= limit {
                exit(BLOCKED);
            }
        }
    })?;
    Ok(watched)
}

struct Serving<'a, W: Write> {
    // configuration
    library: RawAsyncLibrary,
    declaration: &'a Declaration,
    schema: SchemaRef,
    watched: Arc<Mutex<Watched>>,
    // state
    runtime: RawRuntime,
    results: StreamWriter<W>,
    in_flight: BTreeSet<u64>,
    /// When something came or went last.
    news: Instant,
}

impl<W: Write> Serving<'_, W> {
    fn run(mut self, batches: &Receiver<Result<RecordBatch, ArrowError>>) -> Result<(), Box<dyn Error>> {
        loop {
            let batch = if self.in_flight.is_empty() {
                batches.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                let wait = (self.news.elapsed() / 16).clamp(ASKED_EVERY, ASKED_EVERY_MAX);
                batches.recv_timeout(wait)
            };
            match batch {
                Ok(batch) => self.take(&batch?)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.collect()?;
        }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), Box<dyn Error>> {
        let ids = batch.column(0).as_primitive::<UInt64Type>().clone();
        for (row, &id) in ids.values().iter().enumerate() {
            let values: Vec<ArrayRef> = batch.columns()[1..].iter().map(|column| column.slice(row, 1)).collect();
            self.in_flight.insert(id);
            self.is_seen(true);
            let taken = self.runtime.send(id, &values);
            self.is_seen(false);
            if !taken || row % ASKED_EVERY_ROWS == 0 {
                self.collect()?;
            }
            if !taken && self.in_flight.contains(&id) {
                // The thread's end was not seen there.
                self.lose()?;
            }
        }
        self.news = Instant::now();
        Ok(())
    }

    /// Tells who watches what there is to see.
    fn is_seen(&self, is_given: bool) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        (watched.has_rows, watched.is_given) = (!self.in_flight.is_empty(), is_given);
        if watched.thread.as_deref() != self.runtime.thread() {
            watched.thread = self.runtime.thread().map(Path::to_owned);
            watched.well = Instant::now();
        }
    }

    /// Passes results on, and what was lost when the thread has panicked.
    fn collect(&mut self) -> Result<(), Box<dyn Error>> {
        // What was done before it died is not lost: it is looked at first.
        let lives = self.runtime.lives();
        match self.runtime.drain(self.declaration.returns.value_type) {
            Drained::Results(ids, values) => {
                for id in &ids {
                    self.in_flight.remove(id);
                }
                let ids: ArrayRef = Arc::new(UInt64Array::from(ids));
                self.results.get_mut().write_all(&[BATCH])?;
                self.results.write(&RecordBatch::try_new(Arc::clone(&self.schema), vec![ids, values])?)?;
                self.results.get_mut().flush()?;
                self.news = Instant::now();
                self.is_seen(false);
                self.watched.lock().unwrap_or_else(PoisonError::into_inner).well = self.news;
            }
            Drained::Nothing => {}
            Drained::Dead => return self.lose(),
            Drained::Malformed(why) => return Err(format!("what it gave is malformed: {why}").into()),
        }
        if lives { Ok(()) } else { self.lose() }
    }

    /// Tells which rows the thread had, and goes on with another thread.
    fn lose(&mut self) -> Result<(), Box<dyn Error>> {
        let ids: Vec<u8> = std::mem::take(&mut self.in_flight).into_iter().flat_map(u64::to_le_bytes).collect();
        self.runtime = RawRuntime::start(self.library);
        self.is_seen(false);
        let output = self.results.get_mut();
        output.write_all(&[LOST])?;
        write_text(output, &ids)?;
        Ok(output.flush()?)
    }
}
