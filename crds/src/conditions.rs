//! Condition types and reasons. Both are API: scripts and alerts match on them, so they keep their names.

/// Makes an enum whose variants are written as their own names.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it stands in conditions.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// The types of condition.
    ConditionType {
        /// All kinds: what the spec asks for now is true. For a camera: its video is being stored.
        Ready,
        /// `StreamClass`: STS has confirmed that the operator's credentials are of the account in the spec.
        CallerVerified,
        /// `VideoStream`: the KVS stream is as the spec says.
        Synced,
        /// `VideoStream`: the KVS stream belongs to this object.
        Owned,
        /// `VideoStream` and `StreamClass`: the alarms are as asked for. `Ready` does not wait for it.
        AlarmsReady,
        /// `VideoStream`: changes are under way. There only while it is `True`.
        Reconciling,
        /// `VideoStream`: nothing goes on before somebody changes something. There only while it is `True`.
        Stalled,
        /// Camera: it can be reached over the network.
        Reachable,
        /// Camera: it accepts the credentials, or asks for none.
        Authenticated,
        /// Camera: what it sends can be carried.
        MediaCompatible,
        /// Camera: video arrives at the producer.
        Streaming,
        /// Camera: video is being stored.
        Ingesting,
    }
}

names! {
    /// Reasons on a `StreamClass`.
    StreamClassReason {
        /// The caller's account is the one that the class names.
        CallerVerified,
        /// STS has not answered yet.
        Verifying,
        /// The operator's AWS credentials are of another account.
        AccountMismatch,
        /// The operator finds no AWS credentials.
        CredentialsMissing,
        /// AWS refuses the operator's credentials.
        CredentialsRefused,
        /// AWS does not let the operator assume `spec.aws.roleARN`.
        RoleRefused,
        /// The endpoint cannot be reached, or its certificate is not trusted.
        EndpointUnreachable,
        /// `spec.aws.caBundle` holds no PEM certificate.
        InvalidCaBundle,
        /// AWS answered with another error.
        AwsError,
        /// The class is to be deleted, but `VideoStreams` still refer to it.
        StillReferenced,
        /// The alarms of the class are as asked for.
        AlarmsInSync,
        /// No alarms are asked for.
        NoAlarms,
        /// Alarms of the class are being made or changed.
        AlarmsPending,
        /// The account has no room for more alarms.
        AlarmsQuota,
        /// An alarm of that name is there, and not ours.
        NameTaken,
    }
}

names! {
    /// Reasons on a `VideoStream`.
    VideoStreamReason {
        /// The stream is there and active.
        Active,
        /// The stream is being made.
        Creating,
        /// The stream is being deleted.
        Deleting,
        /// The stream is as the spec says.
        InSync,
        /// A change has been or is about to be sent.
        ChangePending,
        /// A change is held back, because it would destroy footage.
        ChangeBlocked,
        /// This object made the stream.
        Created,
        /// The stream was there before, with this object's tags.
        Adopted,
        /// A stream of that name exists, and its tags do not say that it is this object's.
        OwnedByOther,
        /// The name is taken, though no stream of that name is to be seen: somebody else is making or deleting one.
        NameTaken,
        /// The stream under this name is another one than this object's: its ARN differs.
        IdentityChanged,
        /// The stream has disappeared from AWS; it is made again.
        StreamLost,
        /// It is not yet known.
        Unknown,
        /// `spec.streamClassName` names no `StreamClass`.
        StreamClassNotFound,
        /// The `StreamClass` is not Ready.
        StreamClassNotReady,
        /// The `StreamClass` is being deleted, and takes no new streams.
        StreamClassDeleting,
        /// The `StreamClass` does not admit this namespace.
        NamespaceNotAllowed,
        /// The `StreamClass` does not allow this stream name.
        StreamNameNotAllowed,
        /// The stream name that comes out of prefix, namespace and name is not one that the service takes.
        StreamNameInvalid,
        /// The `StreamClass` does not allow this deletion policy.
        DeletionPolicyNotAllowed,
        /// The `StreamClass` does not allow this adoption policy.
        AdoptionPolicyNotAllowed,
        /// A stream of that name exists without an owner, and `adoptionPolicy` does not let this object take it.
        AdoptionRefused,
        /// `spec.suspend` is set: nothing is changed.
        Suspended,
        /// `spec.managementPolicy` is `Observe`: nothing is changed.
        Observing,
        /// `spec.managementPolicy` is `Observe`, and there is no stream of that name.
        StreamNotFound,
        /// Somebody else has changed the stream, and `driftPolicy` is `Report`.
        DriftReported,
        /// The KMS key does not exist, is disabled, or may not be used.
        KmsKeyUnusable,
        /// The stream is encrypted with another KMS key than `spec.kmsKeyID`, which cannot be changed.
        KmsKeyDiffers,
        /// Image generation and notifications need a retention, and the stream has none.
        NoRetention,
        /// The stream has, with the tags of others, more tags than the service takes.
        TooManyTags,
        /// The service refuses a value of the spec.
        AwsInvalidArgument,
        /// The alarms are as asked for.
        AlarmsInSync,
        /// No alarms are asked for.
        NoAlarms,
        /// Alarms are being made or changed, three a second.
        AlarmsPending,
        /// The account has no room for more alarms.
        AlarmsQuota,
        /// AWS refuses the credentials or what they may do.
        AwsAccessDenied,
        /// AWS asks for fewer calls.
        AwsThrottled,
        /// The endpoint cannot be reached.
        AwsUnreachable,
        /// A quota of the account is used up.
        AwsQuotaExceeded,
        /// AWS answered with another error.
        AwsError,
    }
}

names! {
    /// Reasons on a Camera. Those that come from the producer have the names that they have in its `/status`.
    CameraReason {
        /// Its video is being stored.
        Recording,
        /// The stream has retention 0: video passes through it and is not kept.
        NotStored,
        /// Its video is being stored, and what was held back during an outage follows.
        CatchingUp,
        /// This step does not apply.
        NotApplicable,
        /// Nothing is known about this step before the one in front of it is passed.
        Unknown,
        /// A connection to the camera stands.
        Connected,
        /// A connection is being made.
        Connecting,
        /// The camera accepted the credentials.
        CredentialsAccepted,
        /// The codec is one that is carried.
        CodecSupported,
        /// Video arrives.
        Streaming,
        /// The camera's host name has no address.
        HostNotFound,
        /// The camera gives no answer.
        Unreachable,
        /// The camera's Secret, or the key `username` or `password` in it, is missing.
        CredentialsMissing,
        /// The camera refuses the user name or password.
        AuthenticationFailed,
        /// The camera answers with an error.
        Refused,
        /// The camera offers no video.
        NoVideo,
        /// The camera's codec is not carried.
        UnsupportedCodec,
        /// What the camera sends breaks its own format.
        InvalidMedia,
        /// The connection stands, but no picture comes.
        Silent,
        /// The camera ended the connection.
        Disconnected,
        /// The camera changes its parameter sets too often.
        UnstableParameterSets,
        /// The camera has no place for another connection.
        ServerBusy,
        /// The camera's certificate is not trusted.
        CertificateNotTrusted,
        /// A file, pipe or socket cannot be opened.
        InputUnavailable,
        /// A file that is played once has come to its end.
        SourceEnded,
        /// The `StreamClass` does not allow containers as sources.
        ContainerSourceNotAllowed,
        /// There was no picture to store yet.
        NoMedia,
        /// The upload is being opened.
        Opening,
        /// Fragments are stored as they come.
        Persisting,
        /// The camera sends nothing, so there is nothing to store.
        SourceLost,
        /// The KVS endpoint cannot be reached from the producer.
        EndpointUnreachable,
        /// The producer finds no AWS credentials.
        AwsCredentialsMissing,
        /// AWS refuses the producer's credentials.
        AwsCredentialsRefused,
        /// The KVS stream does not exist under its ARN.
        StreamNotFound,
        /// Another producer holds the stream's one connection.
        StreamHeldElsewhere,
        /// AWS asks the producer for fewer calls.
        Throttled,
        /// The service refused a fragment for good.
        FragmentRefused,
        /// The service cannot use the stream's KMS key, and everything waits.
        KmsKeyUnusable,
        /// The service keeps everything waiting.
        OnHold,
        /// No acknowledgement of storage comes.
        NoPersistedAcks,
        /// `spec.streamRef` names no `VideoStream` in this namespace.
        VideoStreamNotFound,
        /// A `VideoStream` with the name of this Camera exists, and it is not this Camera's.
        VideoStreamNotOwned,
        /// The `VideoStream` is not Ready.
        VideoStreamNotReady,
        /// Another Camera writes this `VideoStream`.
        StreamClaimed,
        /// The producer pod is not up yet.
        ProducerStarting,
        /// No node takes the producer pod.
        ProducerNotScheduled,
        /// The producer's image cannot be pulled.
        ProducerImageUnavailable,
        /// The producer ends again and again.
        ProducerCrashing,
        /// The producer pod may not be made: a quota or an admission rule.
        ProducerNotAdmitted,
        /// The producer pod does not answer.
        ProducerUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_what_the_api_server_accepts() {
        let reasons = StreamClassReason::ALL.iter().map(|reason| reason.as_str());
        let reasons = reasons.chain(VideoStreamReason::ALL.iter().map(|reason| reason.as_str()));
        let reasons = reasons.chain(CameraReason::ALL.iter().map(|reason| reason.as_str()));
        for reason in reasons {
            assert!(reason.chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
            assert!(reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
        }
    }
}
