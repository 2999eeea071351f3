//! Calling a function with a batch, whatever it does: rows that it fails for are found, one by one, and remembered; those that the machine had a part
//! in, on the pipeline's [`Timeline`].
//!
//! A batch that fails is halved until the rows at fault are alone. A row that a worker died of, or did not come back from, is tried
//! again first, since that can depend on the machine. The time limit is shared out with the rows while they are looked for, and whole again for
//! one alone.
//!
//! A batch that takes long is called in parts, side by side, by as many workers as there may be: one partition keeps all cores busy.

use crate::declaration::Declaration;
use crate::library::{Fault, Library};
use crate::settings::{Isolation, Settings};
use crate::timeline::Timeline;
use crate::worker::{Failure, Worker};
use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use chalk_catalog::FunctionIdentity;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128;

/// How often a row alone is tried again when its worker died or took too long.
const RETRIES: u32 = 2;
/// After so many rows of one call, others are not tried again: the function is at fault, not the machine.
const RETRIED_ROWS_MAX: usize = 3;
/// While rows are looked for, a part of a batch has at least so long.
const PART_LIMIT_MIN: Duration = Duration::from_millis(200);
/// A part of a batch that takes less than this is not worth a thread.
const SIDE_BY_SIDE_MIN: Duration = Duration::from_millis(1);
/// By so many rows it is found out how long one takes, when the function was not called yet.
const FIRST_ROWS: usize = 256;
/// So many rows are remembered that a function failed for.
const REMEMBERED_MAX: usize = 100_000;

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The function fails for some of the rows: for one of them because of this.
    #[error("{0}")]
    Rows(String),
    /// It cannot be called at all.
    #[error("{0}")]
    Function(String),
}

/// A function of a library, ready to be called from any thread.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Who it is: `name@hash`.
    function: String,
    declaration: Declaration,
    settings: Settings,
    way: Way,
    /// How long a row took on average when the function was called last, in nanoseconds.
    row_nanos: AtomicU64,
    /// Where it is called; `None` for whoever asks, and whose rows nobody records.
    timeline: Option<Timeline>,
    /// Why it failed, by the hash of its arguments. It is not in the log: another run finds out again.
    failed: Mutex<HashMap<u128, String>>,
}

enum Way {
    InProcess(Library),
    Process(Workers),
}

struct Workers {
    program: Vec<OsString>,
    library: PathBuf,
    /// Those that nobody uses now: there are at most as many as there were calls at a time.
    idle: Mutex<Vec<Worker>>,
}

impl Workers {
    /// One that nobody uses, started if need be.
    fn take(&self, declaration: &Declaration, settings: &Settings) -> Result<Worker, CallError> {
        let ready = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        ready.map_or_else(
            || {
                let program: Vec<&OsStr> = self.program.iter().map(OsString::as_os_str).collect();
                Worker::start(&program, &self.library, declaration, settings).map_err(CallError::Function)
            },
            Ok,
        )
    }

    fn put_back(&self, worker: Worker) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InProcess(_) => "in process",
            Self::Process(_) => "process",
        })
    }
}

/// What was found out about the rows of a call.
#[derive(Default)]
struct Found {
    parts: Vec<ArrayRef>,
    /// Rows that failed, and why.
    failed: Vec<(usize, Failure)>,
}

impl Found {
    fn add(&mut self, found: Self) {
        self.parts.extend(found.parts);
        self.failed.extend(found.failed);
    }
}

impl Caller {
    /// For a library that was checked to be known.
    pub(crate) fn new(
        identity: &FunctionIdentity,
        library: PathBuf,
        declaration: Declaration,
        settings: Settings,
        program: Vec<OsString>,
        timeline: Option<Timeline>,
    ) -> Result<Self, CallError> {
        let way = match settings.isolation {
            Isolation::InProcess => {
                let loaded = Library::load(&library, &declaration);
                Way::InProcess(loaded.map_err(|why| CallError::Function(format!("its library does not load: {why}")))?)
            }
            Isolation::Process => Way::Process(Workers { program, library, idle: Mutex::default() }),
        };
        let (function, row_nanos) = (identity.to_string(), AtomicU64::new(0));
        Ok(Self { function, declaration, settings, way, row_nanos, timeline, failed: Mutex::default() })
    }

    /// Calls it with columns of one length; gives a row for each of theirs.
    pub(crate) fn call(&self, columns: &[ArrayRef]) -> Result<ArrayRef, CallError> {
        let rows = columns.first().map_or(0, |column| column.len());
        if let Some(why) = self.remembered(columns)? {
            return Err(CallError::Rows(why));
        }
        let known = self.row_nanos.load(Ordering::Relaxed) > 0;
        let first = if known { rows } else { rows.min(FIRST_ROWS) };
        let mut found = self.timed(columns, 0, first)?;
        if first < rows {
            found.add(self.timed(columns, first, rows - first)?);
        }
        if found.failed.is_empty() {
            let parts: Vec<_> = found.parts.iter().map(AsRef::as_ref).collect();
            return match &found.parts[..] {
                [only] => Ok(ArrayRef::clone(only)),
                _ => concat(&parts).map_err(|error| arrow_failed(&error)),
            };
        }
        let (Failure::Function(why) | Failure::Worker(why)) = &found.failed[0].1;
        let why = why.clone();
        self.remember(columns, found.failed)?;
        Err(CallError::Rows(why))
    }

    /// Calls it with some of the rows, and remembers how long one took.
    fn timed(&self, columns: &[ArrayRef], start: usize, rows: usize) -> Result<Found, CallError> {
        // What a worker's start takes is not a row's.
        if let Way::Process(workers) = &self.way {
            workers.put_back(workers.take(&self.declaration, &self.settings)?);
        }
        let (began, parts) = (Instant::now(), self.parts(rows));
        let found = self.side_by_side(columns, start, rows, parts)?;
        let nanos = began.elapsed().as_nanos() * parts as u128 / rows.max(1) as u128;
        self.row_nanos.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(found)
    }

    /// Into how many parts a batch is to be taken.
    fn parts(&self, rows: usize) -> usize {
        let part = SIDE_BY_SIDE_MIN.as_nanos();
        let whole = u128::from(self.row_nanos.load(Ordering::Relaxed)) * rows as u128;
        usize::try_from(whole / part).unwrap_or(usize::MAX).min(self.settings.workers).clamp(1, rows.max(1))
    }

    /// Calls it with parts of a batch at once.
    fn side_by_side(&self, columns: &[ArrayRef], start: usize, rows: usize, parts: usize) -> Result<Found, CallError> {
        let limit = self.settings.time_limit;
        let call = |part: usize| {
            let (begin, end) = (rows * part / parts, rows * (part + 1) / parts);
            let mut found = Found::default();
            self.find(columns, start + begin, end - begin, limit, &mut found).map(|()| found)
        };
        if parts == 1 {
            return call(0);
        }
        let found: Vec<Result<Found, CallError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..parts).map(|part| scope.spawn(move || call(part))).collect();
            let panicked = |_| Err(CallError::Function("a thread panicked".to_owned()));
            let others = threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked));
            [call(0)].into_iter().chain(others).collect()
        });
        let mut all = Found::default();
        for found in found {
            all.add(found?);
        }
        Ok(all)
    }

    fn find(
        &self,
        columns: &[ArrayRef],
        start: usize,
        rows: usize,
        limit: Duration,
        found: &mut Found,
    ) -> Result<(), CallError> {
        let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, rows)).collect();
        let retries = if rows > 1 || found.failed.len() >= RETRIED_ROWS_MAX { 0 } else { RETRIES };
        let limit = if rows > 1 { limit } else { self.settings.time_limit };
        let mut why = match self.attempt(&part, limit)? {
            Ok(columns) => {
                found.parts.extend(columns);
                return Ok(());
            }
            Err(failure) => failure,
        };
        if rows > 1 {
            let half = rows / 2;
            let limit = (limit / 2).max(PART_LIMIT_MIN).min(self.settings.time_limit);
            self.find(columns, start, half, limit, found)?;
            return self.find(columns, start + half, rows - half, limit, found);
        }
        for _ in 0..retries {
            if let Failure::Function(_) = why {
                break;
            }
            why = match self.attempt(&part, limit)? {
                Ok(columns) => {
                    found.parts.extend(columns);
                    return Ok(());
                }
                Err(failure) => failure,
            };
        }
        found.failed.push((start, why));
        Ok(())
    }

    fn attempt(&self, columns: &[ArrayRef], limit: Duration) -> Result<Result<Vec<ArrayRef>, Failure>, CallError> {
        match &self.way {
            Way::InProcess(library) => Ok(library.call(columns).map(|column| vec![column]).map_err(|fault| {
                Failure::Function(match fault {
                    Fault::Panicked => "panicked; its message is on the standard error output".to_owned(),
                    Fault::Malformed(why) => format!("what it gave is malformed: {why}"),
                })
            })),
            Way::Process(workers) => {
                let mut worker = workers.take(&self.declaration, &self.settings)?;
                let result = worker.call(columns, limit);
                if !matches!(result, Err(Failure::Worker(_))) {
                    workers.put_back(worker);
                }
                Ok(result)
            }
        }
    }

    /// Why an earlier call failed for one of these rows.
    fn remembered(&self, columns: &[ArrayRef]) -> Result<Option<String>, CallError> {
        let timeline = self.timeline.as_ref().filter(|timeline| timeline.has_verdicts(&self.function));
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_empty() && timeline.is_none() {
            return Ok(None);
        }
        let hashes = hashes(columns)?;
        let known = hashes.iter().find_map(|hash| failed.get(hash).cloned());
        Ok(known.or_else(|| timeline?.verdict(&self.function, &hashes)))
    }

    fn remember(&self, columns: &[ArrayRef], rows: Vec<(usize, Failure)>) -> Result<(), CallError> {
        let hashes = hashes(columns)?;
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= REMEMBERED_MAX {
            failed.clear();
        }
        for (row, failure) in rows {
            match (failure, &self.timeline) {
                (Failure::Worker(why), Some(timeline)) => timeline.give_up(&self.function, hashes[row], &why),
                (Failure::Worker(why) | Failure::Function(why), _) => drop(failed.insert(hashes[row], why)),
            }
        }
        Ok(())
    }
}

fn arrow_failed(error: &ArrowError) -> CallError {
    CallError::Function(error.to_string())
}

/// A hash of each row's arguments.
fn hashes(columns: &[ArrayRef]) -> Result<Vec<u128>, CallError> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(|error| arrow_failed(&error))?;
    let rows = converter.convert_columns(columns).map_err(|error| arrow_failed(&error))?;
    Ok(rows.iter().map(|row| xxh3_128(row.as_ref())).collect())
}
