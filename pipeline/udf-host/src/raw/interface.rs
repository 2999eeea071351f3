//! The C structures of Arroyo's interface (`arroyo-udf-common` 0.2), and of the [Arrow C Data Interface] that it is built on.
//!
//! They are declared here again because the crate that declares them is built with another Arrow. Both sides are Rust with `repr(C)`,
//! so that passing them by value is the same for both.
//!
//! [Arrow C Data Interface]: https://arrow.apache.org/docs/format/CDataInterface.html

use async_ffi::FfiFuture;
use std::ffi::{c_char, c_void};

/// `struct ArrowSchema`: the type of an array.
#[repr(C)]
pub(crate) struct ArrowSchema {
    pub(crate) format: *const c_char,
    pub(crate) name: *const c_char,
    pub(crate) metadata: *const c_char,
    pub(crate) flags: i64,
    pub(crate) n_children: i64,
    pub(crate) children: *mut *mut ArrowSchema,
    pub(crate) dictionary: *mut ArrowSchema,
    pub(crate) release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    pub(crate) private_data: *mut c_void,
}

/// `struct ArrowArray`: the buffers of an array.
#[repr(C)]
pub(crate) struct ArrowArray {
    pub(crate) length: i64,
    pub(crate) null_count: i64,
    pub(crate) offset: i64,
    pub(crate) n_buffers: i64,
    pub(crate) n_children: i64,
    pub(crate) buffers: *mut *const c_void,
    pub(crate) children: *mut *mut ArrowArray,
    pub(crate) dictionary: *mut ArrowArray,
    pub(crate) release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    pub(crate) private_data: *mut c_void,
}

/// `FfiArraySchema`.
#[repr(C)]
pub(crate) struct ArrayAndSchema {
    pub(crate) array: ArrowArray,
    pub(crate) schema: ArrowSchema,
}

/// `FfiArrays`: a `Vec` of arguments that the library takes over and frees.
#[repr(C)]
pub(crate) struct Arguments {
    pub(crate) pointer: *mut ArrayAndSchema,
    pub(crate) length: usize,
    pub(crate) capacity: usize,
    pub(crate) error: bool,
}

/// `RunResult`.
#[repr(C)]
#[cfg_attr(not(test), expect(dead_code, reason = "libraries make it"))]
pub(crate) enum RunResult {
    /// One array.
    Ok(ArrayAndSchema),
    /// It panicked.
    Err,
}

/// `__run`.
pub(crate) type Run = unsafe extern "C-unwind" fn(Arguments) -> RunResult;

/// `SendableFfiAsyncUdfHandle`: a thread of the library that runs futures.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuntimeHandle {
    pointer: *mut c_void,
}

/// `DrainResult`.
#[repr(C)]
#[expect(dead_code, reason = "libraries make it")]
pub(crate) enum DrainResult {
    /// Two arrays of one length: ids of rows, and results.
    Data(Arguments),
    /// No results since they were asked for last.
    None,
    /// The thread panicked while it held the results.
    Error,
}

/// `__start`: whether results are ordered, how many microseconds a row may take, and how many rows are taken at a time.
pub(crate) type Start = unsafe extern "C-unwind" fn(bool, u64, u32) -> RuntimeHandle;
/// `__send`: a row's id and its values, as arrays of one row.
pub(crate) type Send = unsafe extern "C-unwind" fn(RuntimeHandle, u64, Arguments) -> FfiFuture<bool>;
/// `__drain_results`.
pub(crate) type Drain = unsafe extern "C-unwind" fn(RuntimeHandle) -> DrainResult;
/// `__stop_runtime`.
pub(crate) type Stop = unsafe extern "C-unwind" fn(RuntimeHandle);

impl Drop for ArrowArray {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: whoever filled `release` in made it for this structure; it is called once, since there is none afterwards.
            unsafe { release(self) };
            self.release = None;
        }
    }
}

impl Drop for ArrowSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as for an array.
            unsafe { release(self) };
            self.release = None;
        }
    }
}
