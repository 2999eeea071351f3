//! The host's side.

use super::memory::{Layout, Memory, SLOTS};
use super::{BATCH, PANICKED, Start, read_text, write_text};
use crate::declaration::Declaration;
use crate::raw::memory_file;
use crate::settings::Settings;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// At most so much of what a function printed stands in a reason.
const SAID_BYTES_MAX: u64 = 500;
/// When a function has printed so much, it is thrown away.
pub(super) const PRINTED_BYTES_MAX: u64 = 1 << 20;
/// How long a worker may take to start: a machine that is busy is not a worker that hangs.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The kernel knows no time-out of nothing.
const LIMIT_MIN: Duration = Duration::from_millis(1);
/// A batch is called in so many parts: while the worker is busy with one, the next is laid down, and the one before is read.
const PARTS: usize = 4;
/// If each has so many rows: below that they are not worth their messages.
const PART_ROWS_MIN: usize = 256;

/// A running worker. It is killed when this is dropped.
pub(crate) struct Worker {
    // configuration
    returns: DataType,
    result_bytes_max: u64,
    // state
    child: Child,
    socket: UnixStream,
    memory: Memory,
    calls: BufWriter<UnixStream>,
    results: BufReader<UnixStream>,
    /// What it prints.
    printed: File,
    /// How many bytes of it are of earlier calls.
    printed_before: u64,
}

/// Why a call gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The function panicked, or gave something malformed: it would again. The worker is as it was.
    Function(String),
    /// The worker is no more, or does not answer: with more time or memory it might. It must be replaced.
    Worker(String),
}

impl Worker {
    /// Starts `program`, which does what `serve_worker` does, and has it load a library.
    ///
    /// # Errors
    /// When it cannot be started, or cannot load it.
    pub(crate) fn start(
        program: &[&OsStr],
        library: &Path,
        declaration: &Declaration,
        settings: &Settings,
    ) -> Result<Self, String> {
        let Started { child, socket, memory, calls, results, printed } =
            start(program, library, declaration, settings)?;
        let (returns, result_bytes_max) = (declaration.returns.value_type.arrow(), settings.memory_limit_bytes);
        Ok(Self { returns, result_bytes_max, child, socket, memory, calls, results, printed, printed_before: 0 })
    }

    /// Calls the function. What it gives comes in parts.
    pub(crate) fn call(&mut self, columns: &[ArrayRef], limit: Duration) -> Result<Vec<ArrayRef>, Failure> {
        match self.exchange(columns, limit) {
            Ok(Ok(columns)) => {
                self.forget_printed();
                Ok(columns)
            }
            Ok(Err(why)) => {
                let said = tail(&self.printed, self.printed_before);
                self.forget_printed();
                Err(Failure::Function(said.map_or_else(|| why.clone(), |said| format!("{why}: {said}"))))
            }
            Err(error) if is_time_out(&error) => {
                end(&mut self.child);
                Err(Failure::Worker(format!("it took longer than {} ms", limit.as_millis())))
            }
            Err(error) => {
                let status = end(&mut self.child);
                let said = tail(&self.printed, self.printed_before).map(|said| format!(": {said}")).unwrap_or_default();
                Err(Failure::Worker(match (status, error) {
                    (Some(status), _) => format!("its worker {}{said}", status_text(status)),
                    (None, ArrowError::IoError(..)) => format!("its worker was killed{said}"),
                    // It lives, and yet what it sent cannot be read.
                    (None, error) => format!("what its worker sent is not understood: {error}{said}"),
                }))
            }
        }
    }

    /// Columns, one after the other; or what the worker says instead.
    fn exchange(&mut self, columns: &[ArrayRef], limit: Duration) -> Result<Result<Vec<ArrayRef>, String>, ArrowError> {
        let rows = columns.first().map_or(0, |column| column.len());
        let parts = (rows / PART_ROWS_MIN).clamp(1, PARTS);
        let deadline = Instant::now() + limit;
        self.socket.set_write_timeout(Some(limit))?;
        let (mut given, mut results, mut fault) = (VecDeque::new(), Vec::with_capacity(parts), None);
        let mut bytes = 0;
        for part in 0..parts + SLOTS - 1 {
            if part < parts {
                let (start, end) = (rows * part / parts, rows * (part + 1) / parts);
                let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, end - start)).collect();
                let layout = self.memory.give(&columns, part % SLOTS)?;
                write_text(&mut self.calls, &layout.to_bytes())?;
                self.calls.flush()?;
                bytes += layout.bytes();
                given.push_back(end - start);
            }
            if part + 1 >= SLOTS
                && let Some(rows) = given.pop_front()
            {
                match self.answer(rows, deadline)? {
                    Ok((column, its_bytes)) => {
                        results.push(column);
                        bytes += its_bytes;
                    }
                    // The answers to what was given already are awaited, too.
                    Err(why) => fault = fault.or(Some(why)),
                }
            }
        }
        self.memory.trim(bytes);
        Ok(fault.map_or(Ok(results), Err))
    }

    /// The column of the oldest call that is not answered yet, and its bytes; or what the worker says instead.
    fn answer(&mut self, rows: usize, deadline: Instant) -> Result<Result<(ArrayRef, u64), String>, ArrowError> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.socket.set_read_timeout(Some(left.max(LIMIT_MIN)))?;
        let mut kind = [0];
        self.results.read_exact(&mut kind)?;
        let text = if kind[0] == PANICKED { Vec::new() } else { read_text(&mut self.results)? };
        match kind[0] {
            BATCH => {
                let layout = Layout::from_bytes(&text).ok_or_else(|| not_asked_for("not a layout"))?;
                let column = self.memory.answered(&layout, &self.returns, self.result_bytes_max)?;
                if column.len() != rows {
                    return Err(not_asked_for("a column of another length"));
                }
                Ok(Ok((column, layout.bytes())))
            }
            PANICKED => Ok(Err("panicked".to_owned())),
            _ => Ok(Err(format!("what it gave is malformed: {}", String::from_utf8_lossy(&text)))),
        }
    }

    fn forget_printed(&mut self) {
        let Ok(printed) = self.printed.metadata() else { return };
        if printed.len() - self.printed_before.min(printed.len()) > PRINTED_BYTES_MAX {
            // The worker goes on where it was: what was before takes no room any more.
            let _ = self.printed.set_len(0);
        }
        self.printed_before = printed.len();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A worker that has loaded its library.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
    pub(super) memory: Memory,
    pub(super) calls: BufWriter<UnixStream>,
    pub(super) results: BufReader<UnixStream>,
    pub(super) printed: File,
}

/// Starts `program`, and has it load a library.
pub(super) fn start(
    program: &[&OsStr],
    library: &Path,
    declaration: &Declaration,
    settings: &Settings,
) -> Result<Started, String> {
    let Spawned { mut child, socket, memory, printed } =
        spawn(program).map_err(|error| format!("no worker can be started: {error}"))?;
    let start = Start {
        library: library.to_owned(),
        declaration: declaration.clone(),
        memory_bytes_max: settings.memory_limit_bytes,
        network: settings.network,
    };
    match greet(&socket, &start) {
        Ok((calls, results)) => Ok(Started { child, socket, memory, calls, results, printed }),
        Err(Greeting::Refused(why)) => {
            end(&mut child);
            Err(format!("its library does not load: {why}"))
        }
        Err(Greeting::Failed(error)) => {
            let status = end(&mut child);
            let said = tail(&printed, 0).map(|said| format!(": {said}")).unwrap_or_default();
            let status = status.map_or("was ended".to_owned(), status_text);
            Err(format!("a worker does not start ({error}; it {status}){said}"))
        }
    }
}

enum Greeting {
    Refused(String),
    Failed(io::Error),
}

impl From<io::Error> for Greeting {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

type Both = (BufWriter<UnixStream>, BufReader<UnixStream>);

fn greet(socket: &UnixStream, start: &Start) -> Result<Both, Greeting> {
    socket.set_read_timeout(Some(START_LIMIT))?;
    socket.set_write_timeout(Some(START_LIMIT))?;
    let mut output = BufWriter::new(socket.try_clone()?);
    let start = serde_json::to_vec(start).map_err(io::Error::other)?;
    write_text(&mut output, &start)?;
    output.flush()?;
    let mut input = BufReader::new(socket.try_clone()?);
    let mut kind = [0];
    input.read_exact(&mut kind)?;
    if kind[0] != BATCH {
        return Err(Greeting::Refused(String::from_utf8_lossy(&read_text(&mut input)?).into_owned()));
    }
    Ok((output, input))
}

struct Spawned {
    child: Child,
    socket: UnixStream,
    memory: Memory,
    printed: File,
}

fn spawn(program: &[&OsStr]) -> io::Result<Spawned> {
    let (name, arguments) = program.split_first().ok_or(io::ErrorKind::NotFound)?;
    let (ours, theirs) = UnixStream::pair()?;
    let (memory, printed) = (memory_file()?, tempfile::tempfile()?);
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
    command.stdout(Stdio::from(memory.try_clone()?)).stderr(Stdio::from(printed.try_clone()?));
    // What a function gives depends on its arguments alone; and the host's secrets are none of its business.
    command.env_clear();
    // Ctrl-C in the terminal is for the host, which finishes what it has begun.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok(Spawned { child: command.spawn()?, socket: ours, memory: Memory::new(memory), printed })
}

/// Ends it; how it ended if it did so by itself.
pub(super) fn end(child: &mut Child) -> Option<ExitStatus> {
    // One that is on its way out ends as it would have.
    let killed = child.kill();
    let status = child.wait().ok()?;
    (killed.is_err() || status.signal() != Some(libc::SIGKILL)).then_some(status)
}

fn not_asked_for(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("it is {what}"))
}

fn is_time_out(error: &ArrowError) -> bool {
    let kind = match error {
        ArrowError::IoError(_, error) => error.kind(),
        _ => return false,
    };
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

pub(super) fn status_text(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(libc::SIGSEGV), _) => "died: segmentation fault".to_owned(),
        (Some(libc::SIGBUS), _) => "died: bus error".to_owned(),
        (Some(libc::SIGILL), _) => "died: illegal instruction".to_owned(),
        (Some(libc::SIGFPE), _) => "died: arithmetic error".to_owned(),
        (Some(libc::SIGABRT), _) => "died: aborted".to_owned(),
        (Some(signal), _) => format!("died: signal {signal}"),
        (None, code) => format!("ended by itself with exit code {}", code.unwrap_or_default()),
    }
}

/// The last of what was printed since, on one line, without advice about back traces.
pub(super) fn tail(printed: &File, since: u64) -> Option<String> {
    let length = printed.metadata().ok()?.len();
    let start = since.max(length.saturating_sub(SAID_BYTES_MAX));
    let mut bytes = vec![0; usize::try_from(length.checked_sub(start)?).ok()?];
    printed.read_exact_at(&mut bytes, start).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note: "));
    let said = lines.collect::<Vec<_>>().join(" ");
    (!said.is_empty()).then_some(said)
}
