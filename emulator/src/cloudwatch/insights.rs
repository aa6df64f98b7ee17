//! Metrics Insights, as far as fleets need it: one statistic of one metric, over the streams that have data.
//!
//! `SELECT SUM("PutMedia.ErrorAckCount") FROM SCHEMA("AWS/KinesisVideo", StreamName) [WHERE StreamName = 'a' [AND …]]
//! [GROUP BY StreamName [, …]] [ORDER BY SUM() [ASC | DESC]] [LIMIT n]` (CloudWatch user guide, "Metrics Insights query
//! components and syntax"). A series without data in a period is not part of its answer: silence is never seen.

use std::collections::BTreeMap;

use super::{
    refusal::validation,
    series::{Metrics, Sample, Series, Statistic},
};
use crate::error::ServiceError;

/// Series that a query answers at most (CloudWatch user guide, "Metrics Insights limits").
pub const SERIES_MAX: usize = 500;

/// A condition of `WHERE`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    dimension: String,
    value: String,
    /// `!=`
    differs: bool,
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What is made of the values.
    pub statistic: Statistic,
    metric: String,
    namespace: String,
    /// Exactly these dimensions a metric must have; any without `SCHEMA`.
    schema: Option<Vec<String>>,
    conditions: Vec<Condition>,
    group_by: Vec<String>,
    /// Largest first, unless ascending; in the order of groups when absent.
    order: Option<(Statistic, bool)>,
    limit: usize,
}

/// Whether a text is meant to be a query, and not metric math.
pub fn is_query(expression: &str) -> bool {
    expression.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("SELECT"))
}

/// The metrics of one group of a query, under the values that they have in common.
pub type Group<'a> = (Vec<String>, Vec<&'a Series>);

/// The values of several series in `from..to`, together.
pub fn window(series: &[&Series], from: u64, to: u64) -> Option<Sample> {
    series.iter().fold(None, |found, one| Sample::merged(found, one.window(from, to)))
}

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self, ServiceError> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        parser.keyword("SELECT")?;
        let statistic = parser.statistic()?;
        parser.symbol('(')?;
        let metric = parser.name()?;
        parser.symbol(')')?;
        parser.keyword("FROM")?;
        let (namespace, schema) = parser.from()?;
        let conditions = if parser.take("WHERE") { parser.conditions()? } else { Vec::new() };
        let mut group_by = Vec::new();
        if parser.take("GROUP") {
            parser.keyword("BY")?;
            group_by = parser.names()?;
        }
        let order = parser.order()?;
        let limit = if parser.take("LIMIT") { parser.number()? } else { SERIES_MAX };
        parser.end()?;
        Ok(Self { statistic, metric, namespace, schema, conditions, group_by, order, limit })
    }

    /// The groups that have data in `from..to`, in the order of the query, as many as it lets through.
    pub fn groups<'a>(&'a self, metrics: &'a Metrics, from: u64, to: u64) -> Vec<Group<'a>> {
        let mut groups: BTreeMap<Vec<String>, Vec<&'a Series>> = BTreeMap::new();
        for (key, series) in metrics.named(&self.namespace, &self.metric) {
            let has_dimensions = self.schema.as_ref().is_none_or(|wanted| {
                wanted.len() == key.dimensions.len()
                    && wanted.iter().all(|name| key.dimension(name).is_some())
            });
            let fits = |condition: &Condition| {
                (key.dimension(&condition.dimension) == Some(&condition.value)) != condition.differs
            };
            let values: Option<Vec<String>> =
                self.group_by.iter().map(|name| key.dimension(name).map(str::to_owned)).collect();
            if let Some(values) = values
                && has_dimensions
                && self.conditions.iter().all(fits)
                && series.window(from, to).is_some()
            {
                groups.entry(values).or_default().push(series);
            }
        }
        let mut groups: Vec<Group<'a>> = groups.into_iter().collect();
        if let Some((statistic, ascending)) = self.order {
            let size =
                |series: &[&Series]| window(series, from, to).map_or(0.0, |all| all.statistic(statistic));
            groups.sort_by(|(_, one), (_, other)| {
                let order = size(one).total_cmp(&size(other));
                if ascending { order } else { order.reverse() }
            });
        }
        groups.truncate(self.limit);
        groups
    }

    /// What a group's series is called.
    pub fn label(&self, values: &[String]) -> String {
        if values.is_empty() { self.metric.clone() } else { values.join(" ") }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// In double quotes.
    Name(String),
    /// In single quotes.
    Text(String),
    Symbol(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, ServiceError> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            _ if letter.is_whitespace() => {}
            '"' | '\'' => {
                let mut inside = String::new();
                loop {
                    match letters.next() {
                        Some(end) if end == letter => break,
                        Some(other) => inside.push(other),
                        None => return Err(invalid("a quote is not closed")),
                    }
                }
                tokens.push(if letter == '"' { Token::Name(inside) } else { Token::Text(inside) });
            }
            _ if is_of_word(letter) => {
                let mut word = String::from(letter);
                while let Some(more) = letters.next_if(|next| is_of_word(*next)) {
                    word.push(more);
                }
                tokens.push(Token::Word(word));
            }
            symbol => tokens.push(Token::Symbol(symbol)),
        }
    }
    Ok(tokens)
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn take(&mut self, keyword: &str) -> bool {
        let next = self.tokens.get(self.at);
        let is_next = matches!(next, Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is_next);
        is_next
    }

    fn take_symbol(&mut self, symbol: char) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&Token::Symbol(symbol));
        self.at += usize::from(is_next);
        is_next
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), ServiceError> {
        if self.take(keyword) { Ok(()) } else { Err(invalid(&format!("{keyword} is missing"))) }
    }

    fn symbol(&mut self, symbol: char) -> Result<(), ServiceError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(invalid(&format!("'{symbol}' is missing"))) }
    }

    /// A name, in double quotes or without.
    fn name(&mut self) -> Result<String, ServiceError> {
        match self.next() {
            Some(Token::Word(name) | Token::Name(name)) => Ok(name),
            _ => Err(invalid(
                "a name is missing; one with other signs than letters, digits and _ needs double quotes",
            )),
        }
    }

    fn names(&mut self) -> Result<Vec<String>, ServiceError> {
        let mut names = vec![self.name()?];
        while self.take_symbol(',') {
            names.push(self.name()?);
        }
        Ok(names)
    }

    fn statistic(&mut self) -> Result<Statistic, ServiceError> {
        let name = self.name()?;
        Ok(match name.to_ascii_uppercase().as_str() {
            "AVG" => Statistic::Average,
            "COUNT" => Statistic::SampleCount,
            "MAX" => Statistic::Maximum,
            "MIN" => Statistic::Minimum,
            "SUM" => Statistic::Sum,
            _ => return Err(invalid(&format!("'{name}' is none of AVG, COUNT, MAX, MIN, SUM"))),
        })
    }

    fn from(&mut self) -> Result<(String, Option<Vec<String>>), ServiceError> {
        if !self.take("SCHEMA") {
            return Ok((self.name()?, None));
        }
        self.symbol('(')?;
        let mut names = self.names()?;
        self.symbol(')')?;
        let namespace = names.remove(0);
        Ok((namespace, Some(names)))
    }

    fn conditions(&mut self) -> Result<Vec<Condition>, ServiceError> {
        let mut conditions = Vec::new();
        loop {
            let dimension = self.name()?;
            let differs = self.take_symbol('!');
            self.symbol('=')?;
            let Some(Token::Text(value)) = self.next() else {
                return Err(invalid("a value in single quotes is missing"));
            };
            conditions.push(Condition { dimension, value, differs });
            if !self.take("AND") {
                return Ok(conditions);
            }
        }
    }

    fn order(&mut self) -> Result<Option<(Statistic, bool)>, ServiceError> {
        if !self.take("ORDER") {
            return Ok(None);
        }
        self.keyword("BY")?;
        let statistic = self.statistic()?;
        self.symbol('(')?;
        self.symbol(')')?;
        let ascending = self.take("ASC");
        if !ascending {
            self.take("DESC");
        }
        Ok(Some((statistic, ascending)))
    }

    fn number(&mut self) -> Result<usize, ServiceError> {
        match self.next() {
            Some(Token::Word(word)) => {
                let number = word.parse().ok().filter(|number| (1..=SERIES_MAX).contains(number));
                number.ok_or_else(|| invalid(&format!("LIMIT must be 1 to {SERIES_MAX}")))
            }
            _ => Err(invalid("LIMIT needs a number")),
        }
    }

    fn end(&self) -> Result<(), ServiceError> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(invalid("more follows than belongs to it")) }
    }
}

fn invalid(why: &str) -> ServiceError {
    validation(format!("Error in expression: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{super::series::Entry, super::series::MetricKey, *};

    fn metrics() -> Metrics {
        let mut metrics = Metrics::new(1000);
        for (stream, at_ms, value) in [("a", 0, 1.0), ("b", 0, 4.0), ("b", 1000, 2.0), ("c", 5000, 9.0)] {
            let key = MetricKey::new(
                "AWS/KinesisVideo",
                "PutMedia.X",
                vec![("StreamName".to_owned(), stream.to_owned())],
            );
            metrics.add(&key, &Sample::of(value), Entry { at_ms, unit: None, by_second: false });
        }
        metrics
    }

    fn values(query: &str, from: u64, to: u64) -> Vec<(String, f64)> {
        let query = Query::parse(query).unwrap();
        let metrics = metrics();
        let groups = query.groups(&metrics, from, to);
        groups
            .iter()
            .map(|(values, series)| {
                (query.label(values), window(series, from, to).unwrap().statistic(query.statistic))
            })
            .collect()
    }

    const FROM: &str = "SELECT SUM(\"PutMedia.X\") FROM SCHEMA(\"AWS/KinesisVideo\", StreamName)";

    #[test]
    fn groups_are_the_streams_with_data_and_silent_ones_are_left_out() {
        let grouped = format!("{FROM} GROUP BY StreamName");
        assert_eq!(values(&grouped, 0, 2000), [("a".to_owned(), 1.0), ("b".to_owned(), 6.0)]);
        assert_eq!(values(&grouped, 5000, 6000), [("c".to_owned(), 9.0)]);
        assert_eq!(values(&grouped, 9000, 10_000), []);
    }

    #[test]
    fn without_groups_all_streams_are_one() {
        assert_eq!(values(FROM, 0, 6000), [("PutMedia.X".to_owned(), 16.0)]);
        let average = "select avg(\"PutMedia.X\") from \"AWS/KinesisVideo\"";
        assert_eq!(values(average, 0, 6000), [("PutMedia.X".to_owned(), 4.0)]);
    }

    #[test]
    fn conditions_order_and_limit_hold() {
        let ordered = format!("{FROM} GROUP BY StreamName ORDER BY MAX() DESC LIMIT 2");
        assert_eq!(values(&ordered, 0, 6000), [("c".to_owned(), 9.0), ("b".to_owned(), 6.0)]);
        let chosen = format!("{FROM} WHERE StreamName != 'b' AND StreamName != 'c' GROUP BY StreamName");
        assert_eq!(values(&chosen, 0, 6000), [("a".to_owned(), 1.0)]);
        assert_eq!(
            values("SELECT SUM(\"PutMedia.X\") FROM SCHEMA(\"AWS/KinesisVideo\", StreamName, Site)", 0, 6000),
            []
        );
    }

    #[test]
    fn a_broken_query_is_refused_with_what_is_wrong() {
        for (text, why) in [
            ("SELECT", "name is missing"),
            ("SELECT MEAN(x) FROM y", "'MEAN' is none of"),
            ("SELECT SUM(PutMedia.X) FROM y", "')' is missing"),
            ("SELECT SUM(x) y", "FROM is missing"),
            ("SELECT SUM(x) FROM y WHERE z = a", "single quotes"),
            ("SELECT SUM(x) FROM y LIMIT 501", "1 to 500"),
            ("SELECT SUM(x) FROM y z", "more follows"),
            ("SELECT SUM(\"x) FROM y z", "quote"),
        ] {
            let error = Query::parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
    }
}
