//! The committed manifests are those of the types, and say what the API server needs.

use std::path::Path;

use streamfleet_crds::{Camera, StreamClass, VideoStream, all_crds, manifests};

#[test]
fn committed_manifests_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    for (file, text) in manifests().unwrap() {
        let committed = std::fs::read_to_string(folder.join(&file)).unwrap_or_default();
        assert!(
            committed == text,
            "crds/manifests/{file} is not what the types say; run: cargo run -p streamfleet-crds --bin crdgen"
        );
    }
}

#[test]
fn every_rule_has_a_message_and_every_field_a_description() {
    for crd in all_crds() {
        let name = crd.spec.names.kind.clone();
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        walk(&schema["openAPIV3Schema"], &name);
    }
}

fn walk(schema: &serde_json::Value, path: &str) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        assert!(rule["message"].as_str().is_some_and(|message| message.len() > 20), "{path}: {rule}");
    }
    assert!(schema.get("format").is_none_or(|format| format != "uint32"), "{path}: unknown format");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(field["description"].is_string() || name == "metadata", "{path} has no description");
        walk(field, &path);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"));
    }
}

#[test]
fn no_rule_stands_on_a_scalar_that_may_hold_a_secret() {
    for crd in all_crds() {
        let text = serde_json::to_value(&crd).unwrap();
        let source =
            text.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/source");
        let Some(source) = source else { continue };
        let url = &source["properties"]["rtsp"]["properties"]["url"];
        assert_eq!(url["type"], "string", "{url}");
        assert!(url.get("pattern").is_none() && url.get("x-kubernetes-validations").is_none(), "{url}");
        assert_eq!(source["x-kubernetes-validations"].as_array().unwrap().len(), 4);
    }
}

#[test]
fn valid_samples_are_read_by_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/valid");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let read = match value["kind"].as_str().unwrap() {
            "StreamClass" => serde_json::from_value::<StreamClass>(value).map(drop),
            "VideoStream" => serde_json::from_value::<VideoStream>(value).map(drop),
            _ => serde_json::from_value::<Camera>(value).map(drop),
        };
        assert!(read.is_ok(), "{}: {read:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 6);
}
