//! Objects as users write them, as JSON.

use serde_json::{Value, json};

use super::emulator::{ACCOUNT, Emulator, Keys, REGION};

/// The Secret with the AWS credentials of producers, in every namespace with cameras.
pub const TRIAL_SECRET: &str = "aws";

/// A class that leads to the emulator, admits every namespace, and allows any name and policy.
pub fn class(name: &str, emulator: &Emulator) -> anyhow::Result<Value> {
    Ok(json!({
        "apiVersion": "streamfleet.io/v1alpha1",
        "kind": "StreamClass",
        "metadata": { "name": name, "labels": { "streamfleet.io/test": "true" } },
        "spec": {
            "aws": {
                "region": REGION,
                "accountID": ACCOUNT,
                "endpoints": {
                    "kinesisVideo": emulator.url(), "sts": emulator.url(), "cloudWatch": emulator.url(),
                },
                "caBundle": emulator.authority()?,
            },
            "allowedNamespaces": { "from": "All" },
            "limits": { "streamNames": "Any", "deletionPolicies": ["Retain", "Delete"] },
            "producer": {
                "credentialsSecretName": TRIAL_SECRET,
                "resources": { "requests": { "cpu": "5m", "memory": "16Mi" } },
            },
        },
    }))
}

/// A stream of this class; `more` is merged into its spec.
pub fn stream(name: &str, class: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "streamfleet.io/v1alpha1",
        "kind": "VideoStream",
        "metadata": { "name": name },
        "spec": { "streamClassName": class },
    });
    merge(&mut object["spec"], more);
    object
}

/// A camera; `more` (its stream, its credentials ...) is merged into its spec.
pub fn camera(name: &str, url: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "streamfleet.io/v1alpha1",
        "kind": "Camera",
        "metadata": { "name": name },
        "spec": { "source": { "rtsp": { "url": url } } },
    });
    merge(&mut object["spec"], more);
    object
}

/// What makes a camera bring its own stream of this class.
pub fn own_stream(class: &str) -> Value {
    json!({ "streamTemplate": { "spec": { "streamClassName": class } } })
}

/// A Secret with these entries.
pub fn secret(name: &str, entries: &[(&str, &str)]) -> Value {
    let entries: serde_json::Map<_, _> =
        entries.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": entries })
}

/// The Secret with the AWS credentials of producers.
pub fn trial_secret(keys: &Keys) -> Value {
    secret(TRIAL_SECRET, &[("credentials", &keys.shared_file())])
}

/// Both together: members of `more` are added or go before those of `base`, objects are merged.
pub fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_keeps_what_is_not_named() {
        let mut object = camera("door", "rtsp://door/live", &own_stream("standard"));
        merge(&mut object["spec"], &json!({ "streamTemplate": { "spec": { "retentionHours": 3 } } }));
        let template = json!({ "streamClassName": "standard", "retentionHours": 3 });
        assert_eq!(object["spec"]["streamTemplate"]["spec"], template);
        assert_eq!(object["spec"]["source"]["rtsp"]["url"], "rtsp://door/live");
    }
}
