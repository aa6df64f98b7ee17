//! kubectl as people use it: what it is fed, and what it says.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::cluster::Cluster;

/// What kubectl said.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Whether it succeeded.
    pub success: bool,
    /// Its standard output.
    pub output: String,
    /// Its standard error, which holds the server's refusal.
    pub error: String,
}

impl Reply {
    /// The output; an error with what was said when it failed.
    pub fn succeeded(self) -> Result<String> {
        ensure!(self.success, "kubectl failed: {}", self.error.trim());
        Ok(self.output)
    }
}

/// Runs kubectl as the administrator, with `input` on its standard input: nothing confidential belongs into arguments.
pub async fn kubectl(cluster: &Cluster, args: &[&str], input: &str) -> Result<Reply> {
    let mut command = tokio::process::Command::from(cluster.kubectl());
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("failed to start kubectl")?;
    let mut stdin = child.stdin.take().context("kubectl has a standard input")?;
    let input = input.to_owned();
    // Beside reading its output, lest both wait for each other.
    let feeding = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let ended = child.wait_with_output().await?;
    // That kubectl did not want its input is no error.
    drop(feeding.await?);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(Reply { success: ended.status.success(), output: text(&ended.stdout), error: text(&ended.stderr) })
}

/// `kubectl apply` of these objects in a namespace.
pub async fn apply(cluster: &Cluster, namespace: &str, objects: &[Value]) -> Result<Reply> {
    // Documents one after the other, as in a file of theirs: a List is validated by kubectl, not by the server.
    let documents: Vec<_> = objects.iter().map(Value::to_string).collect();
    kubectl(cluster, &["apply", "--namespace", namespace, "--filename", "-"], &documents.join("\n---\n"))
        .await
}

/// A cell of a table that kubectl has printed: of the line that begins with `row`, under the head `column`; empty where nothing
/// stands there.
pub fn cell(table: &str, row: &str, column: &str) -> Result<String> {
    let head = table.lines().next().unwrap_or_default();
    let starts = column_starts(head);
    let place = starts.iter().position(|start| head[*start..].starts_with(column));
    let place = place.with_context(|| format!("there is no column {column}:\n{table}"))?;
    let line = table.lines().skip(1).find(|line| line.split_whitespace().next() == Some(row));
    let line = line.with_context(|| format!("there is no line of {row}:\n{table}"))?;
    let (from, to) = (starts[place], starts.get(place + 1).copied().unwrap_or(usize::MAX));
    Ok(line.chars().skip(from).take(to - from).collect::<String>().trim().to_owned())
}

/// Where the heads of columns begin: after at least two spaces, since a head may hold one.
fn column_starts(head: &str) -> Vec<usize> {
    let places = 0..head.len();
    places
        .filter(|place| {
            let (before, here) = head.split_at(*place);
            !here.starts_with(' ') && (before.is_empty() || before.ends_with("  "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_found_under_its_head_also_where_others_are_empty() {
        let table = "NAME    READY   REASON   RETENTION HOURS   ALARM   AGE   MESSAGE\n\
                     first   True    Active   24                        5s    All is  well\n\
                     yard    False   Lost                       A       41d   Söme one\n";
        let found = |row: &str, column: &str| cell(table, row, column).unwrap();
        assert_eq!(found("first", "RETENTION HOURS"), "24");
        assert_eq!((found("first", "ALARM"), found("yard", "ALARM")), (String::new(), "A".to_owned()));
        assert_eq!(found("first", "MESSAGE"), "All is  well");
        assert_eq!(
            (found("yard", "AGE"), found("yard", "MESSAGE")),
            ("41d".to_owned(), "Söme one".to_owned())
        );
        assert!(cell(table, "yar", "AGE").is_err() && cell(table, "yard", "TIER").is_err());
    }
}
