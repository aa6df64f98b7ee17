//! `cloudwatch.jsonl`: the alarms of a data folder. One line of JSON for each change, with all that an alarm holds.
//!
//! A line is written before its change is answered: `kill -9` loses none. Metrics, histories and notifications are in
//! memory alone.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Standing;

/// Lines beyond those that hold something before the file is written anew.
const SPENT_LINES_MAX: usize = 50_000;

/// An alarm as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Whose.
    pub account: String,
    /// And where.
    pub region: String,
    /// Its name.
    pub name: String,
    /// As it was put.
    pub input: Value,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How it stands.
    pub standing: Standing,
}

/// What a change has left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// An alarm.
    Alarm(Box<Kept>),
    /// None any more: account, region and name.
    Gone(String, String, String),
}

/// The journal, open at its end.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl Journal {
    /// Reads the journal of a data folder and opens it anew, without what is spent.
    pub fn open(data: &Path) -> io::Result<(Self, Vec<Kept>)> {
        let path = data.join("cloudwatch.jsonl");
        let kept = match fs::read(&path) {
            Ok(bytes) => replay(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let journal = Self::begin(path, kept.iter().cloned())?;
        Ok((journal, kept))
    }

    fn begin(path: PathBuf, kept: impl Iterator<Item = Kept>) -> io::Result<Self> {
        let mut text = Vec::new();
        let mut lines = 0;
        for one in kept {
            put(&mut text, &Line::Alarm(Box::new(one)))?;
            lines += 1;
        }
        let new = path.with_extension("jsonl.new");
        fs::write(&new, text)?;
        fs::rename(&new, &path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self { path, file, lines })
    }

    /// Writes changes.
    pub fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            put(&mut text, line)?;
        }
        self.lines += lines.len();
        self.file.write_all(&text)
    }

    /// Whether much of the file is spent, when so many alarms are there.
    pub fn is_long(&self, alarms: usize) -> bool {
        self.lines > alarms + SPENT_LINES_MAX
    }

    /// Writes the file anew.
    pub fn compact(&mut self, kept: impl Iterator<Item = Kept>) -> io::Result<()> {
        *self = Self::begin(self.path.clone(), kept)?;
        Ok(())
    }
}

fn put(text: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

/// What the lines come to. The last one may be torn: its change was not answered.
fn replay(bytes: &[u8]) -> io::Result<Vec<Kept>> {
    let mut held = BTreeMap::new();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for line in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line)? {
            Line::Alarm(kept) => {
                held.insert((kept.account.clone(), kept.region.clone(), kept.name.clone()), *kept);
            }
            Line::Gone(account, region, name) => {
                held.remove(&(account, region, name));
            }
        }
    }
    Ok(held.into_values().collect())
}
