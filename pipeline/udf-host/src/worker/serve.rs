//! The worker's side.

use super::{BATCH, MALFORMED, PANICKED, Start, read_text, write_text};
use crate::library::{Fault, Library};
use crate::raw::{Confinement, confine, take_standard_input};
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use std::error::Error;
use std::io::{BufReader, BufWriter, Write};
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
    let library = match confined.and_then(|()| Library::load(&start.library, &start.declaration)) {
        Ok(library) => library,
        Err(why) => {
            output.write_all(&[MALFORMED])?;
            write_text(&mut output, why.as_bytes())?;
            return Ok(output.flush()?);
        }
    };
    output.write_all(&[BATCH])?;
    let result = Field::new("result", start.declaration.returns.value_type.arrow(), true);
    let schema = Arc::new(Schema::new(vec![result]));
    let mut results = StreamWriter::try_new(output, &schema)?;
    results.get_mut().flush()?;
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
