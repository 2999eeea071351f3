//! A loaded library of an async function, and the thread in it that runs its futures.
//!
//! ```text
//! start ─▶ send, send, …  ─▶ drain: ids and results ─▶ …
//!             │ false: the thread has panicked          │ dead: so it has
//!             └──────────────▶ start another one ◀──────┘
//! ```
//!
//! A panic of one row's future ends the thread, and with it all rows that it had. Rows that were sent before can be the last ones, and nothing in
//! the interface tells then; so the thread itself is looked at, where the system shows a process's threads.

use super::interface::{Arguments, ArrayAndSchema, Drain, DrainResult, RuntimeHandle, Send, Start, Stop};
use super::library::{exported, given_away, imported, open, symbol};
use crate::value::ValueType;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::UInt64Type;
use futures::executor::block_on;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::path::{Path, PathBuf};

/// The library gives a row's future up after so many microseconds: a year. Whoever calls it gives up before, without the panic that
/// the library's own way is.
const TIMEOUT_MICROS: u64 = 365 * 86_400 * 1_000_000;

/// A library that was loaded, and stays so until the process ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAsyncLibrary {
    start: Start,
    send: Send,
    drain: Drain,
    stop: Stop,
}

/// A thread of a library that runs futures.
#[derive(Debug)]
pub(crate) struct RawRuntime {
    library: RawAsyncLibrary,
    handle: RuntimeHandle,
    /// Where the system shows the thread, if it does.
    thread: Option<PathBuf>,
}

/// What a thread has come to since it was asked last.
#[derive(Debug)]
pub(crate) enum Drained {
    /// Results, by the ids of rows.
    Results(Vec<u64>, ArrayRef),
    /// None.
    Nothing,
    /// It has panicked. Results that were not drained are lost.
    Dead,
    /// It gave what are no valid arrays of the wanted types.
    Malformed(String),
}

impl RawAsyncLibrary {
    /// Loads a library that has `__start` and what belongs to it.
    ///
    /// # Errors
    /// What the system's loader says.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let library = open(path)?;
        let found = |name| symbol(library, name).ok_or("it has no __start: it is no library of an async function");
        let (start, send) = (found(c"__start")?, found(c"__send")?);
        let (drain, stop) = (found(c"__drain_results")?, found(c"__stop_runtime")?);
        // SAFETY: Arroyo's interface gives these names these types, and the library is never unloaded.
        unsafe {
            Ok(Self {
                start: std::mem::transmute::<*mut c_void, Start>(start),
                send: std::mem::transmute::<*mut c_void, Send>(send),
                drain: std::mem::transmute::<*mut c_void, Drain>(drain),
                stop: std::mem::transmute::<*mut c_void, Stop>(stop),
            })
        }
    }
}

impl RawRuntime {
    /// Starts a thread.
    pub(crate) fn start(library: RawAsyncLibrary) -> Self {
        let before = threads();
        // SAFETY: it is what it was loaded as; it takes numbers alone. Results need no order: ids say whose they are. How many rows there
        // are at a time is the caller's business.
        let handle = unsafe { (library.start)(false, TIMEOUT_MICROS, u32::MAX) };
        let thread = threads().difference(&before).next().cloned();
        Self { library, handle, thread }
    }

    /// Gives it a row: arrays of one row each, NULL only where the function takes it. Waits until the thread has taken the row before;
    /// `false` when it has panicked.
    pub(crate) fn send(&self, id: u64, row: &[ArrayRef]) -> bool {
        let given: Vec<ArrayAndSchema> = row.iter().map(exported).collect();
        // SAFETY: it is what it was loaded as, the handle is of a runtime that is not stopped yet; it takes over the arguments.
        block_on(unsafe { (self.library.send)(self.handle, id, given_away(given)) })
    }

    /// What it has come to.
    pub(crate) fn drain(&self, returns: ValueType) -> Drained {
        // SAFETY: as for `send`.
        match unsafe { (self.library.drain)(self.handle) } {
            DrainResult::None => Drained::Nothing,
            DrainResult::Error => Drained::Dead,
            DrainResult::Data(arrays) => {
                let mut arrays = taken_over(&arrays).into_iter();
                let (Some(ids), Some(results), None) = (arrays.next(), arrays.next(), arrays.next()) else {
                    return Drained::Malformed("it is not two arrays".to_owned());
                };
                let arrays = imported(ids, ValueType::U64).and_then(|ids| Ok((ids, imported(results, returns)?)));
                match arrays {
                    Ok((ids, results)) if ids.len() == results.len() => {
                        Drained::Results(ids.as_primitive::<UInt64Type>().values().to_vec(), results)
                    }
                    Ok(_) => Drained::Malformed("there are not as many results as ids".to_owned()),
                    Err(why) => Drained::Malformed(why),
                }
            }
        }
    }

    /// Where the system shows the thread, if it does.
    pub(crate) fn thread(&self) -> Option<&Path> {
        self.thread.as_deref()
    }

    /// Whether its thread is there; `true` where the system does not show threads.
    pub(crate) fn lives(&self) -> bool {
        self.thread.as_ref().is_none_or(|thread| thread.exists())
    }
}

impl Drop for RawRuntime {
    fn drop(&mut self) {
        // SAFETY: as for `send`; nobody has the handle afterwards.
        unsafe { (self.library.stop)(self.handle) };
    }
}

/// Whether a thread waits for something to happen, as a runtime does that has no future to run; `None` where the system does not show it.
pub(crate) fn waits(thread: &Path) -> Option<bool> {
    let call = std::fs::read_to_string(thread.join("syscall")).ok()?;
    let number: libc::c_long = call.split(' ').next()?.trim().parse().unwrap_or(-1);
    // What a runtime waits with depends on whether its library can open sockets.
    #[cfg(target_arch = "x86_64")]
    let waiting = [libc::SYS_futex, libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
    #[cfg(not(target_arch = "x86_64"))]
    let waiting = [libc::SYS_futex, libc::SYS_epoll_pwait];
    Some(waiting.contains(&number))
}

/// The threads of this process, where the system shows them.
fn threads() -> BTreeSet<PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task");
    tasks.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The arrays of a buffer that the library made as a `Vec` of its own, which means with the system's allocator; frees the buffer.
fn taken_over(arrays: &Arguments) -> Vec<ArrayAndSchema> {
    if arrays.pointer.is_null() || arrays.capacity < arrays.length || arrays.capacity == 0 {
        return Vec::new();
    }
    // SAFETY: the interface says that there are `length` of them, which nobody else owns.
    let taken = (0..arrays.length).map(|index| unsafe { arrays.pointer.add(index).read() }).collect();
    if let Ok(layout) = Layout::array::<ArrayAndSchema>(arrays.capacity) {
        // SAFETY: it was allocated so, see above; what was in it has been moved out.
        unsafe { System.dealloc(arrays.pointer.cast(), layout) };
    }
    taken
}
