//! Worker processes: `chalk` itself, started again with one library in it.
//!
//! ```text
//! host                                       worker
//!   start: what to load, limits ───────────▶   limits itself, loads the library
//!                             ◀───────────   ready, or why not
//!   where columns lie in memory ───────────▶   calls the function
//!                             ◀───────────   where its column lies; or: panicked; or: malformed, and why
//!   where columns lie …
//! ```
//!
//! Both directions are one socket, the worker's standard input; columns are in memory that both have, its standard output at first
//! (`memory.rs`). What the function prints goes to a file that the host reads when something went wrong: that is where a panic's
//! message is. A worker ends when the socket does, or its host.
//!
//! Texts have a little-endian `u32` of bytes before them; the start is JSON, a layout `u64`s. A message to the host begins with a byte: 0 a
//! layout follows (to the start: nothing), 1 it panicked, 2 it gave something malformed, or did not load, and a text follows that says what.
//!
//! Of an async function both directions go on at once, as Arrow IPC streams through the socket; batches have a first column with the ids of rows:
//!
//! ```text
//!   ids and columns ───────────────────────▶   gives each row to the library's thread
//!   ids and columns ───────────────────────▶
//!                             ◀───────────   0, ids and a column, as results come
//!                             ◀───────────   or: lost, and the ids that the thread had when it panicked
//! ```
//!
//! Lost is the byte 3, then a `u32` of bytes and the ids, each a little-endian `u64`. A worker whose library's thread is
//! blocked ends with the exit code [`BLOCKED`].

mod memory;
mod process;
mod running;
mod serve;
mod serve_async;

pub(crate) use process::{Failure, Worker};
pub(crate) use running::{Running, Said};
pub use serve::serve_worker;

use crate::declaration::Declaration;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// The first message: as JSON after a `u32` of bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Start {
    library: PathBuf,
    declaration: Declaration,
    memory_bytes_max: u64,
    network: bool,
}

const BATCH: u8 = 0;
const PANICKED: u8 = 1;
const MALFORMED: u8 = 2;
const LOST: u8 = 3;

/// The exit code of a worker whose library's thread is blocked.
const BLOCKED: i32 = 75;

fn write_text(to: &mut impl Write, text: &[u8]) -> io::Result<()> {
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(text)
}

fn read_text(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut text = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut text)?;
    Ok(text)
}
