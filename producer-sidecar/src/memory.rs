//! The allocator.
//!
//! Media comes and goes in blocks of 128 KiB (`media::block`) of which a small group fills a part. Where a block is put into
//! a piece of memory that was used before, all of it counts, whether it is written to again or not; so the blocks have to
//! be taken from the kernel anew and be given back at once. jemalloc does so from a size on that can be set (in
//! `.cargo/config.toml`, which says what each setting is for). glibc's allocator maps a block of its own only where no free
//! piece of its heap has room: 50 feeds took 6 MiB more after half an hour of outages.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
