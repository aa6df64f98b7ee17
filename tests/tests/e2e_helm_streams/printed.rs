//! What kubectl prints of a stream.

use anyhow::{Result, ensure};
use streamfleet_tests::e2e::kubectl::cell;
use streamfleet_tests::e2e::{Scene, World};

/// What stands in a line: the head of the column, and the cell.
pub type Cells<'a> = &'a [(&'a str, &'a str)];

/// `kubectl get vstream` has these cells in the line of a stream. Gives its message.
pub async fn line_says(scene: &Scene<&World>, name: &str, cells: Cells<'_>) -> Result<String> {
    let table = scene.table(&[name]).await?;
    scene.steps.text(format!("$ kubectl get vstream {name}\n{}", table.trim_end()));
    for (column, expected) in cells {
        let found = cell(&table, name, column)?;
        ensure!(found == *expected, "{column} of {name} is {found:?}, not {expected:?}:\n{table}");
    }
    cell(&table, name, "MESSAGE")
}

/// `kubectl describe vstream` has these texts, in this order.
pub async fn describe_says(scene: &Scene<&World>, name: &str, texts: &[&str]) -> Result<()> {
    let described = scene.described(name).await?;
    let mut rest = described.as_str();
    for text in texts {
        let found = rest.split_once(text).map(|(_, after)| after);
        ensure!(found.is_some(), "{text:?} is not where it should be in:\n{described}");
        rest = found.unwrap_or_default();
    }
    Ok(())
}
