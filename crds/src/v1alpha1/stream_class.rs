//! `StreamClass`: where and how streams and producers are made.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat their types and priorities")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::video_stream::{KMS_KEY_FORM, OBJECT_NAME, TAG_KEYS, TAG_VALUES, TAGS_COUNT, TAGS_NOT_RESERVED};
use super::{AdoptionPolicy, ClassAlarms, DeletionPolicy, DriftPolicy, StorageTier};
use crate::types::RETENTION_HOURS_DEFAULT;

/// Where and how streams and producers are made. Written by the platform team, referred to by `VideoStreams`.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "streamfleet.io",
    version = "v1alpha1",
    kind = "StreamClass",
    plural = "streamclasses",
    shortname = "sclass",
    category = "streamfleet",
    status = "StreamClassStatus",
    derive = "PartialEq",
    doc = "A StreamClass says where (AWS account and region) and how KVS streams and producer pods are made, and who may use it.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.aws.region"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.aws.accountID"),
    printcolumn(name = "Streams", type_ = "integer", json_path = ".status.streams"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Caller", type_ = "string", json_path = ".status.callerARN", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.alarms) || !has(self.alarms.actionARNs) || self.alarms.actionARNs.all(action, !action.startsWith('arn:') || action.contains(':sns:' + self.aws.region + ':'))").message("spec.alarms.actionARNs must be topics in the region of spec.aws.region: CloudWatch tells no others. Make a topic there").field_path(".alarms.actionARNs"))]
#[x_kube(validation = Rule::new("!has(self.stream) || !has(self.stream.kmsKeyID) || !self.stream.kmsKeyID.startsWith('arn:') || self.stream.kmsKeyID.contains(':kms:' + self.aws.region + ':')").message("spec.stream.kmsKeyID must be a key in the region of spec.aws.region: the service uses no others. Name a key there").field_path(".stream.kmsKeyID"))]
pub struct StreamClassSpec {
    /// The AWS account and region that streams are made in.
    pub aws: Aws,

    /// Which namespaces may use this class. By default none.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,

    /// What the users of this class may decide for themselves. Closed by default.
    #[serde(default)]
    pub limits: ClassLimits,

    /// Defaults for the streams of this class.
    #[serde(default)]
    #[x_kube(validation = Rule::new("(has(self.namePrefix) ? self.namePrefix : '') == (has(oldSelf.namePrefix) ? oldSelf.namePrefix : '')").message("spec.stream.namePrefix cannot be changed: streams are found by their names. Make another StreamClass with the new prefix"))]
    pub stream: StreamDefaults,

    /// The CloudWatch alarms of the streams of this class, and of the class as a whole.
    #[serde(default)]
    pub alarms: ClassAlarms,

    /// How producer pods are made.
    #[serde(default)]
    pub producer: ProducerDefaults,
}

/// An AWS account and region, and the way there.
// The rules about the external ID stand here, on the parent: API servers repeat a refused scalar value in the error.
#[derive(KubeSchema, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.externalID) || has(self.roleARN)").message("spec.aws.externalID is for a role that is assumed: set spec.aws.roleARN, or remove it"))]
#[x_kube(validation = Rule::new(r"!has(self.externalID) || (self.externalID.size() >= 2 && self.externalID.size() <= 1224 && self.externalID.matches('^[\\w+=,.@:/-]*$'))").message("spec.aws.externalID must be 2 to 1224 letters, digits and _ + = , . @ : / -, as in the trust policy of the role"))]
#[x_kube(validation = Rule::new("!has(self.roleARN) || !self.roleARN.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$') || self.roleARN.contains(':iam::' + self.accountID + ':role/')").message("spec.aws.roleARN must be a role of the account in spec.aws.accountID: correct the one or the other"))]
pub struct Aws {
    /// The AWS region, for example `eu-west-1`. It cannot be changed.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.aws.region cannot be changed: the streams of this class are in it. Make another StreamClass for the other region"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,}(-[a-z]+)+-[0-9]+$')").message("spec.aws.region must be an AWS region, for example eu-west-1"))]
    pub region: String,

    /// The 12 digits of the AWS account, in quotes, for example `"123456789012"`. The operator asks STS whose its
    /// credentials are, and does nothing where that is another account. It cannot be changed.
    #[serde(rename = "accountID")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.aws.accountID cannot be changed: the streams of this class are in it. Make another StreamClass for the other account"))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{12}$')").message("spec.aws.accountID must be the 12 digits of an AWS account, in quotes"))]
    pub account_id: String,

    /// A role that the operator assumes for everything that it does in this account, for example
    /// `arn:aws:iam::123456789012:role/streamfleet`. By default it uses its own credentials.
    #[serde(default, rename = "roleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$')").message("spec.aws.roleARN must be the ARN of an IAM role, for example arn:aws:iam::123456789012:role/streamfleet"))]
    pub role_arn: Option<String>,

    /// The external ID that the trust policy of the role asks for.
    #[serde(default, rename = "externalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub external_id: Option<String>,

    /// Whether the FIPS endpoints of the region are used. Endpoints that are named in `endpoints` go before them.
    #[serde(default)]
    pub fips: bool,

    /// Endpoints, where they are not the region's own: for VPC endpoints, proxies and emulators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// Certificate authorities in PEM that are trusted beside the system's, by the operator and by producers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub ca_bundle: Option<String>,
}

impl std::fmt::Debug for Aws {
    /// The external ID is not shown: it is what keeps others from using the role.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aws")
            .field("region", &self.region)
            .field("account_id", &self.account_id)
            .field("role_arn", &self.role_arn)
            .field("external_id", &self.external_id.as_ref().map(|_| "<not shown>"))
            .field("fips", &self.fips)
            .field("endpoints", &self.endpoints)
            .field("ca_bundle", &self.ca_bundle.as_ref().map(String::len))
            .finish()
    }
}

/// Endpoints that replace the region's own.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The control endpoint of Kinesis Video Streams, for example `https://kvs.example:8443`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@/?#]+/?$')").message("spec.aws.endpoints.kinesisVideo must be a URL with a host and no path, for example https://kvs.example:8443"))]
    pub kinesis_video: Option<String>,

    /// The endpoint of STS, for example `https://sts.example:8443`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@/?#]+/?$')").message("spec.aws.endpoints.sts must be a URL with a host and no path, for example https://sts.example:8443"))]
    pub sts: Option<String>,

    /// The endpoint of CloudWatch, for example `https://monitoring.example:8443`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^@/?#]+/?$')").message("spec.aws.endpoints.cloudWatch must be a URL with a host and no path, for example https://monitoring.example:8443"))]
    pub cloud_watch: Option<String>,
}

/// Which namespaces may use a class.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.from) || self.from != 'Selector' || has(self.selector)").message("spec.allowedNamespaces.selector is needed where from is Selector, for example {matchLabels: {video: allowed}}"))]
#[x_kube(validation = Rule::new("!has(self.selector) || !has(self.selector.matchExpressions) || self.selector.matchExpressions.all(one, one.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])").message("spec.allowedNamespaces.selector.matchExpressions must have the operators In, NotIn, Exists or DoesNotExist"))]
#[x_kube(validation = Rule::new("!has(self.selector) || !has(self.selector.matchExpressions) || self.selector.matchExpressions.all(one, (one.operator in ['Exists', 'DoesNotExist']) != (has(one.values) && one.values.size() > 0))").message("spec.allowedNamespaces.selector.matchExpressions must have values with the operators In and NotIn, and none with Exists and DoesNotExist"))]
pub struct AllowedNamespaces {
    /// `None` (the default), `All`, or `Selector`: those whose labels match `selector`.
    #[serde(default)]
    pub from: From,

    /// The labels of the namespaces that may use the class, for example `{matchLabels: {video: allowed}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// The way in which namespaces are chosen.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum From {
    /// No namespace.
    #[default]
    None,
    /// Every namespace.
    All,
    /// The namespaces whose labels match.
    Selector,
}

/// What the users of a class may decide.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassLimits {
    /// Which stream names are allowed: `Default` (only the generated ones), `Prefixed` (any that begins with the class's
    /// prefix, followed by the namespace and a dot), or `Any`.
    #[serde(default)]
    pub stream_names: StreamNames,

    /// Which deletion policies a VideoStream may ask for, for example `[Retain, Delete]`. The class's own default is
    /// always allowed.
    #[serde(default = "only_retain")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = Rule::new(POLICIES_ONCE).message("spec.limits.deletionPolicies names a policy twice: write each once"))]
    pub deletion_policies: Vec<DeletionPolicy>,

    /// Which adoption policies a VideoStream may ask for, by default `[Never, IfOwned]`. The class's own default is always
    /// allowed.
    #[serde(default = "own_streams")]
    #[schemars(length(max = 6))]
    #[x_kube(validation = Rule::new(POLICIES_ONCE).message("spec.limits.adoptionPolicies names a policy twice: write each once"))]
    pub adoption_policies: Vec<AdoptionPolicy>,
}

const POLICIES_ONCE: &str = "self.all(policy, self.exists_one(other, other == policy))";

impl Default for ClassLimits {
    fn default() -> Self {
        Self {
            stream_names: StreamNames::default(),
            deletion_policies: only_retain(),
            adoption_policies: own_streams(),
        }
    }
}

fn own_streams() -> Vec<AdoptionPolicy> {
    vec![AdoptionPolicy::Never, AdoptionPolicy::IfOwned]
}

fn only_retain() -> Vec<DeletionPolicy> {
    vec![DeletionPolicy::Retain]
}

/// Which stream names a class allows.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamNames {
    /// Only the generated ones: prefix, namespace, dot, name.
    #[default]
    Default,
    /// Any that begins with prefix, namespace and a dot.
    Prefixed,
    /// Any.
    Any,
}

/// Defaults for the streams of a class.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamDefaults {
    /// What generated stream names begin with, for example `prod-`: the name is then `prod-NAMESPACE.NAME`. It cannot be
    /// changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9_.-]*$')").message("spec.stream.namePrefix may hold only letters, digits, underscore, dot and hyphen"))]
    pub name_prefix: String,

    /// How many hours video is kept where a VideoStream does not say, 0 to 87600. 0 keeps nothing.
    #[serde(default = "default_retention_hours")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 87600").message("spec.stream.retentionHours must be 0 to 87600 (10 years); 0 stores nothing"))]
    pub retention_hours: i32,

    /// Where footage is kept where a VideoStream does not say: `Hot` (the default) or `Warm`.
    #[serde(default)]
    pub storage_tier: StorageTier,

    /// The KMS key of streams that are made from now on, where a VideoStream does not say: its ID or ARN, or an alias, for example
    /// `alias/cameras`. By default the account's `alias/aws/kinesisvideo`.
    #[serde(default, rename = "kmsKeyID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new(KMS_KEY_FORM).message("spec.stream.kmsKeyID must be the ID or the ARN of a KMS key, or an alias, for example alias/cameras or arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"))]
    pub kms_key_id: Option<String>,

    /// What becomes of changes that somebody else makes to a stream, where a VideoStream does not say: `Correct` (the default)
    /// takes them back, `Report` shows them and leaves them.
    #[serde(default)]
    pub drift_policy: DriftPolicy,

    /// Which streams that are there already may be taken over, where a VideoStream does not say: `IfOwned` (the default) those whose
    /// tags name the object, `IfUnowned` also those whose tags name none, `Never` none.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// Tags for every stream, for example `{cost-centre: "4711"}`, at most 46. Those of a VideoStream go before these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 200, "additionalProperties" = { "type": "string", "maxLength": 1024 }))]
    #[x_kube(validation = Rule::new(TAGS_NOT_RESERVED).message("spec.stream.tags may not hold keys that begin with streamfleet.io/ or aws:, choose others"))]
    #[x_kube(validation = Rule::new(TAGS_COUNT).message("spec.stream.tags may hold at most 46: the service takes 50, and Streamfleet needs 4. Remove some"))]
    #[x_kube(validation = Rule::new(TAG_KEYS).message("spec.stream.tags may have keys of 1 to 128 letters, digits, spaces and _ . : / = + - @, for example cost-centre"))]
    #[x_kube(validation = Rule::new(TAG_VALUES).message("spec.stream.tags may have values of at most 256 letters, digits, spaces and _ . : / = + - @, for example berlin"))]
    pub tags: BTreeMap<String, String>,

    /// What becomes of a KVS stream whose VideoStream is deleted, where the VideoStream does not say: `Retain` (the
    /// default) or `Delete`, which destroys its footage.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn default_retention_hours() -> i32 {
    RETENTION_HOURS_DEFAULT
}

impl Default for StreamDefaults {
    fn default() -> Self {
        Self {
            name_prefix: String::new(),
            retention_hours: default_retention_hours(),
            storage_tier: StorageTier::default(),
            kms_key_id: None,
            drift_policy: DriftPolicy::default(),
            adoption_policy: AdoptionPolicy::default(),
            tags: BTreeMap::new(),
            deletion_policy: DeletionPolicy::default(),
        }
    }
}

/// How producer pods are made.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerDefaults {
    /// The image, where it is not the operator's own default, for example `registry.example/streamfleet-producer:1.2.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new(IMAGE_FORM).message("spec.producer.image must be the name of an image without spaces, for example registry.example/streamfleet-producer:1.2.3"))]
    pub image: Option<String>,

    /// The service account of producer pods, for example one with an IAM role (IRSA). It is to exist in every namespace with
    /// cameras. By default the namespace's `default`; no token is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("spec.producer.serviceAccountName must be the name of a ServiceAccount: small letters, digits, hyphens and dots, for example streamfleet-producer"))]
    pub service_account_name: Option<String>,

    /// For trials: a Secret in the namespace of the cameras whose key `credentials` is an AWS shared credentials file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("spec.producer.credentialsSecretName must be the name of a Secret: small letters, digits, hyphens and dots, for example aws-trial"))]
    pub credentials_secret_name: Option<String>,

    /// What a producer pod asks for and may use, for example `{requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 128Mi}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// A role that producers assume, each with a session policy for its own stream.
    #[serde(default, rename = "roleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$')").message("spec.producer.roleARN must be the ARN of an IAM role, for example arn:aws:iam::123456789012:role/streamfleet-producer"))]
    pub role_arn: Option<String>,

    /// Whether Cameras may bring a container as their source. It runs beside the producer, with what the pod's network and
    /// service account can reach. By default they may not.
    #[serde(default)]
    pub allow_container_sources: bool,

    /// Where video waits that is not stored yet.
    #[serde(default)]
    pub buffer: Buffer,
}

/// Where video waits that is not stored yet: in memory, and where that is too small in a spool on the node's disk.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buffer {
    /// Memory for media, for example `64Mi`, which is about two minutes of a 4 Mbit/s camera. The pod's memory limit has to be
    /// larger by about 32Mi.
    #[serde(default = "default_buffer_memory")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,5}(Mi|Gi)$')").message("spec.producer.buffer.memory must be a whole number of Mi or Gi, for example 64Mi"))]
    pub memory: String,

    /// The spool. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<Spool>,
}

fn default_buffer_memory() -> String {
    "64Mi".to_owned()
}

impl Default for Buffer {
    fn default() -> Self {
        Self { memory: default_buffer_memory(), spool: None }
    }
}

/// A spool in an `emptyDir` of the producer's pod: it survives the process, and goes with the pod.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spool {
    /// Its size, for example `2Gi`, which is about an hour of a 4 Mbit/s camera.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,5}(Mi|Gi)$')").message("spec.producer.buffer.spool.size must be a whole number of Mi or Gi, for example 2Gi"))]
    pub size: String,

    /// `Overflow` writes what memory cannot hold, `Journal` everything as it comes, so that a killed process loses nothing.
    #[serde(default)]
    pub mode: SpoolMode,
}

/// What is written to a spool.
#[derive(JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpoolMode {
    /// What memory cannot hold.
    #[default]
    Overflow,
    /// Everything, as it comes.
    Journal,
}

/// The form of an image's name, as far as a mistake shows in it.
pub(super) const IMAGE_FORM: &str = r"self.matches('^[^\\s]+$')";
/// Whole or with a suffix, and not negative.
const QUANTITIES: &str = "self.all(name, isQuantity(string(self[name])) && !quantity(string(self[name])).isLessThan(quantity('0')))";

/// What a container asks for and may use.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for it, for example `{cpu: 20m, memory: 32Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = { "x-kubernetes-int-or-string": true, "maxLength": 32 }))]
    #[x_kube(validation = Rule::new(QUANTITIES).message("resources.requests must hold quantities, for example {cpu: 20m, memory: 32Mi}"))]
    pub requests: BTreeMap<String, Quantity>,

    /// What it may use at most, for example `{memory: 128Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = { "x-kubernetes-int-or-string": true, "maxLength": 32 }))]
    #[x_kube(validation = Rule::new(QUANTITIES).message("resources.limits must hold quantities, for example {memory: 128Mi}"))]
    pub limits: BTreeMap<String, Quantity>,
}

/// What is known about a `StreamClass`.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamClassStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready` and `CallerVerified`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Who the operator is for AWS, as STS says.
    #[serde(default, rename = "callerARN", skip_serializing_if = "Option::is_none")]
    pub caller_arn: Option<String>,

    /// How many `VideoStreams` refer to this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<i64>,
}
