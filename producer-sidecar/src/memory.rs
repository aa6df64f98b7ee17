//! How the allocator is set up.
//!
//! glibc's takes its settings from the environment before anything of ours runs, so the process starts itself anew once. By
//! default it stops giving large pieces back one by one as soon as one was freed, and then holds for ever what it held once at
//! most: two to three times the media that waits, measured with 20 cameras.

/// Gives the process the settings, unless somebody has set some.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::set_up();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    const VARIABLE: &str = "GLIBC_TUNABLES";

    /// - Blocks of pictures (128 KiB, `media::block`) are mapped and unmapped one by one.
    /// - What is free at the end of the heap goes back from 1 MiB on.
    /// - The few threads beside the first, which look up names and read files, have no heaps of their own.
    const SETTINGS: &str =
        "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=1048576:glibc.malloc.arena_max=1";

    pub fn set_up() {
        if std::env::var_os(VARIABLE).is_some() {
            return;
        }
        let Ok(program) = std::env::current_exe() else { return };
        let mut arguments = std::env::args_os();
        let mut command = Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        // Returns only where it fails. Then the defaults serve as well, with more memory.
        _ = command.args(arguments).env(VARIABLE, SETTINGS).exec();
    }
}
