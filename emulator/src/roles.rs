//! Roles that STS knows, and what they demand of who assumes them.
//!
//! A file of `--roles` is JSON: `{"roles": [{"arn": "…", "externalId": "…", "trustedAccounts": ["…"], "denied": false}],
//! "others": false}`; all but `arn` may be left out.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// A role.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What `ExternalId` must be, if anything.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The accounts whose callers may assume it; all when absent.
    #[serde(default)]
    pub trusted_accounts: Option<Vec<String>>,
    /// Nobody may assume it.
    #[serde(default)]
    pub denied: bool,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An external ID is half a secret.
        f.debug_struct("Role").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// Roles, as they come over HTTP or in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleOrder {
    /// The roles that are known.
    pub roles: Vec<Role>,
    /// Whether other roles may be assumed by everybody.
    #[serde(default)]
    pub others: bool,
}

/// Why the file of roles cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    /// It cannot be read.
    #[error("failed to read the roles file '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        #[doc = "Why."]
        source: io::Error,
    },
    /// It is not what it should be. Of the parser's error only the place is told: it might quote an external ID.
    #[error("failed to understand the roles file '{path}', line {line}, column {column}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
}

/// The roles that are known.
#[derive(Debug)]
pub struct Roles {
    inner: Mutex<(BTreeMap<String, Role>, bool)>,
}

impl Roles {
    /// Reads a file of roles; without one every role may be assumed by everybody.
    pub fn load(file: Option<&Path>) -> Result<Self, RolesError> {
        let Some(path) = file else { return Ok(Self { inner: Mutex::new((BTreeMap::new(), true)) }) };
        let text = fs::read(path).map_err(|source| RolesError::Read { path: path.to_path_buf(), source })?;
        let order: RoleOrder = serde_json::from_slice(&text).map_err(|error| RolesError::Parse {
            path: path.to_path_buf(),
            line: error.line(),
            column: error.column(),
        })?;
        let roles = Self { inner: Mutex::default() };
        roles.set(order);
        Ok(roles)
    }

    /// Knows these roles from now on, and no others.
    pub fn set(&self, order: RoleOrder) {
        let roles = order.roles.into_iter().map(|role| (role.arn.clone(), role)).collect();
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = (roles, order.others);
    }

    /// The roles that are known.
    pub fn order(&self) -> RoleOrder {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        RoleOrder { roles: inner.0.values().cloned().collect(), others: inner.1 }
    }

    /// Whether callers of an account may assume a role with this external ID. A caller who is not known by account comes
    /// with a web identity, which no role here refuses.
    pub fn may_be_assumed(&self, arn: &str, account: Option<&str>, external_id: Option<&str>) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(role) = inner.0.get(arn) else { return inner.1 };
        let trusts = |account: &str| {
            let trusted = role.trusted_accounts.as_ref();
            trusted.is_none_or(|trusted| trusted.iter().any(|known| known == account))
        };
        let has_id = role.external_id.is_none() || role.external_id.as_deref() == external_id;
        !role.denied && account.is_none_or(|account| trusts(account) && has_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(json: &str) -> Roles {
        let roles = Roles::load(None).unwrap();
        roles.set(serde_json::from_str(json).unwrap());
        roles
    }

    #[test]
    fn a_role_demands_its_external_id_and_a_trusted_account() {
        let roles = roles(r#"{"roles": [{"arn": "r", "externalId": "id", "trustedAccounts": ["1"]}]}"#);
        assert!(roles.may_be_assumed("r", Some("1"), Some("id")));
        assert!(!roles.may_be_assumed("r", Some("1"), Some("other")));
        assert!(!roles.may_be_assumed("r", Some("1"), None));
        assert!(!roles.may_be_assumed("r", Some("2"), Some("id")));
        assert!(!roles.may_be_assumed("s", Some("1"), None));
        assert!(!format!("{roles:?}").contains("id\""));
    }

    #[test]
    fn without_a_file_every_role_may_be_assumed() {
        assert!(Roles::load(None).unwrap().may_be_assumed("r", Some("1"), None));
        let roles = roles(r#"{"roles": [{"arn": "r", "denied": true}], "others": true}"#);
        assert!(!roles.may_be_assumed("r", Some("1"), None));
        assert!(roles.may_be_assumed("s", Some("1"), Some("whatever")));
    }
}
