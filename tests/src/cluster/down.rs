//! Takes a cluster down and leaves nothing behind; and says what would be left. Works from any state: after a crash,
//! half up, or with the state folder gone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::layout::Layout;
use super::network;
use crate::process::{Folder, Recorded, signal_process, wait_until};

/// The programs that run for a cluster, by the kernel's name for them (15 characters): only these are ever ended because
/// of a path in their command line.
const PROGRAMS: &[&str] = &[
    "etcd",
    "coredns",
    "containerd",
    "containerd-shim",
    "kubelet",
    "kube-apiserver",
    "kube-controller",
    "kube-scheduler",
    "kube-proxy",
];

/// Stops every process of the cluster and removes mounts, namespaces, links, cgroups and files. Idempotent.
pub fn down(layout: Layout) -> Result<()> {
    super::need_root("taking the local cluster down")?;
    kill_cluster(layout)?;
    // Host processes go after the pods that talk to them, and may finish what they are writing.
    let host = Folder::new(super::host_dir(layout)).all();
    for process in &host {
        process.stop(Duration::from_secs(5));
    }
    for mount in mounts(layout) {
        drop(crate::process::output(std::process::Command::new("umount").arg("--lazy").arg(mount)));
    }
    network::remove(layout);
    for group in cgroups(layout) {
        // A cgroup is busy for a moment after its last process has ended.
        wait_until(Duration::from_secs(5), || fs::remove_dir(&group).is_ok() || !group.exists());
    }
    let state = layout.state_dir();
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    remove_mount_points()?;
    let mut left = leftovers(layout);
    // Their records went with the state folder.
    left.extend(living(&host));
    if !left.is_empty() {
        bail!("cluster {} left something behind:\n    {}", layout.index, left.join("\n    "));
    }
    Ok(())
}

/// Everything of the cluster that there is on this machine, one line each; empty when it is wholly gone.
///
/// kube-proxy's and the network plugins' packet filter rules are in the nodes' namespaces and go with them; the host's
/// are never touched.
pub fn leftovers(layout: Layout) -> Vec<String> {
    let processes = processes(layout).into_iter().map(|pid| format!("process {pid} ({})", command_name(pid)));
    let mut left: Vec<_> = processes.collect();
    left.extend(living(&Folder::new(super::host_dir(layout)).all()));
    left.extend(mounts(layout).into_iter().map(|path| format!("mount {}", path.display())));
    left.extend(network::scopes(layout).into_iter().map(|name| format!("network namespace {name}")));
    left.extend(network::links(layout).into_iter().map(|name| format!("link {name}")));
    left.extend(network::routes(layout).into_iter().map(|route| format!("route {route}")));
    left.extend(cgroups(layout).into_iter().map(|path| format!("cgroup {}", path.display())));
    if layout.state_dir().exists() {
        left.push(format!("folder {}", layout.state_dir().display()));
    }
    left
}

/// A line for each of these that still runs.
fn living(processes: &[Recorded]) -> Vec<String> {
    let alive = processes.iter().filter(|process| process.is_alive());
    alive.map(|process| format!("process {} ({})", process.pid, process.name)).collect()
}

/// Kills until nothing is left: what starts processes first, so that what it started stays dead.
fn kill_cluster(layout: Layout) -> Result<()> {
    let recorded = Folder::new(super::process_dir(layout)).all();
    let starts_others = |name: &str| name.starts_with("kubelet") || name.starts_with("containerd");
    for process in recorded.iter().filter(|process| starts_others(&process.name)) {
        process.signal("KILL");
    }
    let gone = wait_until(Duration::from_secs(30), || {
        let living = processes(layout);
        for pid in &living {
            signal_process(*pid, "KILL");
        }
        living.is_empty()
    });
    if !gone {
        bail!("processes of cluster {} do not end: {:?}", layout.index, processes(layout));
    }
    Ok(())
}

/// The cluster's living processes: those in a node's network namespace, in a node's cgroup, or with the state folder in
/// their command line. Each finds what the others miss when something crashed half-way.
fn processes(layout: Layout) -> BTreeSet<u32> {
    let namespaces: Vec<_> = network::scopes(layout)
        .iter()
        .filter_map(|scope| fs::metadata(network::netns_path(scope)).ok())
        .map(|file| format!("net:[{}]", file.ino()))
        .collect();
    let state = format!("{}/", layout.state_dir().display());
    let mut found: BTreeSet<_> = cgroups(layout).iter().flat_map(|group| members(group)).collect();
    for pid in all_processes() {
        let namespace = fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let inside = namespace.is_some_and(|link| namespaces.iter().any(|own| Path::new(own) == link));
        if inside || (PROGRAMS.contains(&command_name(pid).as_str()) && command_line(pid).contains(&state)) {
            found.insert(pid);
        }
    }
    // A zombie has no memory map left; its parent will collect it.
    found.retain(|pid| !command_line(*pid).is_empty());
    found
}

fn all_processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn command_name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Mounts below the state folder that can be seen from the host, innermost first.
fn mounts(layout: Layout) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut all: Vec<_> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|path| path.starts_with(layout.state_dir()))
        .collect();
    all.sort();
    all.reverse();
    all
}

/// The nodes' cgroups in every controller, children before their parents.
fn cgroups(layout: Layout) -> Vec<PathBuf> {
    let prefix = format!("{}-node", layout.bridge());
    let Ok(controllers) = fs::read_dir("/sys/fs/cgroup") else { return Vec::new() };
    let mut all = Vec::new();
    for controller in controllers.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        for top in folders(&controller.path()) {
            if top.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)) {
                collect_tree(&top, &mut all);
            }
        }
    }
    all
}

fn collect_tree(folder: &Path, all: &mut Vec<PathBuf>) {
    for child in folders(folder) {
        collect_tree(&child, all);
    }
    all.push(folder.to_owned());
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|e| e.path())
        .collect()
}

fn members(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Removes the folders on which nodes mount their own, unless something is in them or another cluster is up: removing a
/// folder takes away what other mount namespaces have mounted on it.
fn remove_mount_points() -> Result<()> {
    let _lock = super::lock_mount_points()?;
    let all = Path::new(super::STATE_ROOT);
    if folders(all).is_empty() {
        for folder in super::NODE_FOLDERS.iter().map(|(_, fixed)| Path::new(fixed)).chain([all]) {
            // Not there, or somebody else's with something in it.
            drop(fs::remove_dir(folder));
        }
    }
    Ok(())
}
