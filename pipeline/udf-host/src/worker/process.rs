//! The host's side.

use super::{BATCH, PANICKED, Start, read_text, write_text};
use crate::declaration::Declaration;
use crate::library::argument_schema;
use crate::settings::Settings;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// At most so much of what a function printed stands in a reason.
const SAID_BYTES_MAX: u64 = 500;
/// When a function has printed so much, it is thrown away.
pub(super) const PRINTED_BYTES_MAX: u64 = 1 << 20;
/// How long a worker may take to start: a machine that is busy is not a worker that hangs.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running worker. It is killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    schema: SchemaRef,
    socket: UnixStream,
    calls: StreamWriter<BufWriter<UnixStream>>,
    results: StreamReader<BufReader<UnixStream>>,
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
        let Started { child, socket, calls, results, printed, schema } =
            start(program, library, declaration, settings)?;
        Ok(Self { child, schema, socket, calls, results, printed, printed_before: 0 })
    }

    /// Calls the function.
    pub(crate) fn call(&mut self, columns: &[ArrayRef], limit: Duration) -> Result<ArrayRef, Failure> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns.to_vec());
        let batch = batch.map_err(|error| Failure::Function(error.to_string()))?;
        match self.exchange(&batch, limit) {
            Ok(Ok(column)) => {
                self.forget_printed();
                Ok(column)
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

    /// A column; or what the worker says instead.
    fn exchange(&mut self, batch: &RecordBatch, limit: Duration) -> Result<Result<ArrayRef, String>, ArrowError> {
        self.socket.set_read_timeout(Some(limit))?;
        self.socket.set_write_timeout(Some(limit))?;
        self.calls.write(batch)?;
        self.calls.get_mut().flush()?;
        let mut kind = [0];
        self.results.get_mut().read_exact(&mut kind)?;
        match kind[0] {
            BATCH => match self.results.next().transpose()? {
                Some(result) if result.num_rows() == batch.num_rows() && result.num_columns() == 1 => {
                    Ok(Ok(Arc::clone(result.column(0))))
                }
                _ => Err(ArrowError::IpcError("it is not the column that was asked for".to_owned())),
            },
            PANICKED => Ok(Err("panicked".to_owned())),
            _ => {
                let why = String::from_utf8_lossy(&read_text(self.results.get_mut())?).into_owned();
                Ok(Err(format!("what it gave is malformed: {why}")))
            }
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
    pub(super) calls: StreamWriter<BufWriter<UnixStream>>,
    pub(super) results: StreamReader<BufReader<UnixStream>>,
    pub(super) printed: File,
    /// The columns that it is called with.
    pub(super) schema: SchemaRef,
}

/// Starts `program`, and has it load a library.
pub(super) fn start(
    program: &[&OsStr],
    library: &Path,
    declaration: &Declaration,
    settings: &Settings,
) -> Result<Started, String> {
    let (mut child, socket, printed) = spawn(program).map_err(|error| format!("no worker can be started: {error}"))?;
    let schema = argument_schema(declaration);
    let start = Start {
        library: library.to_owned(),
        declaration: declaration.clone(),
        memory_bytes_max: settings.memory_limit_bytes,
        network: settings.network,
    };
    match greet(&socket, &start, &schema) {
        Ok((calls, results)) => Ok(Started { child, socket, calls, results, printed, schema }),
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
    Failed(ArrowError),
}

impl<E: Into<ArrowError>> From<E> for Greeting {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

type Streams = (StreamWriter<BufWriter<UnixStream>>, StreamReader<BufReader<UnixStream>>);

fn greet(socket: &UnixStream, start: &Start, schema: &SchemaRef) -> Result<Streams, Greeting> {
    socket.set_read_timeout(Some(START_LIMIT))?;
    socket.set_write_timeout(Some(START_LIMIT))?;
    let mut output = BufWriter::new(socket.try_clone()?);
    let start = serde_json::to_vec(start).map_err(io::Error::other)?;
    write_text(&mut output, &start)?;
    let mut calls = StreamWriter::try_new(output, schema)?;
    calls.get_mut().flush()?;
    let mut input = BufReader::new(socket.try_clone()?);
    let mut kind = [0];
    input.read_exact(&mut kind)?;
    if kind[0] != BATCH {
        return Err(Greeting::Refused(String::from_utf8_lossy(&read_text(&mut input)?).into_owned()));
    }
    Ok((calls, StreamReader::try_new(input, None)?))
}

fn spawn(program: &[&OsStr]) -> io::Result<(Child, UnixStream, File)> {
    let (name, arguments) = program.split_first().ok_or(io::ErrorKind::NotFound)?;
    let (ours, theirs) = UnixStream::pair()?;
    let printed = tempfile::tempfile()?;
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
    command.stdout(Stdio::from(printed.try_clone()?)).stderr(Stdio::from(printed.try_clone()?));
    // What a function gives depends on its arguments alone; and the host's secrets are none of its business.
    command.env_clear();
    // Ctrl-C in the terminal is for the host, which finishes what it has begun.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok((command.spawn()?, ours, printed))
}

/// Ends it; how it ended if it did so by itself.
pub(super) fn end(child: &mut Child) -> Option<ExitStatus> {
    // One that is on its way out ends as it would have.
    let killed = child.kill();
    let status = child.wait().ok()?;
    (killed.is_err() || status.signal() != Some(libc::SIGKILL)).then_some(status)
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
