//! A loaded library, and one call of it.

use super::interface::{Arguments, ArrayAndSchema, ArrowArray, ArrowSchema, Run, RunResult};
use crate::value::ValueType;
use arrow::alloc::Allocation;
use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, CString, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;

/// A library that was loaded, and stays so until the process ends: what it gave may point into it, and its threads run in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawLibrary {
    run: Run,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) enum RawRun {
    /// An array, valid in itself.
    Given(ArrayRef),
    /// The function panicked.
    Panicked,
    /// It gave what is no valid array of the wanted type.
    Malformed(String),
}

impl RawLibrary {
    /// Loads a library that has `__run`.
    ///
    /// # Errors
    /// What the system's loader says.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let handle = open(path)?;
        let run =
            symbol(handle, c"__run").ok_or("it has no __run: it is no library of a function that is not async")?;
        // SAFETY: Arroyo's interface gives `__run` this type, and the library is never unloaded.
        let run = unsafe { std::mem::transmute::<*mut c_void, Run>(run) };
        Ok(Self { run })
    }

    /// Calls it. Arguments are arrays of the function's types and of one length.
    pub(crate) fn run(self, arguments: &[ArrayRef], returns: ValueType) -> RawRun {
        let given: Vec<ArrayAndSchema> = arguments.iter().map(exported).collect();
        // SAFETY: `__run` is what it was loaded as; it takes over the arguments, which `given_away` laid out as it frees them.
        match unsafe { (self.run)(given_away(given)) } {
            RunResult::Err => RawRun::Panicked,
            RunResult::Ok(result) => match imported(result, returns) {
                Ok(array) => RawRun::Given(array),
                Err(why) => RawRun::Malformed(why),
            },
        }
    }
}

/// Loads a library for good.
pub(super) fn open(path: &Path) -> Result<NonNull<c_void>, String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| "its path has a zero byte".to_owned())?;
    // SAFETY: the path is a C string. What the library does when it is loaded is its own; whoever calls this has checked that it is
    // one that was built from a function's source.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    NonNull::new(handle).ok_or_else(loader_says)
}

/// What a loaded library has under a name.
pub(super) fn symbol(library: NonNull<c_void>, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the library was loaded and stays so, the name is a C string.
    let found = unsafe { libc::dlsym(library.as_ptr(), name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

fn loader_says() -> String {
    // SAFETY: it gives null, or a C string that is good until the next call of the loader in this thread.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "the system's loader does not say why".to_owned();
    }
    // SAFETY: see above; it is copied at once.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}

/// The arguments as a buffer that the library frees as a `Vec` of its own, which means with the system's allocator.
pub(super) fn given_away(arguments: Vec<ArrayAndSchema>) -> Arguments {
    let length = arguments.len();
    let layout = Layout::array::<ArrayAndSchema>(length).expect("a function has few arguments");
    // SAFETY: there is at least one argument, a declaration without any is refused: the layout's size is not zero.
    let pointer = unsafe { System.alloc(layout) }.cast::<ArrayAndSchema>();
    if pointer.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    for (index, argument) in arguments.into_iter().enumerate() {
        // SAFETY: there is room for `length` of them, the memory is fresh, and its layout is that of the type.
        unsafe { pointer.add(index).write(argument) };
    }
    Arguments { pointer, length, capacity: length, error: false }
}

/// What an exported array keeps alive until it is released.
struct Exported {
    pointers: [*const c_void; 3],
    _buffers: Vec<Buffer>,
}

pub(super) fn exported(array: &ArrayRef) -> ArrayAndSchema {
    let data = array.to_data();
    // An array's offset is in its buffers already, but for texts', whose offsets stand in them as they were sliced.
    let data = if data.offset() == 0 { data } else { compacted(&data) };
    let nulls = data.nulls().map(|nulls| nulls.inner().sliced());
    let mut buffers: Vec<Buffer> = nulls.iter().cloned().collect();
    buffers.extend(data.buffers().iter().cloned());
    let mut pointers = [null::<c_void>(); 3];
    pointers[0] = nulls.as_ref().map_or(null(), |nulls| nulls.as_ptr().cast());
    for (pointer, buffer) in pointers[1..].iter_mut().zip(data.buffers()) {
        *pointer = buffer.as_ptr().cast();
    }
    let n_buffers = 1 + data.buffers().len() as i64;
    let kept = Box::into_raw(Box::new(Exported { pointers, _buffers: buffers }));
    // SAFETY: it was a box a moment ago, and nobody else has it.
    let buffers = unsafe { &raw mut (*kept).pointers };
    let array = ArrowArray {
        length: data.len() as i64,
        null_count: data.null_count() as i64,
        offset: 0,
        n_buffers,
        n_children: 0,
        buffers: buffers.cast(),
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_array),
        private_data: kept.cast(),
    };
    let schema = ArrowSchema {
        format: format_of(&data).as_ptr(),
        name: c"".as_ptr(),
        metadata: null(),
        flags: NULLABLE,
        n_children: 0,
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_schema),
        private_data: null_mut(),
    };
    ArrayAndSchema { array, schema }
}

const NULLABLE: i64 = 2;

fn compacted(data: &ArrayData) -> ArrayData {
    let mut copy = arrow::array::MutableArrayData::new(vec![data], false, data.len());
    copy.try_extend(0, 0, data.len()).expect("a copy of all rows fits where they were");
    copy.freeze()
}

/// The interface's letter for a type; every type that functions take has one.
fn format_of(data: &ArrayData) -> &'static CStr {
    let known = ValueType::ALL.into_iter().find(|known| known.arrow() == *data.data_type());
    known.map_or(c"n", format)
}

fn format(value_type: ValueType) -> &'static CStr {
    match value_type {
        ValueType::I8 => c"c",
        ValueType::U8 => c"C",
        ValueType::I16 => c"s",
        ValueType::U16 => c"S",
        ValueType::I32 => c"i",
        ValueType::U32 => c"I",
        ValueType::I64 => c"l",
        ValueType::U64 => c"L",
        ValueType::F32 => c"f",
        ValueType::F64 => c"g",
        ValueType::Text => c"u",
        ValueType::Bytes => c"z",
    }
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: the interface says that it is called once, with the structure that it stands in: one that `exported` made, whose private
    // data is a box of `Exported`.
    unsafe {
        drop(Box::from_raw((*array).private_data.cast::<Exported>()));
        (*array).release = None;
    }
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: as above; a schema has nothing to free.
    unsafe { (*schema).release = None };
}

/// A foreign array, kept until nothing points into it any more.
struct Foreign(#[expect(dead_code, reason = "it is there to be dropped")] ArrowArray);

// SAFETY: the interface allows an array to be read and released from any thread, one at a time; nothing reads the structure.
unsafe impl Send for Foreign {}
// SAFETY: as above.
unsafe impl Sync for Foreign {}
impl std::panic::RefUnwindSafe for Foreign {}

/// Takes over what a call gave.
pub(super) fn imported(given: ArrayAndSchema, returns: ValueType) -> Result<ArrayRef, String> {
    let ArrayAndSchema { array, schema } = given;
    if schema.format.is_null() {
        return Err("its type has no name".to_owned());
    }
    // SAFETY: the interface says that it is a C string, good until the schema is released.
    let found = unsafe { CStr::from_ptr(schema.format) };
    if found != format(returns) {
        let found = OsStr::from_bytes(found.to_bytes()).to_string_lossy();
        return Err(format!("its type is '{found}' and not {}", returns.sql()));
    }
    let size = |number: i64, what: &str| usize::try_from(number).map_err(|_| format!("its {what} is {number}"));
    let (length, offset) = (size(array.length, "length")?, size(array.offset, "offset")?);
    let end = length.checked_add(offset).filter(|&end| end < 1 << 40).ok_or("its length is absurd")?;
    let variable = matches!(returns, ValueType::Text | ValueType::Bytes);
    let wanted = if variable { 3 } else { 2 };
    if array.n_buffers != wanted || array.buffers.is_null() {
        return Err(format!("it has {} buffers and not {wanted}", array.n_buffers));
    }
    // SAFETY: the interface says that `buffers` points to `n_buffers` pointers.
    let pointers = unsafe { std::slice::from_raw_parts(array.buffers, if variable { 3 } else { 2 }) }.to_vec();
    let owner: Arc<dyn Allocation> = Arc::new(Foreign(array));
    let nulls =
        NonNull::new(pointers[0].cast_mut()).map(|_| wrapped(pointers[0], end.div_ceil(8), 1, &owner)).transpose()?;
    let mut buffers = Vec::new();
    if variable {
        let offsets = if end == 0 && pointers[1].is_null() {
            Buffer::from_slice_ref([0_i32])
        } else {
            wrapped(pointers[1], (end + 1) * 4, 4, &owner)?
        };
        let last = offsets.typed_data::<i32>()[end];
        buffers.push(offsets);
        buffers.push(wrapped(pointers[2], size(i64::from(last), "last offset")?, 1, &owner)?);
    } else {
        let width = returns.arrow().primitive_width().ok_or("it is no number")?;
        buffers.push(wrapped(pointers[1], end * width, width, &owner)?);
    }
    let data = ArrayData::builder(returns.arrow()).len(length).offset(offset).null_bit_buffer(nulls).buffers(buffers);
    data.build().map(make_array).map_err(|error| error.to_string())
}

/// A foreign buffer, as it lies.
fn wrapped(pointer: *const c_void, bytes: usize, align: usize, owner: &Arc<dyn Allocation>) -> Result<Buffer, String> {
    let Some(start) = NonNull::new(pointer.cast_mut().cast::<u8>()) else {
        return if bytes == 0 {
            Ok(Buffer::from_vec(Vec::<u64>::new()))
        } else {
            Err("a buffer is missing".to_owned())
        };
    };
    if !(start.as_ptr() as usize).is_multiple_of(align) {
        return Err("a buffer is not aligned".to_owned());
    }
    // SAFETY: the interface says that the buffer has as many bytes as the array's length asks for, and that they stay until the array
    // is released, which its owner does.
    Ok(unsafe { Buffer::from_custom_allocation(start, bytes, Arc::clone(owner)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, BinaryArray, Int64Array, StringArray, new_empty_array};
    use arrow::compute::cast;
    use arrow::datatypes::DataType;

    /// A library's side: takes the arguments over, frees them as it would, and gives the last one back.
    unsafe extern "C-unwind" fn last(arguments: Arguments) -> RunResult {
        // SAFETY: `given_away` makes what a `Vec` of the system's allocator can take over; tests have no other allocator.
        let mut all = unsafe { Vec::from_raw_parts(arguments.pointer, arguments.length, arguments.capacity) };
        match all.pop() {
            Some(last) if last.array.length > 0 => RunResult::Ok(last),
            _ => RunResult::Err,
        }
    }

    fn numbers(of: ValueType) -> ArrayRef {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(100), None]));
        cast(&numbers, &of.arrow())
            .or_else(|_| cast(&cast(&numbers, &ValueType::Text.arrow())?, &of.arrow()))
            .expect("a cast")
    }

    #[test]
    fn every_type_goes_there_and_back() {
        let library = RawLibrary { run: last };
        for of in ValueType::ALL {
            let array = numbers(of);
            for (start, length) in [(0, 5), (0, 1), (1, 3), (2, 2), (3, 2)] {
                let part = array.slice(start, length);
                let RawRun::Given(back) = library.run(&[numbers(ValueType::Text), part.clone()], of) else {
                    panic!("{of:?} {start} {length} does not come back");
                };
                assert_eq!(&back, &part, "{of:?} {start} {length}");
            }
            let empty = imported(exported(&new_empty_array(&of.arrow())), of).expect("an empty array");
            assert_eq!(empty.len(), 0);
        }
        assert!(matches!(library.run(&[new_empty_array(&DataType::Int64)], ValueType::I64), RawRun::Panicked));
    }

    #[test]
    fn what_is_given_lives_as_long_as_it_is_used() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["kept", "by its buffers"]));
        let given = exported(&text);
        drop(text);
        let back = imported(given, ValueType::Text).expect("texts");
        let part = back.slice(1, 1);
        drop(back);
        assert_eq!(part.as_string::<i32>().value(0), "by its buffers");
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"good", b"\xff\xfe"]));
        let refused = |change: fn(&mut ArrayAndSchema), wanted: ValueType| {
            let mut given = exported(&bytes);
            change(&mut given);
            imported(given, wanted).expect_err("a refusal")
        };
        assert_eq!(refused(|_| (), ValueType::I64), "its type is 'z' and not BIGINT");
        let why = refused(|given| given.schema.format = c"u".as_ptr(), ValueType::Text);
        assert!(why.to_lowercase().contains("utf8") || why.contains("UTF8"), "{why}");
        assert_eq!(refused(|given| given.array.length = -1, ValueType::Bytes), "its length is -1");
        assert_eq!(refused(|given| given.array.n_buffers = 2, ValueType::Bytes), "it has 2 buffers and not 3");
        assert_eq!(refused(|given| given.schema.format = null(), ValueType::Bytes), "its type has no name");
    }
}
