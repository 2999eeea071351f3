//! The worker's side.

use super::memory::{Layout, Memory};
use super::serve_async::serve_async;
use super::{BATCH, MALFORMED, PANICKED, Start, read_text, write_text};
use crate::declaration::{Declaration, Kind};
use crate::library::{Fault, Library, argument_schema};
use crate::raw::{Confinement, RawAsyncLibrary, Streams, confine, take_standard_streams};
use std::error::Error;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::process::{ExitCode, exit};
use std::time::Duration;

/// How often a worker looks whether its host is still there, while a call does not come back.
const HOST_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// What a worker process does until its host is gone. Standard input is the socket to it, standard output the memory that both have.
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
    let Streams { socket, memory } = take_standard_streams()?;
    let socket = UnixStream::from(socket);
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
        Ok(library) => serve_calls(&library, declaration, Memory::new(memory), input, output),
        Err(why) => refuse(&mut output, &why),
    }
}

fn refuse(output: &mut impl Write, why: &str) -> Result<(), Box<dyn Error>> {
    output.write_all(&[MALFORMED])?;
    write_text(output, why.as_bytes())?;
    Ok(output.flush()?)
}

fn serve_calls(
    library: &Library,
    declaration: &Declaration,
    mut memory: Memory,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), Box<dyn Error>> {
    output.write_all(&[BATCH])?;
    output.flush()?;
    let schema = argument_schema(declaration);
    loop {
        let given = match read_text(&mut input) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            given => given?,
        };
        let given = Layout::from_bytes(&given).ok_or("its host does not say what it is given")?;
        let columns = memory.take(&given, schema.fields().iter().map(|field| field.data_type()))?;
        let result = library.call(&columns);
        drop(columns);
        match result {
            Ok(column) => {
                let answer = memory.answer(&column, given.slot())?;
                output.write_all(&[BATCH])?;
                write_text(&mut output, &answer.to_bytes())?;
            }
            Err(Fault::Panicked) => output.write_all(&[PANICKED])?,
            Err(Fault::Malformed(why)) => {
                output.write_all(&[MALFORMED])?;
                write_text(&mut output, why.as_bytes())?;
            }
        }
        output.flush()?;
    }
}
