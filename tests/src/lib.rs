//! What tests, demo and development need around the product: a real local cluster, images, the test camera, a proxy
//! that cuts connections, the journal of pictures, and the foreign clients.

pub mod archive;
pub mod bench;
pub mod camera;
pub mod cluster;
pub mod demo;
pub mod e2e;
pub mod faults;
pub mod figures;
pub mod fleet;
pub mod foreign;
pub mod foreign_camera;
pub mod images;
pub mod journal;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod release;
pub mod resources;
pub mod rig;
pub mod soak;
pub mod steps;
pub mod tools;
