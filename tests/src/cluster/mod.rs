//! The local cluster: a real Kubernetes of several nodes on this machine, and what tests do with it.
//!
//! `streamfleet-dev cluster up --index N` brings it up, `... down` takes it away, `... env` prints what a shell needs.
//! Tests that need it are `#[ignore = "needs a cluster"]` and find it by [`Cluster::from_env`]:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use streamfleet_tests::cluster::Cluster;
//! let cluster = Cluster::from_env()?; // STREAMFLEET_CLUSTER=/var/lib/streamfleet/cluster-1
//! let client = cluster.client().await?; // administrator
//! let namespace = cluster.namespace("bad-input").await?; // its own, deleted with `namespace.delete()`
//! let emulator_address = cluster.bridge_address(); // where pods reach processes of the host
//! cluster.add_names(&[("lobby.cameras.example", cluster.camera_address(1))])?;
//! # Ok(()) }
//! ```
//!
//! - The host's address on the bridge is [`Cluster::bridge_address`]; pods and nodes reach it, and processes on the
//!   host reach pods and services by their addresses.
//! - Cameras may have an address of their own each ([`Cluster::camera_address`], 1 to 32), so that each has port 554.
//! - Images are imported under the names in [`crate::images`] before tests begin (`streamfleet-dev images`); pods use
//!   them with `imagePullPolicy: IfNotPresent`.
//! - Helpers with a deadline are in [`wait`].

mod certs;
mod config;
mod down;
pub mod layout;
mod network;
mod up;
pub mod wait;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt as _};

pub use down::{down, leftovers};
pub use up::{check_machine, is_up, up};

use crate::process::{Folder, Recorded, output, output_of};
use crate::tools::Tools;
use layout::Layout;

/// The variable that names the state folder of the cluster that tests are to use.
pub const CLUSTER_VARIABLE: &str = "STREAMFLEET_CLUSTER";

/// Folders of a node that its programs expect at a fixed place, and that place.
const NODE_FOLDERS: &[(&str, &str)] = &[
    ("kubelet", "/var/lib/kubelet"),
    ("cni-cache", "/var/lib/cni"),
    ("run", "/run/containerd"),
    ("log/pods", "/var/log/pods"),
    ("log/containers", "/var/log/containers"),
];

/// The state of all clusters of this machine.
const STATE_ROOT: &str = "/var/lib/streamfleet";

/// Held while mount points of nodes are made or removed, by whichever process for whichever cluster.
fn lock_mount_points() -> Result<fs::File> {
    // A folder that is always there can be locked, and nothing is left of that.
    let folder = fs::File::open("/var/lib")?;
    folder.lock()?;
    Ok(folder)
}

/// An error unless we are root.
pub fn need_root(what: &str) -> Result<()> {
    // /proc/self belongs to the effective user.
    if fs::metadata("/proc/self").is_ok_and(|file| file.uid() == 0) {
        return Ok(());
    }
    bail!(
        "{what} needs root (network namespaces, mounts, cgroups). What to do: run it as root, for instance with sudo"
    )
}

/// The cluster of this index that is (or was) up.
pub fn load(index: u8) -> Result<Layout> {
    let file = layout_file(index);
    let text = fs::read(&file)
        .with_context(|| format!("cluster {index} is not up ({} is missing)", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("failed to read {}", file.display()))
}

fn layout_file(index: u8) -> PathBuf {
    Layout { index, nodes: 1 }.state_dir().join("cluster.json")
}

fn process_dir(layout: Layout) -> PathBuf {
    layout.state_dir().join("processes")
}

fn host_dir(layout: Layout) -> PathBuf {
    layout.state_dir().join("host")
}

fn hosts_file(layout: Layout) -> PathBuf {
    layout.state_dir().join("cameras.hosts")
}

fn admin_kubeconfig(layout: Layout) -> PathBuf {
    layout.state_dir().join("admin.kubeconfig")
}

/// `ctr` towards a node's containerd.
fn ctr(layout: Layout, number: u8) -> Command {
    let mut command = Command::new("ctr");
    command
        .arg("--address")
        .arg(layout.node_dir(number).join("containerd.sock"))
        .args(["--namespace", "k8s.io"]);
    command
}

/// A cluster that is up.
#[derive(Debug, Clone)]
pub struct Cluster {
    layout: Layout,
    tools: Tools,
}

impl Cluster {
    /// The cluster of this index.
    pub fn open(index: u8) -> Result<Self> {
        Ok(Self { layout: load(index)?, tools: Tools::default() })
    }

    /// The cluster whose state folder `STREAMFLEET_CLUSTER` names.
    pub fn from_env() -> Result<Self> {
        let missing = || {
            format!("{CLUSTER_VARIABLE} does not name a cluster; try `make cluster-up` and what it prints")
        };
        let folder = std::env::var_os(CLUSTER_VARIABLE).map(PathBuf::from).with_context(missing)?;
        let file = folder.join("cluster.json");
        let text = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        Ok(Self { layout: serde_json::from_slice(&text)?, tools: Tools::default() })
    }

    /// Names and addresses.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The tools (kubectl, helm ...).
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The administrator's kubeconfig, complete in itself.
    pub fn kubeconfig(&self) -> PathBuf {
        admin_kubeconfig(self.layout)
    }

    /// The host's address on the bridge.
    pub fn bridge_address(&self) -> Ipv4Addr {
        self.layout.bridge_address()
    }

    /// The address of camera `number` (from 1), on the bridge.
    pub fn camera_address(&self, number: u8) -> Ipv4Addr {
        self.layout.camera_address(number)
    }

    /// The names of the nodes.
    pub fn nodes(&self) -> Vec<String> {
        self.layout.node_numbers().map(|number| self.layout.node_name(number)).collect()
    }

    /// A client with all rights.
    pub async fn client(&self) -> Result<Client> {
        // Somebody else may have chosen already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig())?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// `kubectl` with the administrator's kubeconfig.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.tools.kubernetes("kubectl"));
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// `helm` with the administrator's kubeconfig.
    pub fn helm(&self) -> Command {
        let mut command = Command::new(self.tools.helm());
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// `ctr` towards the containerd of node `number` (from 1).
    pub fn ctr(&self, number: u8) -> Command {
        ctr(self.layout, number)
    }

    /// Makes a namespace `PREFIX-xxxxx` of its own for a test.
    pub async fn namespace(&self, prefix: &str) -> Result<TestNamespace> {
        let api: Api<Namespace> = Api::all(self.client().await?);
        let object: Namespace = serde_json::from_value(serde_json::json!({
            "metadata": { "generateName": format!("{prefix}-"), "labels": { "streamfleet.io/test": "true" } },
        }))?;
        let made = api.create(&PostParams::default(), &object).await?;
        Ok(TestNamespace { name: made.name_any(), api })
    }

    /// Whether every node has this archive.
    pub fn has_image(&self, archive: &Path) -> bool {
        let Some(name) = archive.file_name() else { return false };
        self.layout
            .node_numbers()
            .all(|number| self.layout.node_dir(number).join("images").join(name).exists())
    }

    /// Imports an OCI archive into every node, unless the node has it.
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        let name = archive.file_name().context("an archive has a file name")?;
        for number in self.layout.node_numbers() {
            let marker = self.layout.node_dir(number).join("images").join(name);
            if marker.exists() {
                continue;
            }
            output(self.ctr(number).args(["images", "import"]).arg(archive))?;
            fs::create_dir_all(marker.parent().context("a marker has a folder")?)?;
            fs::write(marker, "")?;
        }
        Ok(())
    }

    /// Gives names in the zone `cameras.example` to addresses, beside those given before; DNS knows within a second.
    pub fn add_names(&self, names: &[(&str, Ipv4Addr)]) -> Result<()> {
        let path = hosts_file(self.layout);
        // Tests run at the same time, in several processes.
        let lock = fs::File::create(path.with_extension("lock"))?;
        lock.lock()?;
        let mut text = fs::read_to_string(&path)?;
        for (name, address) in names {
            let entry = format!("{address} {name}");
            let others = text.lines().filter(|line| line.split(' ').nth(1) != Some(*name));
            text = others.chain([entry.as_str()]).map(|line| [line, "\n"].concat()).collect();
        }
        let new = path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, path)?;
        Ok(())
    }

    /// Applies objects, by `kubectl apply` as users do it (so with its strict validation).
    pub fn apply(&self, objects: &[serde_json::Value]) -> Result<String> {
        let text: Vec<_> = objects.iter().map(ToString::to_string).collect();
        output_of(self.kubectl().args(["apply", "-f", "-"]), &text.join("\n---\n"))
    }

    /// Starts a process on the host that lives as long as the cluster: `down` stops it.
    pub fn start_on_host(&self, name: &str, command: &Command) -> Result<Recorded> {
        self.host_processes().start(name, command)
    }

    /// The processes on the host that belong to the cluster.
    pub fn host_processes(&self) -> Folder {
        Folder::new(host_dir(self.layout))
    }

    /// The cluster's own processes and their logs (`kubelet1`, `apiserver` ...).
    pub fn processes(&self) -> Folder {
        Folder::new(process_dir(self.layout))
    }

    /// Cuts node `number` off from the others, or connects it again.
    pub fn set_node_link(&self, number: u8, up: bool) -> Result<()> {
        network::set_node_link(self.layout, number, up)
    }

    /// Whether each node still has the mounts that its programs rely on.
    pub fn has_node_mounts(&self) -> bool {
        self.layout.node_numbers().all(|number| {
            let holder = self.processes().find(&format!("holder{number}"));
            let table =
                holder.and_then(|holder| fs::read_to_string(format!("/proc/{}/mountinfo", holder.pid)).ok());
            let points: Vec<_> = table
                .iter()
                .flat_map(|table| table.lines())
                .filter_map(|line| line.split(' ').nth(4))
                .collect();
            NODE_FOLDERS.iter().all(|(_, fixed)| points.contains(fixed))
        })
    }

    /// The process ids of a pod on this machine, by its UID, the pause process included.
    pub fn pod_processes(&self, pod_uid: &str) -> Vec<u32> {
        let mut found = Vec::new();
        for number in self.layout.node_numbers() {
            let root = Path::new("/sys/fs/cgroup/pids").join(self.layout.node_scope(number));
            collect_pod_processes(&root, pod_uid, false, &mut found);
        }
        found
    }
}

/// Walks the cgroups; below the one whose name holds the pod's UID, all members belong to it.
fn collect_pod_processes(folder: &Path, pod_uid: &str, inside: bool, found: &mut Vec<u32>) {
    let inside = inside || folder.file_name().is_some_and(|name| name.to_string_lossy().contains(pod_uid));
    if inside {
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        collect_pod_processes(&entry.path(), pod_uid, inside, found);
    }
}

/// A namespace of a test.
#[derive(Debug, Clone)]
pub struct TestNamespace {
    /// Its name.
    pub name: String,
    api: Api<Namespace>,
}

impl TestNamespace {
    /// Starts its deletion; does not wait for the end.
    pub async fn delete(&self) -> Result<()> {
        self.api.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}
