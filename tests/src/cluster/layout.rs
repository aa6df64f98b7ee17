//! Names and addresses of a local cluster. Everything follows from the cluster's index, so that several can run on one
//! machine at once: the demo is 0, the tests are 1. Pure.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The highest index: the address plan has room for ten clusters.
pub const INDEX_MAX: u8 = 9;

/// The cameras' own addresses on the bridge: this many, from the first one on.
pub const CAMERA_ADDRESSES: u8 = 32;

/// What a cluster is called and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Which cluster on this machine, 0 to [`INDEX_MAX`].
    pub index: u8,
    /// How many nodes it has, from 1.
    pub nodes: u8,
}

impl Layout {
    /// The state folder. It does not lie in the cache folder: the network names are the machine's, so there can be one
    /// cluster of an index on a machine, whoever starts it; and socket paths have to stay below 108 bytes.
    pub fn state_dir(self) -> PathBuf {
        Path::new(super::STATE_ROOT).join(format!("cluster-{}", self.index))
    }

    /// The bridge on the host that all nodes hang on.
    pub fn bridge(self) -> String {
        format!("sf{}", self.index)
    }

    /// The host's address on the bridge, where the emulator listens.
    pub fn bridge_address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.index, 1)
    }

    /// An address of its own for camera `number` (from 1), on the bridge, so that each camera has port 554.
    pub fn camera_address(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.index, 100 + number)
    }

    /// The address of node `number` (from 1); the control plane and DNS are on node 1.
    pub fn node_address(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.index, 10 + number)
    }

    /// The address of the API server and of the cluster's DNS.
    pub fn control_plane(self) -> Ipv4Addr {
        self.node_address(1)
    }

    /// The numbers of the nodes.
    pub fn node_numbers(self) -> impl Iterator<Item = u8> {
        1..=self.nodes
    }

    /// What Kubernetes calls node `number`.
    pub fn node_name(self, number: u8) -> String {
        format!("node{number}")
    }

    /// The network namespace and the cgroup of node `number`.
    pub fn node_scope(self, number: u8) -> String {
        format!("{}-node{number}", self.bridge())
    }

    /// The host's end of the link to node `number`.
    pub fn link(self, number: u8) -> String {
        format!("{}-v{number}", self.bridge())
    }

    /// The state folder of node `number`.
    pub fn node_dir(self, number: u8) -> PathBuf {
        self.state_dir().join(self.node_name(number))
    }

    /// All pods of the cluster.
    pub fn pod_cidr(self) -> String {
        format!("10.{}.0.0/16", 140 + self.index)
    }

    /// The pods of node `number`.
    pub fn node_pod_cidr(self, number: u8) -> String {
        format!("10.{}.{number}.0/24", 140 + self.index)
    }

    /// All services of the cluster.
    pub fn service_cidr(self) -> String {
        format!("10.{}.0.0/16", 100 + self.index)
    }

    /// The service address of the API server: the first of the service range.
    pub fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 100 + self.index, 0, 1)
    }

    /// The API server as clients outside the cluster reach it.
    pub fn api_url(self) -> String {
        format!("https://{}:6443", self.control_plane())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_of_different_index_share_no_name_and_no_address() {
        let (demo, tests) = (Layout { index: 0, nodes: 2 }, Layout { index: 1, nodes: 2 });
        let all = |layout: Layout| {
            vec![
                layout.state_dir().display().to_string(),
                layout.bridge(),
                layout.bridge_address().to_string(),
                layout.camera_address(1).to_string(),
                layout.node_address(1).to_string(),
                layout.node_scope(1),
                layout.link(1),
                layout.pod_cidr(),
                layout.node_pod_cidr(1),
                layout.service_cidr(),
                layout.api_service().to_string(),
            ]
        };
        for (left, right) in all(demo).into_iter().zip(all(tests)) {
            assert_ne!(left, right);
        }
    }

    #[test]
    fn ranges_of_all_indexes_keep_apart() {
        // Services are 10.100 to 10.109, pods 10.140 to 10.149, bridges 10.77.
        let last = Layout { index: INDEX_MAX, nodes: 2 };
        assert_eq!(last.service_cidr(), "10.109.0.0/16");
        assert_eq!(last.pod_cidr(), "10.149.0.0/16");
    }

    #[test]
    fn link_names_fit_the_kernel() {
        let widest = Layout { index: INDEX_MAX, nodes: 255 };
        assert!(widest.link(255).len() <= 15);
    }
}
