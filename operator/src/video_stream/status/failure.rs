//! What a call that failed means for the object, by name, with the next step. Pure.

use streamfleet_crds::types::is_true;
use streamfleet_crds::{ConditionType, VideoStreamReason as Reason, VideoStreamStatus};

use super::verdicts::kept;
use crate::aws::{AwsError, ErrorKind};
use crate::conditions::{Truth, Verdict};

const CREDENTIALS_REFUSED: &str = "AWS refuses the operator's credentials: renew them";

/// The reason, and what to do.
pub const fn reason(kind: ErrorKind) -> (Reason, &'static str) {
    match kind {
        ErrorKind::Denied => (
            Reason::AwsAccessDenied,
            "AWS does not let the operator make this call: add it to the policy of the operator's role",
        ),
        ErrorKind::NoCredentials => (
            Reason::AwsAccessDenied,
            "The operator finds no AWS credentials: give its service account a role, or set the chart's \
             aws.credentialsSecretName",
        ),
        ErrorKind::CredentialsRefused => (Reason::AwsAccessDenied, CREDENTIALS_REFUSED),
        ErrorKind::RoleRefused => (
            Reason::AwsAccessDenied,
            "AWS does not let the operator assume the class's spec.aws.roleARN: correct its trust policy, or \
             that field",
        ),
        ErrorKind::WrongAccount => (
            Reason::AwsAccessDenied,
            "The operator's credentials are of another account than the class's spec.aws.accountID, and nothing was sent: \
             give it credentials of that account",
        ),
        ErrorKind::Throttled => (Reason::AwsThrottled, "AWS asks for fewer calls; it is tried again"),
        ErrorKind::Unreachable => (
            Reason::AwsUnreachable,
            "The KVS endpoint cannot be reached; it is tried again: check the way out of the cluster and the class's \
             spec.aws.endpoints",
        ),
        ErrorKind::Quota | ErrorKind::LimitExceeded => (
            Reason::AwsQuotaExceeded,
            "A quota of the AWS account is used up: have it raised, or delete streams; it is tried again",
        ),
        ErrorKind::TagLimit => (
            Reason::TooManyTags,
            "The stream would have more than the 50 tags that the service takes: remove tags from the stream, from \
             spec.tags, or from the class's spec.stream.tags",
        ),
        ErrorKind::InvalidArgument => {
            (Reason::AwsInvalidArgument, "The service refuses a value of the spec: correct it")
        }
        ErrorKind::KmsUnusable => (
            Reason::KmsKeyUnusable,
            "The KMS key cannot be used: enable it, or let the operator use it in its key policy; for another key \
             delete this object and make it again with another spec.kmsKeyID",
        ),
        ErrorKind::NoRetention => (
            Reason::NoRetention,
            "Image generation and notifications need a retention: set spec.retentionHours to at least 1, or remove \
             spec.imageGeneration and spec.notification",
        ),
        ErrorKind::InUse | ErrorKind::VersionMismatch => {
            (Reason::ChangePending, "The stream is being changed by somebody else; it is tried again")
        }
        ErrorKind::InvalidCaBundle => {
            (Reason::AwsError, "The class's spec.aws.caBundle holds no certificate: correct it")
        }
        ErrorKind::NotLeader => (Reason::ChangePending, "Another replica of the operator takes over"),
        ErrorKind::NotFound | ErrorKind::Other => {
            (Reason::AwsError, "AWS refuses the call; it is tried again")
        }
    }
}

/// The verdicts where nothing could be learned about the object in this generation.
pub fn failed(before: &VideoStreamStatus, error: &AwsError, generation: Option<i64>) -> Vec<Verdict> {
    let (reason, advice) = reason(error.kind);
    let message = format!("{advice} ({error})");
    let synced = Verdict::new(ConditionType::Synced, Truth::Unknown, reason.as_str(), message.clone());
    let owned = kept(before, ConditionType::Owned);
    // That we are to ask less often says nothing about the stream; but what is asked for now was never compared with it.
    let was_ready = is_true(&before.conditions, ConditionType::Ready.as_str());
    if error.kind == ErrorKind::Throttled && was_ready && before.observed_generation == generation {
        return vec![kept(before, ConditionType::Ready), synced, owned];
    }
    // A stream that was there is not gone because nobody answers.
    let ready = if before.stream_arn.is_some() || was_ready { Truth::Unknown } else { Truth::False };
    vec![Verdict::new(ConditionType::Ready, ready, reason.as_str(), message), synced, owned]
}

/// The message for a call that was refused, while others were made. A name that is taken without a stream to be seen is a stream
/// that somebody else is making or deleting at this moment.
pub fn refused_call(error: &AwsError) -> (Reason, String) {
    if error.kind == ErrorKind::InUse && error.operation == "CreateStream" {
        let text = "The name is taken, and no stream of that name is to be seen: somebody else is making or deleting one; it \
                    is tried again";
        return (Reason::NameTaken, format!("{text} ({error})"));
    }
    let (reason, advice) = reason(error.kind);
    (reason, format!("{advice} ({error})"))
}
