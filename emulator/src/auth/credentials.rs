//! The keys that the emulator knows.
//!
//! Without a file there is one: `streamfleet` / `streamfleet`. A file is JSON and replaces it; it is read again when it
//! changes, so that keys can be revoked and added while clients run:
//!
//! ```json
//! {"keys": [{
//!   "accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "…", "account": "123456789012",
//!   "user": "alice", "sessionToken": "…", "expires": "2026-11-23T12:00:00Z"
//! }]}
//! ```
//!
//! `user` (default: the key id), `account` (default: the one of the command line), `sessionToken` and `expires` may be
//! left out.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

/// The key that is known when no file names others; id and secret are the same word.
const DEFAULT_KEY: &str = "streamfleet";

/// A text that never shows in logs.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// One access key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// Its id.
    #[serde(rename = "accessKeyId")]
    pub id: String,
    /// Its secret.
    #[serde(rename = "secretAccessKey")]
    pub secret: Secret,
    /// The token that must come with it, if any.
    pub session_token: Option<Secret>,
    /// Account id; the default account when absent.
    pub account: Option<String>,
    /// User name; the key id when absent.
    pub user: Option<String>,
    /// When it ceases to be valid.
    pub expires: Option<jiff::Timestamp>,
    /// The role's session that it is of; never in a file.
    #[serde(skip)]
    pub role: Option<RoleSession>,
}

/// A session of a role, as `AssumeRole` makes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleSession {
    /// The role.
    pub role_arn: String,
    /// The session's name.
    pub session_name: String,
    /// The session policy, as it was given. It is recorded and not enforced.
    pub policy: Option<String>,
    /// Whether a web identity token stood for a signature.
    pub by_web_identity: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keys: Vec<Key>,
}

/// Why the file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("failed to read the credentials file '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        #[doc = "Why."]
        source: io::Error,
    },
    /// It is not what it should be. Of the parser's error only the place is told: it might quote a secret.
    #[error("failed to understand the credentials file '{path}', line {line}, column {column}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
}

type KeyMap = Arc<HashMap<String, Key>>;

/// The known keys, kept up to date with their file.
#[derive(Debug)]
pub struct Credentials {
    file: Option<PathBuf>,
    /// Temporary keys, by their ids. They are lost with the process.
    temporary: Mutex<BTreeMap<String, Key>>,
    loaded: Mutex<(Option<SystemTime>, KeyMap)>,
}

impl Credentials {
    /// Reads `file`, or takes the default key.
    pub fn load(file: Option<PathBuf>) -> Result<Self, CredentialsError> {
        let loaded = match &file {
            Some(path) => (modified(path), read(path)?),
            None => (None, default_keys()),
        };
        Ok(Self { file, temporary: Mutex::default(), loaded: Mutex::new(loaded) })
    }

    /// The key with this id.
    pub fn find(&self, access_key_id: &str) -> Option<Key> {
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        temporary.get(access_key_id).cloned().or_else(|| self.current().get(access_key_id).cloned())
    }

    /// Knows a temporary key from now on.
    pub fn add_temporary(&self, key: Key) {
        self.temporary.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id.clone(), key);
    }

    /// The temporary keys that were given.
    pub fn temporary(&self) -> Vec<Key> {
        self.temporary.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Lets all temporary keys run out now; how many there are.
    pub fn expire_temporary(&self, now: jiff::Timestamp) -> usize {
        let mut temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        temporary.values_mut().for_each(|key| key.expires = key.expires.map(|expires| expires.min(now)));
        temporary.len()
    }

    fn current(&self) -> KeyMap {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.file else { return loaded.1.clone() };
        let changed = modified(path);
        if changed != loaded.0 {
            // A file that is being rewritten may be unreadable for a moment: the old keys stay until it is whole.
            match read(path) {
                Ok(keys) => *loaded = (changed, keys),
                Err(error) => {
                    tracing::warn!(error = %error, "Kept the known keys: the credentials file cannot be used");
                    loaded.0 = changed;
                }
            }
        }
        loaded.1.clone()
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(path: &Path) -> Result<KeyMap, CredentialsError> {
    let text =
        fs::read(path).map_err(|source| CredentialsError::Read { path: path.to_path_buf(), source })?;
    let file: KeyFile = serde_json::from_slice(&text).map_err(|error| CredentialsError::Parse {
        path: path.to_path_buf(),
        line: error.line(),
        column: error.column(),
    })?;
    Ok(Arc::new(file.keys.into_iter().map(|key| (key.id.clone(), key)).collect()))
}

fn default_keys() -> KeyMap {
    let key = Key {
        id: DEFAULT_KEY.to_owned(),
        secret: Secret(DEFAULT_KEY.to_owned()),
        session_token: None,
        account: None,
        user: None,
        expires: None,
        role: None,
    };
    Arc::new(HashMap::from([(DEFAULT_KEY.to_owned(), key)]))
}
