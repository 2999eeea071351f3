//! The worker's side.

use super::serve_async::serve_async;
use super::{BATCH, MALFORMED, PANICKED, Start, read_text, write_text};
use crate::declaration::{Declaration, Kind};
use crate::library::{Fault, Library, result_schema};
use crate::raw::{Confinement, RawAsyncLibrary, confine, take_standard_input};
use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use std::error::Error;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::time::Duration;

/// How often a worker looks whether its host is still there, while a call does not come back.
const HOST_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// What a worker process does until its host is gone. Standard input is the socket to it.
#[must_use]
pub fn serve_worker() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host reads it; when nobody does, nobody is there.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let host = parent_id();
    let socket = UnixStream::from(take_standard_input()?);
    let mut input = BufReader::new(socket.try_clone()?);
    let mut output = BufWriter::new(socket);
    let start: Start = serde_json::from_slice(&read_text(&mut input)?)?;
    std::thread::Builder::new().name("host-watch".to_owned()).stack_size(64 << 10).spawn(move || {
        while parent_id() == host {
            std::thread::sleep(HOST_LOOKED_AT_EVERY);
        }
        exit(1);
    })?;
    let limits = Confinement { memory_bytes_max: start.memory_bytes_max, network: start.network };
    let confined = confine(limits).map_err(|error| format!("its limits cannot be set: {error}"));
    let declaration = &start.declaration;
    if let Kind::Async(options) = declaration.kind {
        return match confined.and_then(|()| RawAsyncLibrary::load(&start.library)) {
            Ok(library) => serve_async(library, declaration, options, input, output),
            Err(why) => refuse(&mut output, &why),
        };
    }
    match confined.and_then(|()| Library::load(&start.library, declaration)) {
        Ok(library) => serve_calls(&library, declaration, input, output),
        Err(why) => refuse(&mut output, &why),
    }
}

fn refuse(output: &mut impl Write, why: &str) -> Result<(), Box<dyn Error>> {
    output.write_all(&[MALFORMED])?;
    write_text(output, why.as_bytes())?;
    Ok(output.flush()?)
}

/// Says that the library is loaded; what comes now are batches.
pub(super) fn results<W: Write>(mut output: W, declaration: &Declaration) -> Result<StreamWriter<W>, Box<dyn Error>> {
    output.write_all(&[BATCH])?;
    let mut results = StreamWriter::try_new(output, &result_schema(declaration))?;
    results.get_mut().flush()?;
    Ok(results)
}

fn serve_calls(
    library: &Library,
    declaration: &Declaration,
    input: impl Read,
    output: impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut results = results(output, declaration)?;
    let schema = result_schema(declaration);
    for batch in StreamReader::try_new(input, None)? {
        match library.call(batch?.columns()) {
            Ok(column) => {
                results.get_mut().write_all(&[BATCH])?;
                results.write(&RecordBatch::try_new(Arc::clone(&schema), vec![column])?)?;
            }
            Err(Fault::Panicked) => {
                results.get_mut().write_all(&[PANICKED])?;
            }
            Err(Fault::Malformed(why)) => {
                results.get_mut().write_all(&[MALFORMED])?;
                write_text(results.get_mut(), why.as_bytes())?;
            }
        }
        results.get_mut().flush()?;
    }
    Ok(())
}
