//! The committed manifests are those of the types, and say what the API server needs.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
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

fn walk(schema: &Value, path: &str) {
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

/// The objects in the YAML files of a folder, with the file's name.
fn objects(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        objects.push((path.file_stem().unwrap().to_string_lossy().into_owned(), value));
    }
    objects
}

/// The object as the types have it, or why they do not take it; nothing where the kind is another.
fn as_types_have_it(value: &Value) -> Option<Result<Value, serde_json::Error>> {
    fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, serde_json::Error> {
        serde_json::to_value(serde_json::from_value::<T>(value.clone())?)
    }
    match value["kind"].as_str().unwrap() {
        "StreamClass" => Some(through::<StreamClass>(value)),
        "VideoStream" => Some(through::<VideoStream>(value)),
        "Camera" => Some(through::<Camera>(value)),
        _ => None,
    }
}

/// What of `wanted` is not in `found`.
fn lacking(wanted: &Value, found: &Value, path: &str) -> Vec<String> {
    let Value::Object(members) = wanted else {
        return if wanted == found { Vec::new() } else { vec![format!("{path}: {wanted} became {found}")] };
    };
    members.iter().flat_map(|(name, value)| lacking(value, &found[name], &format!("{path}.{name}"))).collect()
}

#[test]
fn samples_and_examples_come_through_the_types_whole() {
    let mut seen = 0;
    for folder in ["tests/samples/valid", "../examples", "../examples/aws", "../examples/streams"] {
        for (name, value) in objects(folder) {
            let Some(read) = as_types_have_it(&value) else { continue };
            let read = read.unwrap_or_else(|error| panic!("{folder}/{name}: {error}"));
            assert_eq!(
                lacking(&value["spec"], &read["spec"], "spec"),
                Vec::<String>::new(),
                "{folder}/{name}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 14, "{seen}");
}

#[test]
fn full_samples_have_every_field_of_the_schema() {
    for (name, value) in objects("tests/samples/valid") {
        let Some(crd) = all_crds().into_iter().find(|crd| value["kind"] == crd.spec.names.kind) else {
            continue;
        };
        if !name.ends_with("-full") {
            continue;
        }
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(absent(spec, &value["spec"], "spec"), Vec::<String>::new(), "{name}");
    }
}

/// The fields of a schema that a value does not have. Selectors are Kubernetes's own.
fn absent(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let fields =
        schema["properties"].as_object().into_iter().flatten().filter(|_| !path.ends_with("selector"));
    let one = |(name, field): (&String, &Value)| {
        let path = format!("{path}.{name}");
        if value[name].is_null() { vec![path] } else { absent(field, &value[name], &path) }
    };
    fields.flat_map(one).collect()
}
