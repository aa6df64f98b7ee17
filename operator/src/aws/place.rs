//! Where calls go, as whom, and whom they trust.

use std::fmt;

use streamfleet_crds::Aws;

/// Where calls go, as whom, and whom they trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The region.
    pub region: String,
    /// The account that the streams are in.
    pub account: String,
    /// The role that is assumed for every call; without one the operator's own credentials are used.
    pub role_arn: Option<String>,
    /// The external ID that the role asks for.
    pub external_id: Option<ExternalId>,
    /// Whether the region's FIPS endpoints are used.
    pub fips: bool,
    /// The KVS endpoint, where it is not the region's own.
    pub kinesis_video: Option<String>,
    /// The STS endpoint, where it is not the region's own.
    pub sts: Option<String>,
    /// The CloudWatch endpoint, where it is not the region's own.
    pub cloud_watch: Option<String>,
    /// Certificate authorities in PEM to trust beside the system's.
    pub ca_bundle: Option<String>,
}

impl Place {
    /// A place without anything special.
    pub fn new(region: &str, account: &str) -> Self {
        Self {
            region: region.to_owned(),
            account: account.to_owned(),
            role_arn: None,
            external_id: None,
            fips: false,
            kinesis_video: None,
            sts: None,
            cloud_watch: None,
            ca_bundle: None,
        }
    }

    /// The fleet that this place shows: two classes with other roles see the same streams, under the same quotas. An endpoint
    /// of one's own may be another world, such as an emulator, so that it counts.
    pub fn fleet(&self) -> Fleet {
        Fleet {
            account: self.account.clone(),
            region: self.region.clone(),
            endpoint: self.kinesis_video.clone(),
        }
    }

    /// The partition of the region.
    pub fn partition(&self) -> Partition {
        Partition::of(&self.region)
    }
}

impl From<&Aws> for Place {
    fn from(aws: &Aws) -> Self {
        let endpoints = aws.endpoints.clone().unwrap_or_default();
        Self {
            role_arn: aws.role_arn.clone(),
            external_id: aws.external_id.clone().map(ExternalId::new),
            fips: aws.fips,
            kinesis_video: endpoints.kinesis_video,
            sts: endpoints.sts,
            cloud_watch: endpoints.cloud_watch,
            ca_bundle: aws.ca_bundle.clone().filter(|bundle| !bundle.trim().is_empty()),
            ..Self::new(&aws.region, &aws.account_id)
        }
    }
}

/// The streams and alarms of an account and region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fleet {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The KVS endpoint, where it is not the region's own.
    pub endpoint: Option<String>,
}

/// An external ID. It is no password, but whoever knows it and the role is a step nearer to the account: it is never shown.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExternalId(String);

impl ExternalId {
    /// Wraps it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The ID itself, for the call.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(…)")
    }
}

/// A partition of AWS: regions that share ARNs and credentials (the SDK's `partitions.json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// As in ARNs.
    pub id: &'static str,
    /// What host names end with.
    pub dns_suffix: &'static str,
}

/// What the names of regions begin with, and their partition. A region that is in none of these is in `aws`.
const PARTITIONS: [(&str, Partition); 7] = [
    ("cn-", Partition { id: "aws-cn", dns_suffix: "amazonaws.com.cn" }),
    ("us-gov-", Partition { id: "aws-us-gov", dns_suffix: "amazonaws.com" }),
    ("us-iso-", Partition { id: "aws-iso", dns_suffix: "c2s.ic.gov" }),
    ("us-isob-", Partition { id: "aws-iso-b", dns_suffix: "sc2s.sgov.gov" }),
    ("eu-isoe-", Partition { id: "aws-iso-e", dns_suffix: "cloud.adc-e.uk" }),
    ("us-isof-", Partition { id: "aws-iso-f", dns_suffix: "csp.hci.ic.gov" }),
    ("eusc-", Partition { id: "aws-eusc", dns_suffix: "amazonaws.eu" }),
];

impl Partition {
    /// The partition of a region.
    pub fn of(region: &str) -> Self {
        let found = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix));
        found.map_or(Self { id: "aws", dns_suffix: "amazonaws.com" }, |(_, partition)| *partition)
    }
}

/// The partition of an ARN, if it is one.
pub fn partition_of_arn(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    (parts.next() == Some("arn")).then(|| parts.next()).flatten().filter(|partition| !partition.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_known_by_the_names_of_its_regions() {
        let table = [
            ("eu-west-1", "aws", "amazonaws.com"),
            ("us-east-1", "aws", "amazonaws.com"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
            ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk"),
            ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
        ];
        for (region, id, dns_suffix) in table {
            assert_eq!(Partition::of(region), Partition { id, dns_suffix }, "{region}");
        }
    }

    #[test]
    fn an_external_id_is_never_shown() {
        let place = Place { external_id: Some(ExternalId::new("hunter2")), ..Place::new("eu-west-1", "1") };
        assert!(!format!("{place:?}").contains("hunter2"));
        assert_eq!(place.external_id.unwrap().expose(), "hunter2");
    }

    #[test]
    fn classes_with_other_roles_see_the_same_fleet_and_other_endpoints_another() {
        let place = Place::new("eu-west-1", "123456789012");
        let other_role =
            Place { role_arn: Some("arn:aws:iam::123456789012:role/x".to_owned()), ..place.clone() };
        assert_eq!(place.fleet(), other_role.fleet());
        let emulator = Place { kinesis_video: Some("http://127.0.0.1:1".to_owned()), ..place.clone() };
        assert_ne!(place.fleet(), emulator.fleet());
        assert_ne!(place.fleet(), Place::new("eu-west-2", "123456789012").fleet());
    }

    #[test]
    fn the_partition_of_an_arn_is_its_second_part() {
        assert_eq!(partition_of_arn("arn:aws-cn:iam::1:role/x"), Some("aws-cn"));
        assert_eq!([partition_of_arn("arn::iam"), partition_of_arn("x")], [None, None]);
    }
}
