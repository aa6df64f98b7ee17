//! What the operator did, call by call, and by which of its tasks: a pass is a task.

use std::sync::Arc;

use serde_json::Value;

use crate::api::store::Key;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at_ms: u64,
    /// By which task.
    pub task: Option<tokio::task::Id>,
    /// What.
    pub what: What,
}

/// What the operator did.
#[derive(Debug, Clone)]
pub enum What {
    /// It read one object.
    Read { key: Key, object: Option<Arc<Value>> },
    /// It wrote to an object; what it became, where the write was taken.
    Write { label: String, key: Key, body: Value, object: Option<Arc<Value>> },
    /// It called AWS.
    Aws { operation: &'static str, request: Value, answer: Result<Value, String> },
}

impl What {
    /// Whether it may have changed something.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Read { .. } => false,
            Self::Write { .. } => true,
            Self::Aws { operation, .. } => is_change(operation),
        }
    }
}

/// Whether an operation, or a write of this label, changes something.
pub fn is_change(operation: &str) -> bool {
    !(operation.starts_with("Describe") || operation.starts_with("List") || operation.starts_with("Get"))
}
