//! Settings of a KVS stream that have types of their own: tier, images, notifications, and the policies about them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where footage is kept.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StorageTier {
    /// Paid by the gigabyte that comes in and by the time that it is kept.
    #[default]
    Hot,
    /// Paid by the fragment that comes in, and by at least 30 days of keeping.
    Warm,
}

impl StorageTier {
    /// The name as it stands in specs and statuses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "Hot",
            Self::Warm => "Warm",
        }
    }
}

/// Whether the stream is changed at all.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManagementPolicy {
    /// It is made, changed and deleted.
    #[default]
    Manage,
    /// It is looked at, and never made, changed or deleted.
    Observe,
}

/// What becomes of changes that somebody else makes.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftPolicy {
    /// They are taken back.
    #[default]
    Correct,
    /// They are reported, and left.
    Report,
}

/// Which streams that are there already an object may take for its own.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdoptionPolicy {
    /// None but the one that it has made.
    Never,
    /// One whose tags say that it is this object's.
    #[default]
    IfOwned,
    /// Also one whose tags name no owner.
    IfUnowned,
}

/// Pictures that the service takes out of the video and puts into a bucket.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.jpegQuality) || self.format == 'JPEG'").message("imageGeneration.jpegQuality is for JPEG alone: remove it, or set imageGeneration.format to JPEG"))]
pub struct ImageGeneration {
    /// Which clock the pictures go by: the service's (`Server`) or the camera's (`Producer`).
    pub timestamp: ImageTimestamp,

    /// Where the pictures go: a bucket in the region of the stream and, if wanted, what the names of the objects begin with, at
    /// most 255 characters, for example `s3://example-pictures/door`.
    #[serde(rename = "destinationURI")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.size() <= 255").message("imageGeneration.destinationURI must be at most 255 characters: shorten what follows the bucket"))]
    #[x_kube(validation = Rule::new("self.matches('^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*]*)?$')").message("imageGeneration.destinationURI must be s3://BUCKET or s3://BUCKET/PREFIX without an asterisk, for example s3://example-pictures/door"))]
    pub destination_uri: String,

    /// The region of the bucket. It is the class's, which is also the default: the service takes no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]+(-[a-z]+)?-[a-z]+-[0-9]$')").message("imageGeneration.destinationRegion must be an AWS region, that of the stream, for example eu-west-1; leave it out for that"))]
    pub destination_region: Option<String>,

    /// How far the pictures are apart, in milliseconds, 200 to 20000. Each costs money.
    #[x_kube(validation = Rule::new("self >= 200 && self <= 20000").message("imageGeneration.samplingIntervalMillis must be 200 to 20000, which is what the service takes"))]
    pub sampling_interval_millis: i32,

    /// `JPEG` or `PNG`.
    pub format: ImageFormat,

    /// The quality of JPEG pictures, 1 to 100. The service's default is 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100").message("imageGeneration.jpegQuality must be 1 to 100"))]
    pub jpeg_quality: Option<i32>,

    /// Pixels across, 1 to 3840. By default as many as the video has, or as `heightPixels` and the shape of the video make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 3840").message("imageGeneration.widthPixels must be 1 to 3840, which is what the service takes"))]
    pub width_pixels: Option<i32>,

    /// Pixels down, 1 to 2160. By default as many as the video has, or as `widthPixels` and the shape of the video make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 2160").message("imageGeneration.heightPixels must be 1 to 2160, which is what the service takes"))]
    pub height_pixels: Option<i32>,
}

/// Which clock pictures go by.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageTimestamp {
    /// The service's.
    Server,
    /// The camera's.
    Producer,
}

/// The format of pictures.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageFormat {
    /// With losses; small.
    #[serde(rename = "JPEG")]
    Jpeg,
    /// Without losses; large.
    #[serde(rename = "PNG")]
    Png,
}

/// Messages about fragments.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The SNS topic that is told, a standard one, for example `arn:aws:sns:eu-west-1:123456789012:fragments`.
    #[serde(rename = "topicARN")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("!self.endsWith('.fifo')").message("notification.topicARN must name a standard topic: the service cannot write to FIFO topics. Make one whose name does not end in .fifo"))]
    #[x_kube(validation = Rule::new("self.endsWith('.fifo') || self.matches('^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$')").message("notification.topicARN must be the ARN of an SNS topic, for example arn:aws:sns:eu-west-1:123456789012:fragments"))]
    pub topic_arn: String,
}
