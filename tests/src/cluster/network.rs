//! The cluster's network: a bridge on the host, a network namespace and a link per node, and the routes between them.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::layout::{CAMERA_ADDRESSES, Layout};
use crate::process::output;

/// Makes everything. Expects that nothing of it exists.
pub fn make(layout: Layout) -> Result<()> {
    let bridge = layout.bridge();
    ip(&["link", "add", &bridge, "type", "bridge"])?;
    ip(&["addr", "add", &format!("{}/24", layout.bridge_address()), "dev", &bridge])?;
    for number in 1..=CAMERA_ADDRESSES {
        ip(&["addr", "add", &format!("{}/24", layout.camera_address(number)), "dev", &bridge])?;
    }
    ip(&["link", "set", &bridge, "up"])?;
    for number in layout.node_numbers() {
        make_node(layout, number)?;
    }
    // Services are reached through node 1's kube-proxy.
    ip(&["route", "add", &layout.service_cidr(), "via", &layout.control_plane().to_string()])?;
    for from in layout.node_numbers() {
        for to in layout.node_numbers().filter(|to| *to != from) {
            let (scope, cidr) = (layout.node_scope(from), layout.node_pod_cidr(to));
            ip(&["-n", &scope, "route", "add", &cidr, "via", &layout.node_address(to).to_string()])?;
        }
    }
    Ok(())
}

fn make_node(layout: Layout, number: u8) -> Result<()> {
    let (scope, link) = (layout.node_scope(number), layout.link(number));
    let address = layout.node_address(number).to_string();
    ip(&["netns", "add", &scope])?;
    ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &scope])?;
    ip(&["link", "set", &link, "master", &layout.bridge(), "up"])?;
    ip(&["-n", &scope, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    ip(&["-n", &scope, "link", "set", "eth0", "up"])?;
    ip(&["-n", &scope, "link", "set", "lo", "up"])?;
    ip(&["-n", &scope, "route", "add", "default", "via", &layout.bridge_address().to_string()])?;
    ip(&["route", "add", &layout.node_pod_cidr(number), "via", &address])?;
    let mut forward = Command::new("nsenter");
    forward.arg(format!("--net={}", netns_path(&scope))).args(["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    output(&mut forward)?;
    Ok(())
}

/// Takes the link of node `number` down or up again: the node is cut off, its pods run on.
pub fn set_node_link(layout: Layout, number: u8, up: bool) -> Result<()> {
    ip(&["link", "set", &layout.link(number), if up { "up" } else { "down" }])
}

/// Removes the namespaces, the links, the bridge, and with them every address and route. What is not there is no error.
pub fn remove(layout: Layout) {
    for scope in scopes(layout) {
        drop(ip(&["netns", "del", &scope]));
    }
    for link in links(layout) {
        drop(ip(&["link", "del", &link]));
    }
}

/// The cluster's network namespaces that exist, of however many nodes.
pub fn scopes(layout: Layout) -> Vec<String> {
    let prefix = format!("{}-node", layout.bridge());
    names_in(Path::new("/run/netns")).into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

/// The cluster's links on the host that exist: the nodes' first, the bridge last.
pub fn links(layout: Layout) -> Vec<String> {
    let (bridge, prefix) = (layout.bridge(), format!("{}-v", layout.bridge()));
    let mut all = names_in(Path::new("/sys/class/net"));
    all.retain(|name| *name == bridge || name.starts_with(&prefix));
    all.sort_by_key(|name| *name == bridge);
    all
}

/// Routes of the host over the cluster's bridge.
pub fn routes(layout: Layout) -> Vec<String> {
    let device = format!("dev {}", layout.bridge());
    let table = output(Command::new("ip").args(["route", "show", "table", "all"])).unwrap_or_default();
    table
        .lines()
        .filter(|line| line.contains(&format!("{device} ")))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// The file that names a network namespace.
pub fn netns_path(scope: &str) -> String {
    format!("/run/netns/{scope}")
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn ip(args: &[&str]) -> Result<()> {
    output(Command::new("ip").args(args)).map(drop)
}
