//! What a worker process takes from itself before it loads a library.

use std::io;

/// Limits of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confinement {
    /// How much address space may be asked for beyond what there is now, in bytes.
    pub(crate) memory_bytes_max: u64,
    /// Whether sockets may be opened.
    pub(crate) network: bool,
}

/// Sets the limits, for good.
///
/// # Errors
/// When the system refuses.
pub(crate) fn confine(limits: Confinement) -> io::Result<()> {
    let used = address_space_bytes().unwrap_or(0);
    limit(libc::RLIMIT_AS, used.saturating_add(limits.memory_bytes_max))?;
    // A core file of every worker that dies would fill the disk.
    limit(libc::RLIMIT_CORE, 0)?;
    if limits.network { Ok(()) } else { without_sockets() }
}

/// How much address space this process has, where the system tells.
fn address_space_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').next()?.parse().ok()?;
    // SAFETY: it takes a number and gives one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the structure is there and filled in.
    let done = unsafe { libc::setrlimit(resource, &raw const limit) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes every attempt to open a socket fail with "permission denied", by a filter of system calls.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn without_sockets() -> io::Result<()> {
    use libc::{
        BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO,
    };
    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xC000_003E;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xC000_00B7;
    // Where a `seccomp_data` has the call's number and the architecture that it is one of.
    const NUMBER: u32 = 0;
    const ARCHITECTURE_AT: u32 = 4;
    // Numbers from here on are those of x86's other calling convention.
    const OTHER_CONVENTION: u32 = 0x4000_0000;
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: u32| step(BPF_LD | BPF_W | BPF_ABS, 0, 0, at);
    // Jumps are counted from the next step; the last two say no and yes.
    let mut steps = [
        load(ARCHITECTURE_AT),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, ARCHITECTURE),
        load(NUMBER),
        step(BPF_JMP | BPF_JGE | BPF_K, 3, 0, OTHER_CONVENTION),
        step(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, libc::SYS_socket as u32),
        // It could open sockets without calling `socket`.
        step(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, libc::SYS_io_uring_setup as u32),
        step(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW),
        step(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | libc::EACCES as u32),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: it takes numbers alone. Without it only root could set a filter.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the program and its steps are there until the call is back; the system copies and checks them.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// There is no such filter here: sockets can be opened.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn without_sockets() -> io::Result<()> {
    Ok(())
}
