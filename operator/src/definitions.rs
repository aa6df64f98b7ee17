//! Whether the custom resource definitions of the cluster are those that this release was built with, or later ones. Under
//! older ones the API server drops what it does not know, without a word: a status without an ARN is a stream without a fence.
//! So with those nothing is done.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use streamfleet_crds::all_crds;

/// How many differences are named; the rest is counted.
const NAMED: usize = 4;

/// Reads the installed definitions, and says what they lack; empty where they will do.
///
/// # Errors
/// When the API server does not answer, or does not let us read them.
pub async fn check(client: &Client) -> Result<Vec<String>, kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut problems = Vec::new();
    for ours in all_crds() {
        let installed = api.get_opt(&ours.name_any()).await?;
        problems.extend(lacks(&ours, installed.as_ref()));
    }
    Ok(problems)
}

/// What an installed definition lacks of ours, in words.
fn lacks(ours: &CustomResourceDefinition, installed: Option<&CustomResourceDefinition>) -> Option<String> {
    let name = ours.name_any();
    let Some(installed) = installed else { return Some(format!("{name} is not installed")) };
    let mut missing = Vec::new();
    for version in &ours.spec.versions {
        let Some(found) = installed.spec.versions.iter().find(|found| found.name == version.name) else {
            missing.push(format!("version {}", version.name));
            continue;
        };
        if !found.served {
            missing.push(format!("version {} being served", version.name));
        }
        let has_status = |version: &CustomResourceDefinitionVersion| {
            version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some())
        };
        if has_status(version) && !has_status(found) {
            missing.push("the subresource status".to_owned());
        }
        let value = |schema: &Option<_>| serde_json::to_value(schema).unwrap_or_default();
        let (ours, theirs) = (value(&version.schema), value(&found.schema));
        compare("", &ours["openAPIV3Schema"], &theirs["openAPIV3Schema"], &mut missing);
    }
    if missing.is_empty() {
        return None;
    }
    let more = missing.len().saturating_sub(NAMED);
    missing.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{name} lacks {}{more}", missing.join(", ")))
}

/// Notes each field and each value of an enum that is in `ours` and not in `theirs`.
fn compare(path: &str, ours: &Value, theirs: &Value, missing: &mut Vec<String>) {
    let keeps_all = theirs["x-kubernetes-preserve-unknown-fields"] == true;
    if let Some(fields) = ours["properties"].as_object() {
        for (name, field) in fields {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match theirs["properties"].get(name) {
                Some(found) => compare(&inner, field, found, missing),
                None if keeps_all => {}
                None => missing.push(inner),
            }
        }
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if ours[key].is_object() {
            compare(&format!("{path}{mark}"), &ours[key], &theirs[key], missing);
        }
    }
    if let (Some(ours), Some(theirs)) = (ours["enum"].as_array(), theirs["enum"].as_array()) {
        for value in ours.iter().filter(|value| !theirs.contains(value)) {
            missing.push(format!("{path}={value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> CustomResourceDefinition {
        all_crds().into_iter().find(|crd| crd.name_any().starts_with("videostreams")).unwrap()
    }

    /// The definition after a change of its JSON form.
    fn changed(change: impl Fn(&mut Value)) -> CustomResourceDefinition {
        let mut value = serde_json::to_value(stream()).unwrap();
        change(&mut value["spec"]["versions"][0]);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn our_own_definitions_and_later_ones_will_do() {
        for ours in all_crds() {
            assert_eq!(lacks(&ours, Some(&ours)), None);
        }
        let later = changed(|version| {
            version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["new"] =
                serde_json::json!({ "type": "string" });
        });
        assert_eq!(lacks(&stream(), Some(&later)), None);
    }

    #[test]
    fn what_older_ones_lack_is_named() {
        let without = |kind: &'static str, field: &'static str| {
            changed(move |version| {
                let fields =
                    version["schema"]["openAPIV3Schema"]["properties"][kind]["properties"].as_object_mut();
                fields.unwrap().remove(field).unwrap();
            })
        };
        let says = |installed: &CustomResourceDefinition| lacks(&stream(), Some(installed)).unwrap();
        assert_eq!(
            says(&without("status", "streamARN")),
            "videostreams.streamfleet.io lacks status.streamARN"
        );
        assert!(says(&without("spec", "retentionHours")).ends_with("lacks spec.retentionHours"));
        let fewer = changed(|version| {
            let policy = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["deletionPolicy"];
            policy["enum"] = serde_json::json!(["Retain"]);
        });
        assert!(says(&fewer).ends_with("lacks spec.deletionPolicy=\"Delete\""), "{}", says(&fewer));
        let unserved = changed(|version| version["served"] = false.into());
        assert!(says(&unserved).ends_with("lacks version v1alpha1 being served"));
        let plain = changed(|version| drop(version.as_object_mut().unwrap().remove("subresources")));
        assert!(says(&plain).ends_with("lacks the subresource status"));
        assert_eq!(lacks(&stream(), None).unwrap(), "videostreams.streamfleet.io is not installed");
    }

    #[test]
    fn of_many_differences_some_are_named_and_the_rest_is_counted() {
        let empty = changed(|version| {
            version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"] =
                serde_json::json!({});
        });
        let text = lacks(&stream(), Some(&empty)).unwrap();
        assert!(text.contains(" and ") && text.ends_with(" more") && text.len() < 200, "{text}");
    }
}
