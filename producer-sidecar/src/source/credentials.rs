//! A camera's user name and password, read from their files at each connection: a Secret may come, and change, at any
//! time, and a change needs no restart.

use std::fmt;
use std::path::Path;

use streamfleet_contract::CredentialFiles;

/// A user name and a password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(not shown)")
    }
}

/// Says which file has nothing to use.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the camera's {what} from \"{path}\": {cause}")]
pub struct CredentialsMissing {
    what: &'static str,
    path: String,
    cause: String,
}

/// Longer than any real secret; a wrong path must not fill the memory.
const FILE_BYTES_MAX: u64 = 4096;

/// Reads both files. A trailing line break is not part of the value.
pub async fn read(files: &CredentialFiles) -> Result<Credentials, CredentialsMissing> {
    let username = read_value("user name", &files.username_file).await?;
    let password = read_value("password", &files.password_file).await?;
    Ok(Credentials { username, password })
}

async fn read_value(what: &'static str, path: &str) -> Result<String, CredentialsMissing> {
    let missing = |cause: String| CredentialsMissing { what, path: path.to_owned(), cause };
    let metadata =
        tokio::fs::metadata(Path::new(path)).await.map_err(|error| missing(error.kind().to_string()))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(missing(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    // The cause is the kind of the fault alone: a decoding error would quote the content.
    let text = tokio::fs::read_to_string(path).await.map_err(|error| missing(error.kind().to_string()))?;
    let value = text.trim_end_matches(['\r', '\n']);
    if value.is_empty() { Err(missing("it is empty".to_owned())) } else { Ok(value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_lose_their_line_break_and_are_not_shown() {
        let folder = std::env::temp_dir().join(format!("streamfleet-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = CredentialFiles {
            username_file: folder.join("username").display().to_string(),
            password_file: folder.join("password").display().to_string(),
        };
        let missing = read(&files).await.unwrap_err().to_string();
        assert!(missing.contains("user name") && missing.contains("not found"), "{missing}");

        std::fs::write(&files.username_file, "admin\n").unwrap();
        std::fs::write(&files.password_file, "").unwrap();
        let missing = read(&files).await.unwrap_err().to_string();
        assert!(missing.contains("password") && missing.contains("empty"), "{missing}");

        std::fs::write(&files.password_file, "p@ss:w/rd\r\n").unwrap();
        let credentials = read(&files).await.unwrap();
        assert_eq!((credentials.username.as_str(), credentials.password.as_str()), ("admin", "p@ss:w/rd"));
        assert!(!format!("{credentials:?}").contains("p@ss"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
