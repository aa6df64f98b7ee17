//! From where the streams of an account and region are looked at: from the place of any class that names them. Their roles differ, and
//! one may lack what another has.

use futures::future::BoxFuture;

use super::super::{AwsError, ErrorKind, Place};

/// The places of a fleet: one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    first: Place,
    others: Vec<Place>,
}

impl Places {
    /// This one alone.
    pub const fn new(first: Place) -> Self {
        Self { first, others: Vec::new() }
    }

    /// With this one too, unless it is known: most classes share one.
    pub fn add(&mut self, place: Place) {
        if self.first != place && !self.others.contains(&place) {
            self.others.push(place);
        }
    }

    /// The one that is asked first. Account and region are those of all.
    pub const fn first(&self) -> &Place {
        &self.first
    }

    /// Asks from the place of this number, and from the next for as long as the answer is one that may be another there. The answer
    /// is the last one, with the number of its place.
    pub async fn ask_from<'a, T>(
        &'a self,
        start: usize,
        ask: impl Fn(&'a Place) -> BoxFuture<'a, Result<T, AwsError>>,
    ) -> (usize, Result<T, AwsError>) {
        let count = 1 + self.others.len();
        // There may be fewer than there were.
        let mut number = start % count;
        let mut answer = ask(self.nth(number)).await;
        for _ in 1..count {
            match &answer {
                Err(error) if depends_on_place(error.kind) => {
                    let Place { region, account, role_arn, .. } = self.nth(number);
                    tracing::debug!(region, account, role_arn, %error, "Another class's role is tried");
                }
                _ => break,
            }
            number = (number + 1) % count;
            answer = ask(self.nth(number)).await;
        }
        (number, answer)
    }

    fn nth(&self, number: usize) -> &Place {
        number.checked_sub(1).and_then(|number| self.others.get(number)).unwrap_or(&self.first)
    }
}

/// Whether the same question may be answered elsewhere: other places have other roles, endpoints and certificates.
const fn depends_on_place(kind: ErrorKind) -> bool {
    kind.is_refusal() || matches!(kind, ErrorKind::Unreachable | ErrorKind::InvalidCaBundle)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt as _;

    use super::*;

    fn place(role: &str) -> Place {
        Place { role_arn: Some(role.to_owned()), ..Place::new("eu-west-1", "123456789012") }
    }

    fn places() -> Places {
        let mut places = Places::new(place("a"));
        for role in ["b", "a", "c", "b"] {
            places.add(place(role));
        }
        places
    }

    /// Who was asked, where these answer so and all others well, and which has answered.
    async fn asked(start: usize, failing: &[(&str, ErrorKind)]) -> (String, Option<ErrorKind>, usize) {
        let (places, asked) = (places(), Mutex::new(String::new()));
        let ask = |place: &Place| {
            let role = place.role_arn.clone().unwrap_or_default();
            asked.lock().unwrap().push_str(&role);
            let failure = failing.iter().find(|(failing, _)| *failing == role).map(|(_, kind)| *kind);
            let error = |kind| AwsError { operation: "ListStreams", kind, message: String::new() };
            async move { failure.map_or(Ok(()), |kind| Err(error(kind))) }.boxed()
        };
        let (number, answer) = places.ask_from(start, ask).await;
        (asked.into_inner().unwrap(), answer.err().map(|error| error.kind), number)
    }

    #[tokio::test]
    async fn what_one_role_may_not_ask_another_is_asked_for_and_all_at_most_once() {
        let denied = ErrorKind::Denied;
        assert_eq!(asked(0, &[]).await, ("a".to_owned(), None, 0));
        assert_eq!(asked(0, &[("a", denied)]).await, ("ab".to_owned(), None, 1));
        assert_eq!(asked(2, &[("a", denied), ("c", denied)]).await, ("cab".to_owned(), None, 1));
        assert_eq!(asked(7, &[]).await, ("b".to_owned(), None, 1), "there were more once");
        let all = [("a", denied), ("b", denied), ("c", ErrorKind::RoleRefused)];
        assert_eq!(asked(0, &all).await, ("abc".to_owned(), Some(ErrorKind::RoleRefused), 2));
    }

    #[tokio::test]
    async fn nobody_else_is_asked_where_the_answer_would_be_the_same() {
        for (kind, expected) in [
            (ErrorKind::Denied, "ab"),
            (ErrorKind::NoCredentials, "ab"),
            (ErrorKind::CredentialsRefused, "ab"),
            (ErrorKind::RoleRefused, "ab"),
            (ErrorKind::WrongAccount, "ab"),
            (ErrorKind::InvalidCaBundle, "ab"),
            (ErrorKind::Unreachable, "ab"),
            (ErrorKind::Throttled, "a"),
            (ErrorKind::NotFound, "a"),
            (ErrorKind::Other, "a"),
        ] {
            assert_eq!(asked(0, &[("a", kind)]).await.0, expected, "{kind:?}");
        }
    }
}
