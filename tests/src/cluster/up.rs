//! Brings a cluster up: network, certificates, control plane, nodes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::down::{down, leftovers};
use super::layout::Layout;
use super::{certs, config, network};
use crate::process::{Folder, Recorded, output, wait_until};
use crate::steps::Steps;
use crate::tools::Tools;

/// How long a part may take to become ready. It takes 4 s; a machine that builds at the same time is slower.
const READY_LIMIT: Duration = Duration::from_mins(2);

/// Brings the cluster up, or finds it up. What is half there (after a crash, say) is removed first.
pub fn up(layout: Layout, tools: &Tools, steps: &Steps) -> Result<()> {
    super::need_root("the local cluster")?;
    check_machine()?;
    if is_up(layout, tools) {
        steps.done(format!("cluster {} is up already", layout.index));
        return Ok(());
    }
    if !leftovers(layout).is_empty() {
        steps.say(format!("removing what is left of an earlier cluster {}", layout.index));
        down(layout)?;
    }
    // The state folder comes first: while there is one, nobody removes the mount points.
    fs::create_dir_all(layout.state_dir())?;
    fs::write(super::layout_file(layout.index), serde_json::to_vec(&layout)?)?;
    network::make(layout).context("failed to make the cluster's network")?;
    certs::write_all(layout).context("failed to make the cluster's certificates")?;
    let starter = Starter { layout, tools, folder: Folder::new(super::process_dir(layout)) };
    for number in layout.node_numbers() {
        starter.holder(number)?;
    }
    starter.control_plane()?;
    steps.done(format!("control plane at {}", layout.api_url()));
    for number in layout.node_numbers() {
        starter.node(number)?;
    }
    starter.wait_for_nodes()?;
    steps.done(format!("{} nodes are Ready", layout.nodes));
    Ok(())
}

/// Whether every process of the cluster runs and its API server answers.
pub fn is_up(layout: Layout, tools: &Tools) -> bool {
    let processes = Folder::new(super::process_dir(layout)).all();
    // Per node: holder, containerd, kubelet, proxy; and the five of the control plane.
    processes.len() >= 5 + 4 * usize::from(layout.nodes)
        && processes.iter().all(Recorded::is_alive)
        && super::load(layout.index).is_ok_and(|running| running == layout)
        && kubectl(layout, tools, &["get", "--raw", "/readyz"]).is_ok()
}

/// An error when this machine is of a kind that the cluster is not made for. cgroup v2 has not been tried: better said
/// than half working.
pub fn check_machine() -> Result<()> {
    check_cgroups(Path::new("/sys/fs/cgroup"))
}

fn check_cgroups(root: &Path) -> Result<()> {
    if root.join("cgroup.controllers").exists() {
        bail!(
            "this machine uses cgroup v2, with which the local cluster is untried.\nWhat to do: boot with \
             systemd.unified_cgroup_hierarchy=0, or use a cluster of your own (see README)"
        );
    }
    if !root.join("pids").exists() {
        bail!("no cgroup v1 controllers are mounted below /sys/fs/cgroup; the local cluster needs them");
    }
    Ok(())
}

struct Starter<'a> {
    layout: Layout,
    tools: &'a Tools,
    folder: Folder,
}

impl Starter<'_> {
    /// Holds a node's namespaces: of the network, and of mounts. In the latter the folders that kubelet, containerd and
    /// the network plugins hard-code are the node's own, so that nodes do not disturb each other or the host, and every
    /// mount of a pod goes when the node's last process goes.
    fn holder(&self, number: u8) -> Result<()> {
        let _lock = super::lock_mount_points()?;
        let node = self.layout.node_dir(number);
        let mut script = "set -e; ".to_owned();
        for (own, fixed) in super::NODE_FOLDERS {
            let own = node.join(own);
            fs::create_dir_all(&own)?;
            fs::create_dir_all(fixed)?;
            script.extend(["mount --bind ", &own.display().to_string(), " ", fixed, "; "]);
        }
        let ready = node.join("ready");
        script.extend(["touch ", &ready.display().to_string(), "; exec sleep infinity"]);
        let scope = self.layout.node_scope(number);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", network::netns_path(&scope)));
        // Slave: a network namespace that is deleted on the host is also let go of here.
        command.args(["unshare", "--mount", "--propagation", "slave", "sh", "-c", &script]);
        let holder = self.folder.start(&holder_name(number), &command)?;
        wait_ready(&holder, || ready.exists())
    }

    /// Starts a program in a node's namespaces. Not `ip netns exec`: that remounts /sys, and the kubelet then finds no
    /// cgroups.
    fn on_node(&self, number: u8, name: &str, program: &Path, args: &[String]) -> Result<Recorded> {
        let holder = self.folder.find(&holder_name(number)).context("the node's holder is gone")?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &holder.pid.to_string(), "--net", "--mount"]).arg(program).args(args);
        self.folder.start(name, &command)
    }

    fn control_plane(&self) -> Result<()> {
        let layout = self.layout;
        let kubernetes = |name: &str| self.tools.kubernetes(name);
        self.on_node(1, "etcd", Path::new("/usr/bin/etcd"), &config::etcd(layout))?;
        let apiserver =
            self.on_node(1, "apiserver", &kubernetes("kube-apiserver"), &config::apiserver(layout))?;
        wait_ready(&apiserver, || self.kubectl(&["get", "--raw", "/readyz"]).is_ok())?;
        // The node authorizer learns of a pod some milliseconds after the kubelet, which then finds its Secrets and
        // ConfigMaps forbidden, and waits for a second with every pod. The nodes' role, bound to all of them, mends it.
        let binding = ["create", "clusterrolebinding", "local-nodes", "--clusterrole=system:node"];
        self.kubectl(&[&binding[..], &["--group=system:nodes"]].concat())?;
        let args = config::controller_manager(layout);
        self.on_node(1, "controller-manager", &kubernetes("kube-controller-manager"), &args)?;
        self.on_node(1, "scheduler", &kubernetes("kube-scheduler"), &config::scheduler(layout))?;
        let hosts = super::hosts_file(layout);
        fs::write(&hosts, "")?;
        let corefile = layout.state_dir().join("Corefile");
        fs::write(&corefile, config::corefile(layout, &hosts))?;
        let args = ["-conf".to_owned(), corefile.display().to_string()];
        self.on_node(1, "coredns", &self.tools.coredns(), &args)?;
        Ok(())
    }

    fn node(&self, number: u8) -> Result<()> {
        let (layout, node) = (self.layout, self.layout.node_dir(number));
        fs::create_dir_all(node.join("cni"))?;
        fs::write(node.join("cni/10-bridge.conflist"), config::cni(layout, number))?;
        let toml = node.join("containerd.toml");
        fs::write(&toml, config::containerd(layout, number, snapshotter(&node)?))?;
        let args = ["-c".to_owned(), toml.display().to_string()];
        let containerd =
            self.on_node(number, &format!("containerd{number}"), Path::new("/usr/bin/containerd"), &args)?;
        wait_ready(&containerd, || output(super::ctr(layout, number).arg("version")).is_ok())?;

        make_cgroup(&layout.node_scope(number))?;
        let kubelet = node.join("kubelet.yaml");
        fs::write(&kubelet, config::kubelet(layout, number))?;
        let args = [
            format!("--config={}", kubelet.display()),
            format!("--kubeconfig={}", layout.state_dir().join(format!("node{number}.kubeconfig")).display()),
            format!("--hostname-override={}", layout.node_name(number)),
            format!("--node-ip={}", layout.node_address(number)),
        ];
        self.on_node(number, &format!("kubelet{number}"), &self.tools.kubernetes("kubelet"), &args)?;

        let proxy = node.join("proxy.yaml");
        fs::write(&proxy, config::proxy(layout, number))?;
        let args = [format!("--config={}", proxy.display())];
        self.on_node(number, &format!("proxy{number}"), &self.tools.kubernetes("kube-proxy"), &args)?;
        Ok(())
    }

    fn wait_for_nodes(&self) -> Result<()> {
        let path = "jsonpath={range .items[*]}{.status.conditions[?(@.type==\"Ready\")].status} {end}";
        let all_ready = || {
            let statuses = self.kubectl(&["get", "nodes", "-o", path]).unwrap_or_default();
            statuses.split_whitespace().filter(|status| *status == "True").count()
                == usize::from(self.layout.nodes)
        };
        // Pods need their namespace's service account, which the controller manager makes.
        let account = || self.kubectl(&["-n", "default", "get", "serviceaccount", "default"]).is_ok();
        let processes = self.folder.all();
        let mut failed = Ok(());
        let ready = wait_until(READY_LIMIT, || {
            failed = processes.iter().try_for_each(Recorded::check);
            failed.is_err() || (all_ready() && account())
        });
        failed?;
        if !ready {
            let kubelet = self.folder.log("kubelet1");
            bail!(
                "nodes are not Ready; the end of {}:\n{}",
                kubelet.display(),
                crate::process::tail(&kubelet, 20)
            );
        }
        Ok(())
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        kubectl(self.layout, self.tools, args)
    }
}

fn kubectl(layout: Layout, tools: &Tools, args: &[&str]) -> Result<String> {
    let mut command = Command::new(tools.kubernetes("kubectl"));
    command.arg("--kubeconfig").arg(super::admin_kubeconfig(layout)).arg("--request-timeout=5s").args(args);
    output(&mut command)
}

fn holder_name(number: u8) -> String {
    format!("holder{number}")
}

/// Waits until the condition holds, or the process ends, or the time is over.
fn wait_ready(process: &Recorded, mut condition: impl FnMut() -> bool) -> Result<()> {
    let mut ended = Ok(());
    let ready = wait_until(READY_LIMIT, || {
        ended = process.check();
        ended.is_err() || condition()
    });
    ended?;
    if !ready {
        let log = crate::process::tail(&process.log, 20);
        bail!(
            "{} is not ready after {} s; the end of {}:\n{log}",
            process.name,
            READY_LIMIT.as_secs(),
            process.log.display()
        );
    }
    Ok(())
}

/// `overlayfs`, or `native` where the state folder lies on an overlay itself.
fn snapshotter(node: &Path) -> Result<&'static str> {
    let kind = output(Command::new("stat").args(["-f", "-c", "%T"]).arg(node))?;
    Ok(if kind.trim() == "overlayfs" { "native" } else { "overlayfs" })
}

/// The node's cgroup in every controller: pods' processes are found in it when they have to go.
fn make_cgroup(scope: &str) -> Result<()> {
    for entry in fs::read_dir("/sys/fs/cgroup")?.flatten() {
        let controller = entry.path();
        if !controller.join("cgroup.procs").exists() || entry.file_name() == "unified" {
            continue;
        }
        let group = controller.join(scope);
        fs::create_dir_all(&group)?;
        if entry.file_name() == "cpuset" {
            // A new cpuset is empty, and nothing can run in it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(group.join(file), fs::read(controller.join(file))?)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_v2_is_said_to_be_untried() {
        let root = std::env::temp_dir().join(format!("streamfleet-cgroup-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("cgroup.controllers"), "cpu memory pids").unwrap();
        let refused = check_cgroups(&root).unwrap_err().to_string();
        fs::remove_dir_all(&root).unwrap();
        assert!(refused.contains("cgroup v2") && refused.contains("untried"), "{refused}");
    }
}
