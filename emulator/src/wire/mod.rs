//! The wire: listeners, TLS, requests to operations, answers and errors to bytes.

pub mod body;
mod cloudwatch;
mod respond;
mod router;
mod server;
mod tls;

pub use body::{Body, Cut};
pub use server::{Listener, serve};
pub use tls::{Authority, TlsError, server_names};
