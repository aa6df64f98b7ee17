//! The local cluster leaves nothing behind, however it ended.

use streamfleet_tests::cluster::layout::Layout;
use streamfleet_tests::cluster::{Cluster, down, leftovers, up};
use streamfleet_tests::process::Folder;
use streamfleet_tests::steps::Steps;
use streamfleet_tests::tools::Tools;

/// Neither the demo's nor the tests' cluster.
const LAYOUT: Layout = Layout { index: 9, nodes: 1 };

#[test]
#[ignore = "needs a cluster"]
fn a_cluster_that_crashed_half_way_is_taken_down_and_nothing_is_left_of_it() {
    let other = Cluster::from_env().unwrap();
    assert!(other.has_node_mounts(), "the other cluster is broken from the start");
    down(LAYOUT).unwrap();
    up(LAYOUT, &Tools::default(), &Steps::start()).unwrap();
    assert!(!leftovers(LAYOUT).is_empty(), "a cluster that is up must be seen, or the check sees nothing");

    // Half of it dies, and the records of the other half are lost.
    let processes = Folder::new(LAYOUT.state_dir().join("processes")).all();
    for process in
        processes.iter().filter(|process| process.name.starts_with("kube") || process.name == "etcd")
    {
        process.signal("KILL");
    }
    std::fs::remove_dir_all(LAYOUT.state_dir().join("processes")).unwrap();

    down(LAYOUT).unwrap();
    assert_eq!(leftovers(LAYOUT), Vec::<String>::new());
    down(LAYOUT).unwrap();
    assert!(other.has_node_mounts(), "another cluster was disturbed");
}
