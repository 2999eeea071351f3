//! Memory that a host and its worker have in common: a file without a name, which the host reads and writes and the worker maps.

use arrow::array::{ArrayData, ArrayDataBuilder};
use arrow::buffer::Buffer;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

/// A file that is memory alone.
///
/// # Errors
/// When the system refuses.
#[cfg(target_os = "linux")]
pub(crate) fn memory_file() -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string.
    let file = unsafe { libc::memfd_create(c"udf".as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was opened a moment ago, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(file) })
}

/// A file that nobody else finds.
#[cfg(not(target_os = "linux"))]
pub(crate) fn memory_file() -> io::Result<File> {
    tempfile::tempfile()
}

/// What a worker is started with.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Its standard input was the socket to its host.
    pub(crate) socket: OwnedFd,
    /// Its standard output was the memory that it shares with its host.
    pub(crate) memory: File,
}

/// Takes them over. Standard input has ended then, and standard output goes where errors go.
///
/// # Errors
/// When the system refuses.
pub(crate) fn take_standard_streams() -> io::Result<Streams> {
    use std::os::fd::AsFd;
    let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
    let socket = input.as_fd().try_clone_to_owned()?;
    let memory = File::from(output.as_fd().try_clone_to_owned()?);
    replaced(input.as_fd(), File::open("/dev/null")?.as_fd())?;
    replaced(output.as_fd(), errors.as_fd())?;
    Ok(Streams { socket, memory })
}

fn replaced(stream: BorrowedFd<'_>, with: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open.
    let done = unsafe { libc::dup2(with.as_raw_fd(), stream.as_raw_fd()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A mapped part of a file, unmapped when nothing points into it any more.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is memory that is only read; unmapping is allowed from any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}
impl std::panic::RefUnwindSafe for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing points into it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// So many bytes of a file as memory that cannot be written to; the file gets as long as that if it is shorter. For a worker alone: whoever
/// else has the file can change or shorten it under its reader, of which its host must not die.
///
/// # Errors
/// When there is no room, or the address space is used up.
pub(crate) fn mapped(file: &File, at: u64, bytes: usize) -> io::Result<Buffer> {
    let offset = libc::off_t::try_from(at).map_err(io::Error::other)?;
    if file.metadata()?.len() < at + bytes as u64 {
        file.set_len(at + bytes as u64)?;
    }
    // SAFETY: a new mapping takes nobody's place.
    let start = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), offset) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
    let mapping = Arc::new(Mapping { start, bytes });
    // SAFETY: so many bytes are mapped until the mapping is dropped. The host writes to them between calls alone, when the worker has no
    // array that points into them; a library that keeps its arguments beyond the call sees them change, in its own process.
    Ok(unsafe { Buffer::from_custom_allocation(start, bytes, mapping) })
}

/// An array that a host has laid down for its worker, which it was valid for. For a worker alone.
pub(crate) fn believed(data: ArrayDataBuilder) -> ArrayData {
    // SAFETY: the host lays down what its own valid arrays have, and nobody but the library in this process could have changed it since.
    unsafe { data.build_unchecked() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_written_is_seen() {
        let file = memory_file().expect("memory");
        assert!(mapped(&file, 0, 0).is_err(), "there is no such mapping");
        file.write_all_at(b"before", 1 << 20).expect("room");
        let buffer = mapped(&file, 1 << 20, 6).expect("a mapping");
        assert_eq!(buffer.as_slice(), b"before");
        file.write_all_at(b"behind", 1 << 20).expect("room");
        assert_eq!(mapped(&file, 1 << 20, 6).expect("a mapping").as_slice(), b"behind");
        let part = buffer.slice_with_length(2, 3);
        drop(buffer);
        assert_eq!(part.as_slice(), b"hin", "a part keeps the mapping");
    }
}
