//! What the end-to-end tests (`tests/e2e_*.rs`) have in common: a [`World`] of emulator, operator and namespaces on the
//! local cluster, objects and their conditions, and the search for planted secrets.
//!
//! The operator runs as a process of this machine with the cluster's kubeconfig, so that it can be killed at any moment;
//! producers run as pods from the development image. Two operators on one cluster would fight over the same objects, so
//! whoever starts one holds the cluster's [`OperatorLock`] until it has ended.

pub mod daemon;
pub mod emulator;
pub mod http;
pub mod kills;
pub mod kubectl;
pub mod lock;
pub mod manifests;
pub mod objects;
pub mod operator;
pub mod other_camera;
pub mod places;
pub mod planted;
pub mod random;
pub mod scene;
pub mod timeline;
pub mod world;

pub use emulator::Emulator;
pub use kubectl::{Reply, kubectl};
pub use lock::OperatorLock;
pub use operator::Operator;
pub use planted::Planted;
pub use scene::Scene;
pub use world::World;
