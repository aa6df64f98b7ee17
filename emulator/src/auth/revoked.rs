//! Accounts whose keys do not work any more, on order.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// What calls of a revoked account are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revocation {
    /// No policy allows anything.
    AccessDenied,
    /// The keys have run out.
    ExpiredToken,
    /// The keys do not exist.
    UnknownKey,
}

/// The revoked accounts.
#[derive(Debug, Default)]
pub struct Revoked {
    accounts: Mutex<BTreeMap<String, Revocation>>,
}

impl Revoked {
    /// Revokes an account's keys.
    pub fn revoke(&self, account: String, how: Revocation) {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).insert(account, how);
    }

    /// Lets an account's keys work again; whether they did not.
    pub fn restore(&self, account: &str) -> bool {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).remove(account).is_some()
    }

    /// The revoked accounts.
    pub fn list(&self) -> BTreeMap<String, Revocation> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How an account is revoked, if it is.
    pub fn of(&self, account: &str) -> Option<Revocation> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).get(account).copied()
    }
}
