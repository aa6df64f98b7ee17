//! Calls in a second, as the service allows them: token buckets for each operation, by account and region, and by stream
//! or channel. A bucket holds one second's worth; how much the service's hold is not documented.

use std::collections::HashMap;

use serde_json::Value;

use super::{At, Scope, arn};
use crate::{error::ServiceError, operation::Operation};

/// Calls in a second: of an account in a region, and of one stream or channel. From the quotas pages of Kinesis Video
/// Streams (read 2026-11) and of its WebRTC.
const TABLE: [(Operation, u32, Option<u32>); 32] = [
    (Operation::CreateStream, 50, None),
    (Operation::DescribeStream, 300, Some(5)),
    (Operation::GetDataEndpoint, 300, Some(5)),
    (Operation::ListStreams, 50, None),
    (Operation::ListEdgeAgentConfigurations, 50, None),
    (Operation::DeleteStream, 50, Some(5)),
    (Operation::ListTagsForStream, 50, Some(5)),
    (Operation::TagStream, 50, Some(5)),
    (Operation::UntagStream, 50, Some(5)),
    (Operation::UpdateStream, 50, Some(5)),
    (Operation::UpdateDataRetention, 50, Some(5)),
    (Operation::UpdateStreamStorageConfiguration, 50, Some(5)),
    (Operation::DescribeStreamStorageConfiguration, 50, Some(5)),
    (Operation::DescribeImageGenerationConfiguration, 50, Some(5)),
    (Operation::UpdateImageGenerationConfiguration, 50, Some(5)),
    (Operation::DescribeNotificationConfiguration, 50, Some(5)),
    (Operation::UpdateNotificationConfiguration, 50, Some(5)),
    (Operation::DescribeEdgeConfiguration, 50, Some(5)),
    (Operation::DescribeMappedResourceConfiguration, 50, Some(5)),
    (Operation::StartEdgeConfigurationUpdate, 10, Some(1)),
    (Operation::DeleteEdgeConfiguration, 10, Some(1)),
    (Operation::CreateSignalingChannel, 50, None),
    (Operation::DeleteSignalingChannel, 50, Some(5)),
    (Operation::DescribeMediaStorageConfiguration, 50, Some(5)),
    (Operation::DescribeSignalingChannel, 300, Some(5)),
    (Operation::GetSignalingChannelEndpoint, 300, None),
    (Operation::ListSignalingChannels, 50, None),
    (Operation::ListTagsForResource, 50, Some(5)),
    (Operation::TagResource, 50, Some(5)),
    (Operation::UntagResource, 50, Some(5)),
    (Operation::UpdateMediaStorageConfiguration, 10, Some(5)),
    (Operation::UpdateSignalingChannel, 50, Some(5)),
];
/// With more buckets than this, those that are full are forgotten: they are as good as new.
const BUCKETS_MAX: usize = 100_000;
/// The members that name a stream or a channel.
const NAMES: [&str; 2] = ["StreamName", "ChannelName"];
const ARNS: [&str; 3] = ["StreamARN", "ChannelARN", "ResourceARN"];

type BucketKey = (Operation, Scope, Option<String>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    rate: f64,
    at_ms: u64,
}

/// The buckets.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    buckets: HashMap<BucketKey, Bucket>,
}

impl Quotas {
    /// Counts a call off, or refuses it; a refusal costs nothing.
    pub fn take(&mut self, at: At<'_>, request: &Value) -> Result<(), ServiceError> {
        let Some((_, account, resource)) = TABLE.iter().find(|(operation, ..)| *operation == at.operation)
        else {
            return Ok(());
        };
        if self.buckets.len() > BUCKETS_MAX {
            self.buckets.retain(|_, bucket| bucket.refilled(at.now).tokens < bucket.rate);
        }
        let name = at.operation.name();
        let of_account = (at.operation, at.scope.clone(), None);
        let account = self.bucket(&of_account, *account, at.now);
        if account.tokens < 1.0 {
            return Err(ServiceError::client_limit(format!(
                "Limit exceeded on number of requests for {name} API"
            )));
        }
        if let (Some(rate), Some(resource)) = (resource, named(request)) {
            let of_resource = (at.operation, at.scope.clone(), Some(resource));
            let bucket = self.bucket(&of_resource, *rate, at.now);
            if bucket.tokens < 1.0 {
                let resource = of_resource.2.unwrap_or_default();
                return Err(ServiceError::client_limit(format!(
                    "Limit exceeded on number of requests for {name} API for resource '{resource}'"
                )));
            }
            self.buckets.insert(of_resource, bucket.less_one());
        }
        self.buckets.insert(of_account, account.less_one());
        Ok(())
    }

    fn bucket(&self, key: &BucketKey, rate: u32, now: u64) -> Bucket {
        let full = Bucket { tokens: f64::from(rate), rate: f64::from(rate), at_ms: now };
        self.buckets.get(key).map_or(full, |bucket| bucket.refilled(now))
    }
}

impl Bucket {
    fn refilled(self, now: u64) -> Self {
        let seconds = now.saturating_sub(self.at_ms) as f64 / 1000.0;
        let tokens = (self.tokens + seconds * self.rate).min(self.rate);
        Self { tokens, at_ms: now.max(self.at_ms), ..self }
    }

    fn less_one(self) -> Self {
        Self { tokens: self.tokens - 1.0, ..self }
    }
}

/// The name of the stream or channel that a request names.
fn named(request: &Value) -> Option<String> {
    let text = |member: &&str| request.get(member).and_then(Value::as_str);
    let by_arn = || Some(arn::parse(ARNS.iter().find_map(text)?)?.name.to_owned());
    NAMES.iter().find_map(text).map(str::to_owned).or_else(by_arn)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::model::model;

    #[test]
    fn every_operation_has_a_quota() {
        for (name, _) in model().operations() {
            assert!(TABLE.iter().any(|(operation, ..)| operation.name() == name), "{name}");
        }
    }

    #[test]
    fn a_stream_s_quota_and_an_account_s_fill_again_with_time() {
        let mut quotas = Quotas::default();
        let scope = Scope::new("1", "r");
        let mut take = |name: &str, operation, now| {
            quotas.take(At { scope: &scope, operation, now }, &json!({"StreamName": name})).is_ok()
        };
        let burst = |taken: &mut dyn FnMut(usize) -> bool| (0..100).filter(|n| taken(*n)).count();
        assert_eq!(burst(&mut |_| take("a", Operation::TagStream, 1000)), 5);
        assert_eq!(burst(&mut |n| take(&n.to_string(), Operation::TagStream, 1000)), 45);
        assert!(!take("b", Operation::TagStream, 1010));
        assert!(take("b", Operation::TagStream, 1020));
        assert!(take("a", Operation::UntagStream, 1000));
        assert!(!take("a", Operation::TagStream, 1190));
        assert!(take("a", Operation::TagStream, 1200));
    }
}
