//! The operations that the emulator answers, and how a request names them.

/// An operation of one of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    CreateStream,
    DescribeStream,
    ListStreams,
    DeleteStream,
    UpdateStream,
    UpdateDataRetention,
    TagStream,
    UntagStream,
    ListTagsForStream,
    DescribeStreamStorageConfiguration,
    UpdateStreamStorageConfiguration,
    GetDataEndpoint,
    PutMedia,
    GetMedia,
    ListFragments,
    GetMediaForFragmentList,
    GetCallerIdentity,
    AssumeRole,
    AssumeRoleWithWebIdentity,
}

/// Names and paths. Those of STS are told apart by their bodies, at the root path.
const NAMES: [(Operation, &str, &str); 19] = [
    (Operation::CreateStream, "CreateStream", "createStream"),
    (Operation::DescribeStream, "DescribeStream", "describeStream"),
    (Operation::ListStreams, "ListStreams", "listStreams"),
    (Operation::DeleteStream, "DeleteStream", "deleteStream"),
    (Operation::UpdateStream, "UpdateStream", "updateStream"),
    (Operation::UpdateDataRetention, "UpdateDataRetention", "updateDataRetention"),
    (Operation::TagStream, "TagStream", "tagStream"),
    (Operation::UntagStream, "UntagStream", "untagStream"),
    (Operation::ListTagsForStream, "ListTagsForStream", "listTagsForStream"),
    (
        Operation::DescribeStreamStorageConfiguration,
        "DescribeStreamStorageConfiguration",
        "describeStreamStorageConfiguration",
    ),
    (
        Operation::UpdateStreamStorageConfiguration,
        "UpdateStreamStorageConfiguration",
        "updateStreamStorageConfiguration",
    ),
    (Operation::GetDataEndpoint, "GetDataEndpoint", "getDataEndpoint"),
    (Operation::PutMedia, "PutMedia", "putMedia"),
    (Operation::GetMedia, "GetMedia", "getMedia"),
    (Operation::ListFragments, "ListFragments", "listFragments"),
    (Operation::GetMediaForFragmentList, "GetMediaForFragmentList", "getMediaForFragmentList"),
    (Operation::GetCallerIdentity, "GetCallerIdentity", ""),
    (Operation::AssumeRole, "AssumeRole", ""),
    (Operation::AssumeRoleWithWebIdentity, "AssumeRoleWithWebIdentity", ""),
];

impl Operation {
    /// The operation of a path's last segment; the real service is case sensitive.
    pub fn by_path_segment(segment: &str) -> Option<Self> {
        let named = |(_, _, path): &&(Self, &str, &str)| !path.is_empty() && *path == segment;
        NAMES.iter().find(named).map(|(operation, ..)| *operation)
    }

    /// The operation with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known, _)| *known == name).map(|(operation, ..)| *operation)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(operation, ..)| *operation == self).map_or("", |(_, name, _)| name)
    }

    /// The service in the scope of its signature.
    pub fn signing_name(self) -> &'static str {
        if self.is_of_sts() { "sts" } else { "kinesisvideo" }
    }

    /// Whether it is one of STS.
    pub fn is_of_sts(self) -> bool {
        matches!(self, Self::GetCallerIdentity | Self::AssumeRole | Self::AssumeRoleWithWebIdentity)
    }
}
