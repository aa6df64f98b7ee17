//! What STS's answer means for a `StreamClass`. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use streamfleet_crds::types::find_condition;
use streamfleet_crds::{Aws, ConditionType, StreamClass, StreamClassReason};

use crate::aws::{AwsError, Caller, ErrorKind, Partition, Place, partition_of_arn};
use crate::conditions::{Truth, Verdict};

/// What is known about a class in a pass.
#[derive(Debug)]
pub struct Seen<'a> {
    /// What STS said about the caller.
    pub answer: &'a Result<Caller, AwsError>,
    /// What calls to a service of the place come to for now, where all of them fail.
    pub trouble: Option<&'a AwsError>,
    /// Whether the class is to be deleted.
    pub is_deleting: bool,
    /// How many `VideoStreams` refer to it.
    pub in_use: usize,
    /// How many `VideoStreams` this release cannot read.
    pub unreadable: usize,
}

/// The conditions of a class.
pub fn verdicts(aws: &Aws, seen: &Seen<'_>) -> Vec<Verdict> {
    let (status, reason, message) = caller_verified(aws, seen.answer);
    let caller = Verdict::new(ConditionType::CallerVerified, status, reason.as_str(), message.clone());
    vec![ready(aws, seen, (status, reason, message)), caller]
}

/// A class whose caller cannot be told, or whose account answers nothing, is not Ready.
fn ready(aws: &Aws, seen: &Seen<'_>, caller: (Truth, StreamClassReason, String)) -> Verdict {
    let (truth, reason, message) = match (caller, seen.trouble) {
        _ if seen.is_deleting => {
            let message = match (seen.in_use, seen.unreadable) {
                (0, unreadable) if unreadable > 0 => format!(
                    "The class is to be deleted, but {unreadable} VideoStream(s), which the operator's log names, cannot be read \
                     by this release and may refer to it; it goes when they can be read, or have gone"
                ),
                (in_use, _) => format!(
                    "The class is to be deleted, but {in_use} VideoStream(s) still refer to it; it goes when they have gone"
                ),
            };
            (Truth::False, StreamClassReason::StillReferenced, message)
        }
        ((Truth::True, ..), Some(trouble)) => {
            let (_, reason, advice) = refusal(aws, trouble.kind);
            (Truth::False, reason, format!("{advice} ({trouble})"))
        }
        (caller @ (Truth::True, ..), None) => caller,
        ((_, reason, message), _) => (Truth::False, reason, message),
    };
    Verdict::new(ConditionType::Ready, truth, reason.as_str(), message)
}

fn caller_verified(aws: &Aws, answer: &Result<Caller, AwsError>) -> (Truth, StreamClassReason, String) {
    match answer {
        Ok(caller) if caller.account == aws.account_id => (
            Truth::True,
            StreamClassReason::CallerVerified,
            format!("AWS knows the operator as {} of account {}", caller.arn, caller.account),
        ),
        Ok(caller) => (
            Truth::False,
            StreamClassReason::AccountMismatch,
            format!(
                "The operator's AWS credentials are of account {}, and the class names account {}: give the operator \
                 credentials of that account, or make a StreamClass for this one",
                caller.account, aws.account_id
            ),
        ),
        Err(error) => {
            let (status, reason, advice) = refusal(aws, error.kind);
            (status, reason, format!("{advice} ({error})"))
        }
    }
}

fn refusal(aws: &Aws, kind: ErrorKind) -> (Truth, StreamClassReason, &'static str) {
    match kind {
        ErrorKind::NoCredentials => (
            Truth::False,
            StreamClassReason::CredentialsMissing,
            "The operator has no AWS credentials: give its service account a role, or set the chart's \
             aws.credentialsSecretName",
        ),
        ErrorKind::RoleRefused => (
            Truth::False,
            StreamClassReason::RoleRefused,
            "AWS does not let the operator assume spec.aws.roleARN: its trust policy must name the operator's identity, and \
             spec.aws.externalID must be what it asks for",
        ),
        ErrorKind::CredentialsRefused | ErrorKind::Denied => (
            Truth::False,
            StreamClassReason::CredentialsRefused,
            "AWS refuses the operator's credentials: renew them, or the Secret that they come from",
        ),
        ErrorKind::WrongAccount => (
            Truth::False,
            StreamClassReason::AccountMismatch,
            "The operator's AWS credentials are of another account: give it credentials of that of the class",
        ),
        ErrorKind::Unreachable if aws.fips => (
            Truth::Unknown,
            StreamClassReason::EndpointUnreachable,
            "An AWS endpoint cannot be reached: check that the region has FIPS endpoints, or set spec.aws.fips to false; then \
             spec.aws.endpoints, spec.aws.caBundle and the way out of the cluster",
        ),
        ErrorKind::Unreachable => (
            Truth::Unknown,
            StreamClassReason::EndpointUnreachable,
            "An AWS endpoint cannot be reached: check spec.aws.endpoints, spec.aws.caBundle and the way out of the cluster",
        ),
        ErrorKind::InvalidCaBundle => (
            Truth::False,
            StreamClassReason::InvalidCaBundle,
            "spec.aws.caBundle cannot be used: it must hold certificates in PEM",
        ),
        _ => (
            Truth::Unknown,
            StreamClassReason::AwsError,
            "STS did not answer the question; it is asked again: check what it says, and spec.aws.endpoints",
        ),
    }
}

/// What need not be asked of STS: a role of another partition than the region's can never be assumed there.
pub fn mistake(aws: &Aws) -> Option<AwsError> {
    let role = aws.role_arn.as_deref()?;
    let (of_role, of_region) = (partition_of_arn(role)?, Partition::of(&aws.region).id);
    (of_role != of_region).then(|| AwsError {
        operation: "AssumeRole",
        kind: ErrorKind::RoleRefused,
        message: format!("the role is of partition {of_role}, and region {} is of {of_region}", aws.region),
    })
}

/// Where the streams of a class are made; `None` until STS has confirmed the account for the spec as it is now.
pub fn verified_place(class: &StreamClass) -> Option<Place> {
    let is_verified = current(class).is_some_and(|verified| verified.status == Truth::True.as_str());
    is_verified.then(|| Place::from(&class.spec.aws))
}

/// Whether STS was asked about the spec as it is now. Until then nothing is done, and nothing is said either: each edit of a
/// class would otherwise turn all of its streams twice.
pub fn is_checked(class: &StreamClass) -> bool {
    current(class).is_some()
}

/// The condition about the caller, if it is about the spec as it is now.
fn current(class: &StreamClass) -> Option<&Condition> {
    let status = class.status.as_ref()?;
    let verified = find_condition(&status.conditions, ConditionType::CallerVerified.as_str())?;
    (verified.observed_generation == class.metadata.generation).then_some(verified)
}

/// Whether an answer says nothing about a caller that was confirmed before.
pub fn is_no_news(class: &StreamClass, answer: &Result<Caller, AwsError>) -> bool {
    let is_silence =
        answer.as_ref().is_err_and(|error| refusal(&class.spec.aws, error.kind).0 == Truth::Unknown);
    is_silence && verified_place(class).is_some() && class.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aws() -> Aws {
        serde_json::from_value(serde_json::json!({"region": "eu-west-1", "accountID": "123456789012"}))
            .unwrap()
    }

    fn error(kind: ErrorKind) -> Result<Caller, AwsError> {
        Err(AwsError { operation: "GetCallerIdentity", kind, message: "text".to_owned() })
    }

    #[allow(clippy::unnecessary_wraps, reason = "a table holds it beside errors")]
    fn caller(account: &str) -> Result<Caller, AwsError> {
        Ok(Caller { account: account.to_owned(), arn: "arn:aws:iam::1:user/x".to_owned() })
    }

    fn seen(answer: &Result<Caller, AwsError>) -> Seen<'_> {
        Seen { answer, trouble: None, is_deleting: false, in_use: 0, unreadable: 0 }
    }

    #[test]
    fn each_answer_has_its_reason() {
        let table = [
            (caller("123456789012"), "True", "CallerVerified"),
            (caller("210987654321"), "False", "AccountMismatch"),
            (error(ErrorKind::NoCredentials), "False", "CredentialsMissing"),
            (error(ErrorKind::Denied), "False", "CredentialsRefused"),
            (error(ErrorKind::CredentialsRefused), "False", "CredentialsRefused"),
            (error(ErrorKind::RoleRefused), "False", "RoleRefused"),
            (error(ErrorKind::Unreachable), "Unknown", "EndpointUnreachable"),
            (error(ErrorKind::InvalidCaBundle), "False", "InvalidCaBundle"),
            (error(ErrorKind::Throttled), "Unknown", "AwsError"),
        ];
        for (answer, status, reason) in table {
            let verdicts = verdicts(&aws(), &seen(&answer));
            assert_eq!((verdicts[1].status.as_str(), verdicts[1].reason), (status, reason), "{answer:?}");
            let ready = if status == "True" { Truth::True } else { Truth::False };
            assert_eq!(verdicts[0].status, ready, "{answer:?}");
        }
    }

    #[test]
    fn another_account_is_named_beside_the_expected_one() {
        let verdicts = verdicts(&aws(), &seen(&caller("210987654321")));
        assert!(verdicts[1].message.contains("210987654321") && verdicts[1].message.contains("123456789012"));
    }

    #[test]
    fn a_class_in_use_says_why_it_does_not_go() {
        let answer = caller("123456789012");
        let verdicts = verdicts(&aws(), &Seen { is_deleting: true, in_use: 3, ..seen(&answer) });
        assert_eq!(verdicts[0].reason, "StillReferenced");
        assert!(verdicts[0].message.contains("3 VideoStream"));
        let unreadable = super::verdicts(&aws(), &Seen { is_deleting: true, unreadable: 2, ..seen(&answer) });
        let message = &unreadable[0].message;
        assert!(message.contains("2 VideoStream(s)") && message.contains("cannot be read"), "{message}");
        assert_eq!(verdicts[1].status, Truth::True, "the streams' own deletion still needs the class");
    }

    #[test]
    fn a_class_whose_account_answers_nothing_is_not_ready_though_its_caller_is_right() {
        let answer = caller("123456789012");
        let trouble = error(ErrorKind::Unreachable).unwrap_err();
        let verdicts = verdicts(&aws(), &Seen { trouble: Some(&trouble), ..seen(&answer) });
        assert_eq!((verdicts[0].status, verdicts[0].reason), (Truth::False, "EndpointUnreachable"));
        assert_eq!(verdicts[1].status, Truth::True, "its streams go on trying");
    }

    #[test]
    fn a_role_of_another_partition_is_refused_without_a_question() {
        let with = |region: &str, role: &str| {
            let aws = serde_json::json!({"region": region, "accountID": "123456789012", "roleARN": role});
            mistake(&serde_json::from_value(aws).unwrap()).map(|error| error.message)
        };
        let role = |partition: &str| format!("arn:{partition}:iam::123456789012:role/x");
        assert_eq!(with("cn-north-1", &role("aws-cn")), None);
        assert_eq!(with("eu-west-1", &role("aws")), None);
        let message = with("us-gov-west-1", &role("aws")).unwrap();
        assert_eq!(message, "the role is of partition aws, and region us-gov-west-1 is of aws-us-gov");
    }

    #[test]
    fn a_changed_class_is_used_only_once_it_is_verified_again() {
        let mut class =
            StreamClass::new("x", serde_json::from_value(serde_json::json!({"aws": aws()})).unwrap());
        class.metadata.generation = Some(1);
        assert!(verified_place(&class).is_none());
        let verdicts = verdicts(&aws(), &seen(&caller("123456789012")));
        let conditions = crate::conditions::merge(&[], &verdicts, Some(1), jiff::Timestamp::UNIX_EPOCH);
        class.status = Some(streamfleet_crds::StreamClassStatus { conditions, ..Default::default() });
        assert!(verified_place(&class).is_some());
        assert!(is_no_news(&class, &error(ErrorKind::Unreachable)));
        assert!(!is_no_news(&class, &error(ErrorKind::Denied)));
        assert!(!is_no_news(&class, &caller("210987654321")));
        class.metadata.generation = Some(2);
        assert!(verified_place(&class).is_none());
        assert!(!is_checked(&class) && !is_no_news(&class, &error(ErrorKind::Unreachable)));
    }
}
