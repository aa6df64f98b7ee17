//! What a class grants to the `VideoStreams` of a namespace. Pure. What it does not grant is refused before anything is read or
//! changed in AWS, so that a tenant can neither seize nor delete a stream that is not theirs.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt as _};
use streamfleet_crds::types::{default_stream_name, is_stream_name};
use streamfleet_crds::{
    AdoptionPolicy, DeletionPolicy, From, ManagementPolicy, StreamClass, StreamNames, VideoStream,
    VideoStreamReason,
};

use super::Refusal;

/// The name of the stream of this object.
pub fn stream_name(stream: &VideoStream, class: &StreamClass) -> String {
    stream.spec.stream_name.clone().unwrap_or_else(|| generated_name(stream, class))
}

fn generated_name(stream: &VideoStream, class: &StreamClass) -> String {
    let namespace = stream.namespace().unwrap_or_default();
    default_stream_name(&class.spec.stream.name_prefix, &namespace, &stream.name_any())
}

/// What becomes of the stream when the object goes: `Delete` only where the class allows it now, and never for a stream that is
/// only observed.
pub fn deletion_policy(stream: &VideoStream, class: Option<&StreamClass>) -> DeletionPolicy {
    if stream.spec.management_policy == ManagementPolicy::Observe {
        return DeletionPolicy::Retain;
    }
    let class_default = class.map_or(DeletionPolicy::Retain, |class| class.spec.stream.deletion_policy);
    let Some(asked) = stream.spec.deletion_policy else { return class_default };
    let is_allowed = class.is_none_or(|class| allows_deletion(class, asked));
    if is_allowed { asked } else { DeletionPolicy::Retain }
}

fn allows_deletion(class: &StreamClass, asked: DeletionPolicy) -> bool {
    class.spec.limits.deletion_policies.contains(&asked) || asked == class.spec.stream.deletion_policy
}

/// Whether the class lets this object be what it asks to be. The answer is the adoption policy that holds.
pub fn admit(
    stream: &VideoStream,
    class: &StreamClass,
    namespace_labels: &BTreeMap<String, String>,
) -> Result<AdoptionPolicy, Refusal> {
    admit_namespace(class, &stream.namespace().unwrap_or_default(), namespace_labels)?;
    admit_name(stream, class)?;
    admit_deletion_policy(stream, class)?;
    admit_adoption_policy(stream, class)
}

/// Whether the class still takes this stream: one that is being deleted takes none but those that it has.
pub fn admit_new(stream: &VideoStream, class: &StreamClass) -> Result<(), Refusal> {
    let status = stream.status.as_ref();
    // What is only looked at is put on record without an ARN.
    let is_observed = stream.spec.management_policy == ManagementPolicy::Observe
        && status.is_some_and(|status| status.aws_status.is_some());
    if class.metadata.deletion_timestamp.is_none() || stream.stream_arn().is_some() || is_observed {
        return Ok(());
    }
    let message = format!(
        "StreamClass {} is being deleted and takes no new streams: delete this object and make it again with another \
         spec.streamClassName",
        class.name_any()
    );
    Err(Refusal::new(VideoStreamReason::StreamClassDeleting, message))
}

/// Whether the class admits the namespace.
pub fn admit_namespace(
    class: &StreamClass,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let allowed = &class.spec.allowed_namespaces;
    let is_allowed = match allowed.from {
        From::None => false,
        From::All => true,
        From::Selector => allowed.selector.as_ref().is_some_and(|selector| matches(selector, labels)),
    };
    if is_allowed {
        return Ok(());
    }
    let class_name = class.name_any();
    let message = match allowed.from {
        From::Selector => format!(
            "StreamClass {class_name} does not admit namespace {namespace}: label the namespace so that the class's \
             spec.allowedNamespaces.selector matches it, or change that"
        ),
        From::None | From::All => format!(
            "StreamClass {class_name} does not admit namespace {namespace}: set the class's spec.allowedNamespaces.from to \
             All, or to Selector with a selector that matches the namespace's labels"
        ),
    };
    Err(Refusal::new(VideoStreamReason::NamespaceNotAllowed, message))
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    // A selector that says nothing selects everything in Kubernetes; one that cannot be read admits nobody.
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// The name of the stream, if the class and the service allow it.
pub fn admit_name(stream: &VideoStream, class: &StreamClass) -> Result<String, Refusal> {
    let name = stream_name(stream, class);
    let generated = generated_name(stream, class);
    let namespace = stream.namespace().unwrap_or_default();
    let prefix = format!("{}{namespace}.", class.spec.stream.name_prefix);
    let is_allowed = match class.spec.limits.stream_names {
        StreamNames::Default => name == generated,
        StreamNames::Prefixed => name.starts_with(&prefix),
        StreamNames::Any => true,
    };
    if !is_allowed {
        let wanted = match class.spec.limits.stream_names {
            StreamNames::Prefixed => format!("names that begin with {prefix}"),
            StreamNames::Default | StreamNames::Any => format!("the generated name {generated}"),
        };
        let message = format!(
            "StreamClass {} does not allow the stream name {name}, only {wanted}: delete this object and make it again \
             without spec.streamName, or widen the class's spec.limits.streamNames",
            class.name_any()
        );
        return Err(Refusal::new(VideoStreamReason::StreamNameNotAllowed, message));
    }
    if !is_stream_name(&name) {
        let message = format!(
            "The generated stream name has {} characters, the service takes 256: delete this object and make it again with a \
             shorter name, or with a spec.streamName",
            name.len()
        );
        return Err(Refusal::new(VideoStreamReason::StreamNameInvalid, message));
    }
    Ok(name)
}

/// Whether the class allows the deletion policy that is asked for.
fn admit_deletion_policy(stream: &VideoStream, class: &StreamClass) -> Result<(), Refusal> {
    let Some(asked) = stream.spec.deletion_policy.filter(|asked| !allows_deletion(class, *asked)) else {
        return Ok(());
    };
    let message = format!(
        "StreamClass {} does not allow spec.deletionPolicy {asked:?}: leave it out, or add it to the class's \
         spec.limits.deletionPolicies",
        class.name_any()
    );
    Err(Refusal::new(VideoStreamReason::DeletionPolicyNotAllowed, message))
}

/// The adoption policy that holds, if the class allows it.
fn admit_adoption_policy(stream: &VideoStream, class: &StreamClass) -> Result<AdoptionPolicy, Refusal> {
    let default = class.spec.stream.adoption_policy;
    let Some(asked) = stream.spec.adoption_policy else { return Ok(default) };
    if asked == default || class.spec.limits.adoption_policies.contains(&asked) {
        return Ok(asked);
    }
    let message = format!(
        "StreamClass {} does not allow spec.adoptionPolicy {asked:?}: leave it out, or add it to the class's \
         spec.limits.adoptionPolicies",
        class.name_any()
    );
    Err(Refusal::new(VideoStreamReason::AdoptionPolicyNotAllowed, message))
}
