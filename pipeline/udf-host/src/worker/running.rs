//! The host's side of a worker that runs an async function: rows are given to it, and what it says comes when it does.

use super::process::{PRINTED_BYTES_MAX, Started, end, start, status_text, tail};
use super::{BATCH, BLOCKED, LOST, read_text};
use crate::declaration::Declaration;
use crate::library::argument_schema;
use crate::settings::Settings;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A worker that does not read what it is sent for so long has its thread blocked: it reads ahead.
const READS_WITHIN: Duration = Duration::from_secs(2);

/// What a worker says.
#[derive(Debug)]
pub(crate) enum Said {
    /// Results, by the ids of rows.
    Results(Vec<u64>, ArrayRef),
    /// The function panicked while it had these rows, which are lost; the worker goes on.
    Lost(Vec<u64>, String),
    /// The worker is no more.
    Ended(String),
}

/// A running worker. It is killed when this is dropped.
pub(crate) struct Running {
    child: Arc<Mutex<Child>>,
    schema: SchemaRef,
    calls: StreamWriter<BufWriter<UnixStream>>,
}

impl Running {
    /// Starts `program` with a library; `hear` is called from a thread of its own with what the worker says, [`Said::Ended`] last.
    ///
    /// # Errors
    /// When it cannot be started, or cannot load the library.
    pub(crate) fn start(
        program: &[&OsStr],
        library: &Path,
        declaration: &Declaration,
        settings: &Settings,
        hear: impl Fn(Said) + Send + 'static,
    ) -> Result<Self, String> {
        let Started { child, socket, calls, results, printed, .. } = start(program, library, declaration, settings)?;
        let schema = argument_schema(declaration);
        let streams = StreamWriter::try_new(calls, &schema).and_then(|mut calls| {
            calls.get_mut().flush()?;
            Ok((calls, StreamReader::try_new(results, None)?))
        });
        let (calls, results) = streams.map_err(|error| format!("a worker does not start: {error}"))?;
        let limits = socket.set_read_timeout(None).and_then(|()| socket.set_write_timeout(Some(READS_WITHIN)));
        let child = Arc::new(Mutex::new(child));
        let ending = Arc::clone(&child);
        let heard = limits.and_then(|()| {
            std::thread::Builder::new()
                .name("udf-results".to_owned())
                .spawn(move || hear(Said::Ended(listen(results, &printed, &ending, &hear))))
        });
        let running = Self { child, schema, calls };
        heard.map(|_| running).map_err(|error| format!("no worker can be started: {error}"))
    }

    /// Gives it rows, which were checked to be of its columns. When it is gone, or does not read them, it says that it has ended.
    pub(crate) fn send(&mut self, ids: &[u64], columns: &[ArrayRef]) -> Result<(), ArrowError> {
        let ids: ArrayRef = Arc::new(UInt64Array::from(ids.to_vec()));
        let columns = [ids].into_iter().chain(columns.iter().cloned()).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let sent = self.calls.write(&batch).and_then(|()| Ok(self.calls.get_mut().flush()?));
        if sent.is_err() {
            self.kill();
        }
        Ok(())
    }

    fn kill(&self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Hears a worker until it ends; gives why it did.
fn listen(
    mut results: StreamReader<BufReader<UnixStream>>,
    printed: &File,
    child: &Mutex<Child>,
    hear: &impl Fn(Said),
) -> String {
    // What it has printed before that.
    let mut since = 0;
    let error = loop {
        match said(&mut results, printed, &mut since) {
            Ok(said) => {
                if printed.metadata().is_ok_and(|printed| printed.len() > PRINTED_BYTES_MAX) {
                    // The worker goes on where it was: what was before takes no room any more.
                    let _ = printed.set_len(0);
                }
                hear(said);
            }
            Err(error) => break error,
        }
    };
    let status = end(&mut child.lock().unwrap_or_else(PoisonError::into_inner));
    let said = tail(printed, since).map(|said| format!(": {said}")).unwrap_or_default();
    match (status, error) {
        (Some(status), _) if status.code() == Some(BLOCKED) => "it blocks its thread".to_owned(),
        (Some(status), _) => format!("its worker {}{said}", status_text(status)),
        (None, ArrowError::IoError(..)) => format!("its worker was killed{said}"),
        // It lives, and yet what it sent cannot be read.
        (None, error) => format!("what its worker sent is not understood: {error}{said}"),
    }
}

fn said(
    results: &mut StreamReader<BufReader<UnixStream>>,
    printed: &File,
    since: &mut u64,
) -> Result<Said, ArrowError> {
    let mut kind = [0];
    results.get_mut().read_exact(&mut kind)?;
    match kind[0] {
        BATCH => match results.next().transpose()? {
            Some(batch) if batch.num_columns() == 2 && batch.column(0).null_count() == 0 => {
                let ids = batch.column(0).as_primitive_opt::<UInt64Type>();
                let ids = ids.ok_or_else(|| ArrowError::IpcError("it has no ids".to_owned()))?;
                Ok(Said::Results(ids.values().to_vec(), Arc::clone(batch.column(1))))
            }
            _ => Err(ArrowError::IpcError("these are not the columns that were asked for".to_owned())),
        },
        LOST => {
            let bytes = read_text(results.get_mut())?;
            let (ids, _) = bytes.as_chunks::<8>();
            let ids = ids.iter().map(|id| u64::from_le_bytes(*id)).collect();
            let said = tail(printed, *since).map(|said| format!(": {said}")).unwrap_or_default();
            *since = printed.metadata().map_or(0, |printed| printed.len());
            Ok(Said::Lost(ids, format!("panicked{said}")))
        }
        _ => Err(ArrowError::IpcError("it is no message".to_owned())),
    }
}
