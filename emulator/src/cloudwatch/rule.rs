//! The rule of a composite alarm: `ALARM(a) AND NOT (OK("b") OR INSUFFICIENT_DATA(c))`.
//!
//! The grammar is that of `PutCompositeAlarm` in the API reference. `NOT` binds closest, then `AND`, then `OR`.

use super::{evaluate::State, refusal::validation};
use crate::error::ServiceError;

/// Alarms that a rule may name (`PutCompositeAlarm`).
const CHILDREN_MAX: usize = 100;
/// Functions and constants that a rule may have (`PutCompositeAlarm`).
const ELEMENTS_MAX: usize = 500;
/// Parentheses and `NOT`s inside each other; bounds the recursion. An assumption.
const DEPTH_MAX: usize = 100;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `TRUE` or `FALSE`.
    Constant(bool),
    /// Whether an alarm is in a state: `ALARM(…)` and so on.
    Is(State, String),
    /// `NOT`.
    Not(Box<Self>),
    /// `AND` of all of these.
    All(Vec<Self>),
    /// `OR` of all of these.
    Any(Vec<Self>),
}

impl Rule {
    /// Reads a rule; names of ARNs are taken out of them.
    pub fn parse(text: &str) -> Result<Self, ServiceError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens, at: 0, elements: 0, depth: 0 };
        let rule = parser.any()?;
        if let Some(token) = parser.peek() {
            return Err(invalid(&format!("unexpected {}", token.describe())));
        }
        if parser.elements > ELEMENTS_MAX {
            return Err(invalid(&format!("more than {ELEMENTS_MAX} elements")));
        }
        let children = rule.children();
        if children.len() > CHILDREN_MAX {
            return Err(invalid(&format!("more than {CHILDREN_MAX} alarms")));
        }
        Ok(rule)
    }

    /// The alarms that it names, each once, in order.
    pub fn children(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Constant(_) => {}
            Self::Is(_, name) => found.push(name),
            Self::Not(rule) => rule.collect(found),
            Self::All(rules) | Self::Any(rules) => rules.iter().for_each(|rule| rule.collect(found)),
        }
    }

    /// Whether it holds; an alarm without a state is in none.
    pub fn holds(&self, state: &impl Fn(&str) -> Option<State>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Is(wanted, name) => state(name) == Some(*wanted),
            Self::Not(rule) => !rule.holds(state),
            Self::All(rules) => rules.iter().all(|rule| rule.holds(state)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(state)),
        }
    }
}

/// The name of an alarm that is given by its name or its ARN.
pub fn alarm_name(given: &str) -> &str {
    let is_arn = given.starts_with("arn:") && given.contains(":cloudwatch:");
    given.split_once(":alarm:").filter(|_| is_arn).map_or(given, |(_, name)| name)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    /// Without quotes.
    Word(String),
    Quoted(String),
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Self::Open => "'('".to_owned(),
            Self::Close => "')'".to_owned(),
            Self::Word(word) | Self::Quoted(word) => format!("'{word}'"),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, ServiceError> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            _ if letter.is_whitespace() => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '"' => {
                let mut name = String::new();
                loop {
                    match letters.next() {
                        Some('"') => break,
                        Some(letter) => name.push(letter),
                        None => return Err(invalid("a quote is not closed")),
                    }
                }
                tokens.push(Token::Quoted(name));
            }
            _ => {
                let mut word = String::from(letter);
                while let Some(more) =
                    letters.next_if(|next| !next.is_whitespace() && !matches!(next, '(' | ')' | '"'))
                {
                    word.push(more);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    elements: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Takes the keyword, if it is what comes.
    fn take(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<Rule, ServiceError> {
        let mut rules = vec![self.all()?];
        while self.take("OR") {
            rules.push(self.all()?);
        }
        Ok(one_or(rules, Rule::Any))
    }

    fn all(&mut self) -> Result<Rule, ServiceError> {
        let mut rules = vec![self.single()?];
        while self.take("AND") {
            rules.push(self.single()?);
        }
        Ok(one_or(rules, Rule::All))
    }

    fn single(&mut self) -> Result<Rule, ServiceError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(invalid("it is too deep"));
        }
        let rule = self.at_depth()?;
        self.depth -= 1;
        Ok(rule)
    }

    fn at_depth(&mut self) -> Result<Rule, ServiceError> {
        if self.take("NOT") {
            return Ok(Rule::Not(Box::new(self.single()?)));
        }
        match self.next() {
            Some(Token::Open) => {
                let rule = self.any()?;
                self.close()?;
                Ok(rule)
            }
            Some(Token::Word(word)) => self.function(&word),
            Some(other) => Err(invalid(&format!("unexpected {}", other.describe()))),
            None => Err(invalid("it ends too early")),
        }
    }

    fn function(&mut self, word: &str) -> Result<Rule, ServiceError> {
        self.elements += 1;
        let state = match word.to_ascii_uppercase().as_str() {
            "TRUE" => return Ok(Rule::Constant(true)),
            "FALSE" => return Ok(Rule::Constant(false)),
            "ALARM" => State::Alarm,
            "OK" => State::Ok,
            "INSUFFICIENT_DATA" => State::InsufficientData,
            _ => return Err(invalid(&format!("'{word}' is no function"))),
        };
        if self.next() != Some(Token::Open) {
            return Err(invalid(&format!("'{word}' needs an alarm in parentheses")));
        }
        let name = self.name()?;
        self.close()?;
        Ok(Rule::Is(state, alarm_name(&name).to_owned()))
    }

    /// A name, which may have spaces also without quotes.
    fn name(&mut self) -> Result<String, ServiceError> {
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.peek() {
            words.push(word.clone());
            self.at += 1;
        }
        match self.peek() {
            Some(Token::Quoted(name)) if words.is_empty() => {
                words.push(name.clone());
                self.at += 1;
            }
            _ => {}
        }
        if words.is_empty() { Err(invalid("an alarm's name is missing")) } else { Ok(words.join(" ")) }
    }

    fn close(&mut self) -> Result<(), ServiceError> {
        match self.next() {
            Some(Token::Close) => Ok(()),
            Some(other) => Err(invalid(&format!("')' is missing before {}", other.describe()))),
            None => Err(invalid("')' is missing")),
        }
    }
}

fn one_or(mut rules: Vec<Rule>, several: fn(Vec<Rule>) -> Rule) -> Rule {
    match (rules.len(), rules.pop()) {
        (1, Some(rule)) => rule,
        (_, last) => {
            rules.extend(last);
            several(rules)
        }
    }
}

fn invalid(why: &str) -> ServiceError {
    validation(format!("Invalid AlarmRule: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a rule holds when `a` is in ALARM, `b` OK and `c` not known.
    fn holds(text: &str) -> bool {
        let state = |name: &str| match name {
            "a" => Some(State::Alarm),
            "b" => Some(State::Ok),
            "c" => Some(State::InsufficientData),
            _ => None,
        };
        Rule::parse(text).unwrap().holds(&state)
    }

    #[test]
    fn functions_ask_for_the_state_of_an_alarm() {
        assert!(holds("ALARM(a)") && holds("OK(b)") && holds("INSUFFICIENT_DATA(c)"));
        assert!(!holds("ALARM(b)") && !holds("OK(c)") && !holds("INSUFFICIENT_DATA(a)"));
        assert!(holds("TRUE") && !holds("false"));
        assert!(!holds("ALARM(gone)"));
    }

    #[test]
    fn not_binds_closer_than_and_which_binds_closer_than_or() {
        assert!(holds("TRUE OR FALSE AND FALSE"));
        assert!(!holds("(TRUE OR FALSE) AND FALSE"));
        assert!(holds("NOT FALSE AND TRUE"));
        assert!(!holds("NOT (FALSE OR TRUE)"));
        assert!(holds("NOT NOT TRUE"));
        assert!(holds("(ALARM(a) OR ALARM(b)) AND OK(b) AND NOT ALARM(\"c\")"));
    }

    #[test]
    fn an_alarm_may_be_named_by_its_arn_in_quotes_or_with_spaces() {
        let by_arn = "ALARM(arn:aws:cloudwatch:eu-central-1:123456789012:alarm:site/north cam)";
        for text in [by_arn, "ALARM(\"site/north cam\")", "ALARM(site/north cam)"] {
            assert_eq!(Rule::parse(text).unwrap().children(), ["site/north cam"], "{text}");
        }
    }

    #[test]
    fn a_broken_rule_is_refused_with_what_is_wrong() {
        for (text, why) in [
            ("", "ends too early"),
            ("ALARM(a) ALARM(b)", "unexpected 'ALARM'"),
            ("ALARM(a", "')' is missing"),
            ("ALARM()", "name is missing"),
            ("ALARM a", "in parentheses"),
            ("MAYBE(a)", "no function"),
            ("AND", "no function"),
            ("ALARM(\"a)", "quote"),
            ("(ALARM(a)", "')' is missing"),
            ("ALARM(a))", "unexpected ')'"),
        ] {
            let error = Rule::parse(text).unwrap_err();
            assert_eq!(error.code, "ValidationError");
            assert!(error.message.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_limits_of_children_elements_and_depth_hold() {
        let rule = |count: usize, name: fn(usize) -> String| {
            (0..count).map(|n| format!("ALARM({})", name(n))).collect::<Vec<_>>().join(" OR ")
        };
        assert!(Rule::parse(&rule(100, |n| format!("a{n}"))).is_ok());
        assert!(Rule::parse(&rule(101, |n| format!("a{n}"))).unwrap_err().message.contains("100 alarms"));
        assert!(Rule::parse(&rule(500, |_| "a".to_owned())).is_ok());
        assert!(Rule::parse(&rule(501, |_| "a".to_owned())).unwrap_err().message.contains("500 elements"));
        assert!(Rule::parse(&format!("{}TRUE", "NOT ".repeat(5000))).unwrap_err().message.contains("deep"));
    }
}
