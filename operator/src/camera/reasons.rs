//! What the producers' reasons are called in conditions, and what they mean, in words. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use streamfleet_contract::{SourceReason, UploadReason};
use streamfleet_crds::types::{find_condition, is_true};
use streamfleet_crds::{Camera, CameraReason as Reason, ConditionType};

/// Why a Camera is not recorded, in few words.
pub fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Recording | Reason::Persisting => "Recording",
        Reason::CatchingUp => "Recording, catching up",
        Reason::NotStored => "Passing through, nothing is kept",
        Reason::Connecting => "Connecting to the camera",
        Reason::HostNotFound => "Camera's host name is unknown",
        Reason::Unreachable => "Camera unreachable",
        Reason::CredentialsMissing => "Camera's credentials are missing",
        Reason::AuthenticationFailed => "Camera refuses the credentials",
        Reason::Refused => "Camera refuses the request",
        Reason::NoVideo => "Camera offers no video",
        Reason::UnsupportedCodec => "Camera's codec is not carried",
        Reason::InvalidMedia => "Camera sends broken video",
        Reason::Silent => "Camera sends nothing",
        Reason::Disconnected => "Camera hung up",
        Reason::UnstableParameterSets => "Camera changes its parameters too often",
        Reason::ServerBusy => "Camera is busy",
        Reason::CertificateNotTrusted => "Camera's certificate is not trusted",
        Reason::InputUnavailable => "Input is unavailable",
        Reason::SourceEnded => "File has ended",
        Reason::ContainerSourceNotAllowed => "Container sources are not allowed",
        Reason::NoMedia => "Waiting for the first picture",
        Reason::Opening => "Opening the upload",
        Reason::SourceLost => "Camera lost",
        Reason::EndpointUnreachable => "KVS unreachable",
        Reason::AwsCredentialsMissing => "AWS credentials are missing",
        Reason::AwsCredentialsRefused => "AWS refuses the credentials",
        Reason::StreamNotFound => "KVS stream is gone",
        Reason::StreamHeldElsewhere => "Stream is held by another producer",
        Reason::Throttled => "AWS asks for fewer calls",
        Reason::FragmentRefused => "KVS refuses fragments",
        Reason::KmsKeyUnusable => "KVS cannot use the KMS key",
        Reason::OnHold => "KVS keeps video waiting",
        Reason::NoPersistedAcks => "KVS does not acknowledge storage",
        Reason::VideoStreamNotFound => "VideoStream not found",
        Reason::VideoStreamNotOwned => "VideoStream belongs to somebody else",
        Reason::VideoStreamNotReady => "VideoStream is not ready",
        Reason::StreamClaimed => "Another Camera writes the stream",
        Reason::ProducerStarting => "Producer is starting",
        Reason::ProducerNotScheduled => "Producer finds no node",
        Reason::ProducerImageUnavailable => "Producer's image is unavailable",
        Reason::ProducerCrashing => "Producer crashes",
        Reason::ProducerNotAdmitted => "Producer is not admitted",
        Reason::ProducerUnreachable => "Producer does not answer",
        Reason::NotApplicable
        | Reason::Unknown
        | Reason::Connected
        | Reason::CredentialsAccepted
        | Reason::CodecSupported
        | Reason::Streaming => "Starting",
    }
}

/// The reason of a condition that a source's reason becomes.
pub fn source_reason(reason: SourceReason) -> Reason {
    match reason {
        SourceReason::Connecting => Reason::Connecting,
        SourceReason::Streaming => Reason::Streaming,
        SourceReason::HostNotFound => Reason::HostNotFound,
        SourceReason::Unreachable => Reason::Unreachable,
        SourceReason::CredentialsMissing => Reason::CredentialsMissing,
        SourceReason::AuthenticationFailed => Reason::AuthenticationFailed,
        SourceReason::Refused => Reason::Refused,
        SourceReason::NoVideo => Reason::NoVideo,
        SourceReason::UnsupportedCodec => Reason::UnsupportedCodec,
        SourceReason::InvalidMedia => Reason::InvalidMedia,
        SourceReason::Silent => Reason::Silent,
        SourceReason::Disconnected => Reason::Disconnected,
        SourceReason::UnstableParameterSets => Reason::UnstableParameterSets,
        SourceReason::ServerBusy => Reason::ServerBusy,
        SourceReason::CertificateNotTrusted => Reason::CertificateNotTrusted,
        SourceReason::InputUnavailable => Reason::InputUnavailable,
        SourceReason::Ended => Reason::SourceEnded,
    }
}

/// The reason of a condition that an upload's reason becomes.
pub fn upload_reason(reason: UploadReason) -> Reason {
    match reason {
        UploadReason::NoMedia => Reason::NoMedia,
        UploadReason::Opening => Reason::Opening,
        UploadReason::Persisting => Reason::Persisting,
        UploadReason::CatchingUp => Reason::CatchingUp,
        UploadReason::SourceLost => Reason::SourceLost,
        UploadReason::EndpointUnreachable => Reason::EndpointUnreachable,
        UploadReason::AwsCredentialsMissing => Reason::AwsCredentialsMissing,
        UploadReason::AwsCredentialsRefused => Reason::AwsCredentialsRefused,
        UploadReason::StreamNotFound => Reason::StreamNotFound,
        UploadReason::StreamHeldElsewhere => Reason::StreamHeldElsewhere,
        UploadReason::Throttled => Reason::Throttled,
        UploadReason::FragmentRefused => Reason::FragmentRefused,
        UploadReason::KmsKeyUnusable => Reason::KmsKeyUnusable,
        UploadReason::OnHold => Reason::OnHold,
        UploadReason::NoPersistedAcks => Reason::NoPersistedAcks,
    }
}

/// What to do, and in brackets what the producer saw: it knows neither the Camera nor its class.
pub fn told(explanation: &str, seen: &str) -> String {
    if seen.is_empty() { explanation.to_owned() } else { format!("{explanation} ({seen})") }
}

/// What a reason means, and what to do.
pub fn explain(reason: SourceReason) -> &'static str {
    match reason {
        SourceReason::Connecting => "A connection to the camera is being made",
        SourceReason::Streaming => "Video arrives from the camera",
        SourceReason::HostNotFound => {
            "The camera's host name has no address: check spec.source.rtsp.url and the cluster's DNS"
        }
        SourceReason::Unreachable => {
            "The camera gives no answer: check that it is on, and spec.source.rtsp.url"
        }
        SourceReason::CredentialsMissing => {
            "The Secret of spec.credentialsRef, or its key username or password, is missing: make it, no restart is needed"
        }
        SourceReason::AuthenticationFailed => {
            "The camera refuses the user name or password: correct the Secret of spec.credentialsRef"
        }
        SourceReason::Refused => "The camera answers with an error: check the path in spec.source.rtsp.url",
        SourceReason::NoVideo => "The camera offers no video: check the path in spec.source.rtsp.url",
        SourceReason::UnsupportedCodec => {
            "The camera's video codec is not carried: set the camera to H.264 or H.265"
        }
        SourceReason::InvalidMedia => {
            "What the camera sends breaks its own format: see the producer's log, and update the camera"
        }
        SourceReason::Silent => {
            "The connection to the camera stands, but no picture comes: restart the camera"
        }
        SourceReason::Disconnected => "The camera ended the connection; it is connected again",
        SourceReason::UnstableParameterSets => {
            "The camera changes its parameter sets more than three times a minute: look at its encoder settings"
        }
        SourceReason::ServerBusy => "The camera has no place for another connection: close others, or wait",
        SourceReason::CertificateNotTrusted => {
            "The camera's certificate is not trusted: set spec.source.rtsp.tls"
        }
        SourceReason::InputUnavailable => {
            "The file, pipe or socket of spec.source cannot be opened: check its path, and that it is mounted"
        }
        SourceReason::Ended => "The file that is played once has come to its end",
    }
}

/// What an upload's reason means, for producers that give no message.
pub fn explain_upload(reason: UploadReason) -> &'static str {
    match reason {
        UploadReason::NoMedia => "No picture has come from the camera yet",
        UploadReason::Opening => "The upload is being opened",
        UploadReason::Persisting => "Fragments are stored as they come",
        UploadReason::CatchingUp => "Video is stored, and what was held back follows",
        UploadReason::SourceLost => "The camera sends nothing, so there is nothing to store",
        UploadReason::EndpointUnreachable => {
            "The producer cannot reach the KVS endpoint, or does not trust its certificate: check the way out of its \
             namespace, and the class's spec.aws.endpoints and spec.aws.caBundle"
        }
        UploadReason::AwsCredentialsMissing => {
            "The producer finds no AWS credentials: see the class's spec.producer"
        }
        UploadReason::AwsCredentialsRefused => {
            "AWS refuses the producer's credentials or what they may do: correct what the class's spec.producer names"
        }
        UploadReason::StreamNotFound => "The KVS stream does not exist under its ARN: see the VideoStream",
        UploadReason::StreamHeldElsewhere => {
            "Another producer holds the stream's one connection: wait while a pod moves, else stop the other producer"
        }
        UploadReason::Throttled => "AWS asks the producer for fewer calls; it tries again",
        UploadReason::FragmentRefused => "KVS refused a fragment for good",
        UploadReason::KmsKeyUnusable => {
            "KVS cannot use the stream's KMS key: enable the key, or let the producer's role use it (kms:GenerateDataKey) \
             in its key policy; what waits is stored then"
        }
        UploadReason::OnHold => "KVS keeps everything waiting: the stream or the clock is wrong",
        UploadReason::NoPersistedAcks => "The upload stands, but KVS acknowledges no storage",
    }
}

/// What comes of a Camera whose `VideoStream` is being deleted.
pub fn being_deleted(camera: &Camera, stream: &str) -> String {
    if camera.spec.stream_template.is_some() {
        return format!("VideoStream {stream} is being deleted; it is made again after that");
    }
    format!(
        "VideoStream {stream} is being deleted: make it again after that, or name another in spec.streamRef.name"
    )
}

/// Why a stream cannot be written.
pub fn not_ready(stream: &str, conditions: &[Condition]) -> String {
    let is_true = |type_: ConditionType| is_true(conditions, type_.as_str());
    // One that is only looked at is Ready, and yet not its object's.
    let is_anothers = is_true(ConditionType::Ready) && !is_true(ConditionType::Owned);
    let type_ = if is_anothers { ConditionType::Owned } else { ConditionType::Ready };
    let why = find_condition(conditions, type_.as_str());
    let why = why.map_or("it was not looked at yet", |condition| &condition.message);
    format!("VideoStream {stream} is not ready: {why}")
}
