//! The operations that the emulator answers, and how a request names them.

/// An operation of one of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    CreateSignalingChannel,
    CreateStream,
    DeleteEdgeConfiguration,
    DeleteSignalingChannel,
    DeleteStream,
    DescribeEdgeConfiguration,
    DescribeImageGenerationConfiguration,
    DescribeMappedResourceConfiguration,
    DescribeMediaStorageConfiguration,
    DescribeNotificationConfiguration,
    DescribeSignalingChannel,
    DescribeStream,
    DescribeStreamStorageConfiguration,
    GetDataEndpoint,
    GetSignalingChannelEndpoint,
    ListEdgeAgentConfigurations,
    ListSignalingChannels,
    ListStreams,
    ListTagsForResource,
    ListTagsForStream,
    StartEdgeConfigurationUpdate,
    TagResource,
    TagStream,
    UntagResource,
    UntagStream,
    UpdateDataRetention,
    UpdateImageGenerationConfiguration,
    UpdateMediaStorageConfiguration,
    UpdateNotificationConfiguration,
    UpdateSignalingChannel,
    UpdateStream,
    UpdateStreamStorageConfiguration,
    PutMedia,
    GetMedia,
    ListFragments,
    GetMediaForFragmentList,
    GetCallerIdentity,
    AssumeRole,
    AssumeRoleWithWebIdentity,
}

/// Names and paths. Those of STS are told apart by their bodies, at the root path.
const NAMES: [(Operation, &str, &str); 39] = [
    (Operation::CreateSignalingChannel, "CreateSignalingChannel", "createSignalingChannel"),
    (Operation::CreateStream, "CreateStream", "createStream"),
    (Operation::DeleteEdgeConfiguration, "DeleteEdgeConfiguration", "deleteEdgeConfiguration"),
    (Operation::DeleteSignalingChannel, "DeleteSignalingChannel", "deleteSignalingChannel"),
    (Operation::DeleteStream, "DeleteStream", "deleteStream"),
    (Operation::DescribeEdgeConfiguration, "DescribeEdgeConfiguration", "describeEdgeConfiguration"),
    (
        Operation::DescribeImageGenerationConfiguration,
        "DescribeImageGenerationConfiguration",
        "describeImageGenerationConfiguration",
    ),
    (
        Operation::DescribeMappedResourceConfiguration,
        "DescribeMappedResourceConfiguration",
        "describeMappedResourceConfiguration",
    ),
    (
        Operation::DescribeMediaStorageConfiguration,
        "DescribeMediaStorageConfiguration",
        "describeMediaStorageConfiguration",
    ),
    (
        Operation::DescribeNotificationConfiguration,
        "DescribeNotificationConfiguration",
        "describeNotificationConfiguration",
    ),
    (Operation::DescribeSignalingChannel, "DescribeSignalingChannel", "describeSignalingChannel"),
    (Operation::DescribeStream, "DescribeStream", "describeStream"),
    (
        Operation::DescribeStreamStorageConfiguration,
        "DescribeStreamStorageConfiguration",
        "describeStreamStorageConfiguration",
    ),
    (Operation::GetDataEndpoint, "GetDataEndpoint", "getDataEndpoint"),
    (Operation::GetSignalingChannelEndpoint, "GetSignalingChannelEndpoint", "getSignalingChannelEndpoint"),
    (Operation::ListEdgeAgentConfigurations, "ListEdgeAgentConfigurations", "listEdgeAgentConfigurations"),
    (Operation::ListSignalingChannels, "ListSignalingChannels", "listSignalingChannels"),
    (Operation::ListStreams, "ListStreams", "listStreams"),
    (Operation::ListTagsForResource, "ListTagsForResource", "ListTagsForResource"),
    (Operation::ListTagsForStream, "ListTagsForStream", "listTagsForStream"),
    (Operation::StartEdgeConfigurationUpdate, "StartEdgeConfigurationUpdate", "startEdgeConfigurationUpdate"),
    (Operation::TagResource, "TagResource", "TagResource"),
    (Operation::TagStream, "TagStream", "tagStream"),
    (Operation::UntagResource, "UntagResource", "UntagResource"),
    (Operation::UntagStream, "UntagStream", "untagStream"),
    (Operation::UpdateDataRetention, "UpdateDataRetention", "updateDataRetention"),
    (
        Operation::UpdateImageGenerationConfiguration,
        "UpdateImageGenerationConfiguration",
        "updateImageGenerationConfiguration",
    ),
    (
        Operation::UpdateMediaStorageConfiguration,
        "UpdateMediaStorageConfiguration",
        "updateMediaStorageConfiguration",
    ),
    (
        Operation::UpdateNotificationConfiguration,
        "UpdateNotificationConfiguration",
        "updateNotificationConfiguration",
    ),
    (Operation::UpdateSignalingChannel, "UpdateSignalingChannel", "updateSignalingChannel"),
    (Operation::UpdateStream, "UpdateStream", "updateStream"),
    (
        Operation::UpdateStreamStorageConfiguration,
        "UpdateStreamStorageConfiguration",
        "updateStreamStorageConfiguration",
    ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::model;

    #[test]
    fn the_control_plane_is_the_model_s() {
        let mut count = 0;
        for (name, path) in model().operations() {
            assert_eq!(Operation::by_path_segment(path).map(Operation::name), Some(name));
            count += 1;
        }
        assert_eq!(count, 32);
    }
}
