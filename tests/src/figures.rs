//! Measured figures: shown as a table, compared with what they must be, and written as JSON for whoever compares runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::tools::repository;

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub metric: String,
    /// How much it was; absent where it could not be measured, which is a failure when there is a target.
    pub value: Option<f64>,
    /// In what it is counted.
    pub unit: String,
    /// What it must be; absent where it is for information.
    pub target: Option<f64>,
    /// On which side of the target it must lie.
    pub better: Better,
    /// What it should be.
    #[serde(skip)]
    pub aim: Option<f64>,
    /// Remarks for people, such as the spread.
    #[serde(skip)]
    pub note: String,
}

/// In which direction a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The less the better.
    Lower,
    /// The more the better.
    Higher,
}

impl Figure {
    /// A figure that is the better the lower it is, for information.
    pub fn new(metric: impl Into<String>, value: impl Into<Option<f64>>, unit: &str) -> Self {
        Self {
            metric: metric.into(),
            value: value.into(),
            unit: unit.to_owned(),
            target: None,
            better: Better::Lower,
            aim: None,
            note: String::new(),
        }
    }

    /// It must be at most this.
    #[must_use]
    pub fn at_most(self, target: f64) -> Self {
        Self { target: Some(target), better: Better::Lower, ..self }
    }

    /// It must be at least this.
    #[must_use]
    pub fn at_least(self, target: f64) -> Self {
        Self { target: Some(target), better: Better::Higher, ..self }
    }

    /// It should be this.
    #[must_use]
    pub fn aim(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    /// With a remark.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Whether it is not what it must be.
    pub fn is_missed(&self) -> bool {
        match (self.value, self.target) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(value), Some(target)) => !self.reaches(value, target),
        }
    }

    fn reaches(&self, value: f64, goal: f64) -> bool {
        match self.better {
            Better::Lower => value <= goal,
            Better::Higher => value >= goal,
        }
    }

    fn verdict(&self) -> &'static str {
        let aims = |value| self.aim.is_some_and(|aim| self.reaches(value, aim));
        match (self.value, self.target) {
            _ if self.is_missed() => "MISSED",
            (_, None) => "",
            (Some(value), Some(_)) if aims(value) => "held, aim reached",
            _ => "held",
        }
    }
}

/// The middle one, or the mean of the two in the middle; none of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The value below or at which the given part (0 to 1) of all lies; none of nothing.
pub fn percentile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(place.max(1) - 1).copied()
}

/// The figures as text, in columns.
pub fn table(figures: &[Figure]) -> String {
    let amount = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let bound = |figure: &Figure, value: Option<f64>| match (value, figure.better) {
        (None, _) => String::new(),
        (Some(value), Better::Lower) => format!("<= {}", number(value)),
        (Some(value), Better::Higher) => format!(">= {}", number(value)),
    };
    let head = ["metric", "value", "unit", "must", "aim", "verdict", "note"].map(str::to_owned);
    let rows = figures.iter().map(|figure| {
        [
            figure.metric.clone(),
            amount(figure.value),
            figure.unit.clone(),
            bound(figure, figure.target),
            bound(figure, figure.aim),
            figure.verdict().to_owned(),
            figure.note.clone(),
        ]
    });
    columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// Rows of cells as lines whose cells stand below each other.
pub fn columns<const COUNT: usize>(rows: &[[String; COUNT]]) -> String {
    let width = |place: usize| rows.iter().map(|row| row[place].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COUNT).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Three digits that matter.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        at_least if at_least >= 100.0 => 0,
        at_least if at_least >= 10.0 => 1,
        at_least if at_least >= 1.0 => 2,
        _ => 3,
    };
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.digits$}") }
}

/// Writes the figures to `target/bench/NAME.json` of the checkout; gives the path.
pub fn write(name: &str, figures: &[Figure]) -> Result<PathBuf> {
    let path = repository().join("target/bench").join(format!("{name}.json"));
    write_to(&path, figures)?;
    Ok(path)
}

fn write_to(path: &Path, figures: &[Figure]) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::write(path, text + "\n").with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_upper_end_of_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.99), Some(99.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_figure_on_the_wrong_side_or_without_a_value_is_missed() {
        let figure = |value: Option<f64>| Figure::new("cpu", value, "%");
        assert!(!figure(Some(0.45)).at_most(0.45).is_missed());
        assert!(figure(Some(0.46)).at_most(0.45).is_missed());
        assert!(figure(Some(14.9)).at_least(15.0).is_missed());
        assert!(figure(None).at_least(15.0).is_missed());
        assert!(!figure(None).is_missed());
        assert!(table(&[figure(Some(0.1)).at_most(0.45).aim(0.12)]).contains("held, aim reached"));
        assert!(table(&[figure(Some(0.5)).at_most(0.45).aim(0.12)]).contains("MISSED"));
    }

    #[test]
    fn what_is_written_has_the_five_names() {
        let figure = Figure::new("lost", 0.0, "pictures").at_most(0.0).aim(0.0).note("none");
        let text = serde_json::to_string(&figure).unwrap();
        assert_eq!(text, r#"{"metric":"lost","value":0.0,"unit":"pictures","target":0.0,"better":"lower"}"#);
    }
}
