//! The C library's allocator, told to give memory back.
//!
//! By default glibc keeps an arena for every few threads, and what was freed stays in it. A star that listed wide
//! directories on many threads would hold hundreds of megabytes for as long as it lives.

/// Arenas. Threads that allocate at the same moment wait for each other a little; files take longer.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 2;
/// Allocations of this size and more get pages of their own, which go back when they are freed. Set, it stays: glibc
/// would raise it to what was freed last.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_PAGES_BYTES: libc::c_int = 256 << 10;

/// Sets it up, before threads are started. Elsewhere than with glibc nothing is done.
#[allow(unsafe_code, reason = "mallopt has no safe wrapper")]
pub(super) fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers and sets parameters of the allocator; it is thread-safe, and a value that it
    // does not like is ignored.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, OWN_PAGES_BYTES);
    }
}
