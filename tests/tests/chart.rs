//! What the Helm chart renders: what it may, how it runs, and that a mistyped value is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

use std::process::{Command, Output};

use serde_json::Value;
use streamfleet_tests::steps::Steps;
use streamfleet_tests::tools::{Tools, repository};

fn helm_template(settings: &[&str]) -> Output {
    let tools = Tools::default();
    tools.ensure_only("helm", &Steps::start()).unwrap();
    let mut command = Command::new(tools.helm());
    command
        .arg("template")
        .arg("fleet")
        .arg(repository().join("charts/streamfleet"))
        .args(["--namespace", "video"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.output().unwrap()
}

fn rendered(settings: &[&str]) -> Vec<Value> {
    let output = helm_template(settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there is more than one {kind}");
    object
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

fn args(objects: &[Value]) -> Vec<&str> {
    strings(&one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"])
}

#[test]
fn the_operator_may_read_no_secret_and_nothing_is_given_by_wildcard() {
    let objects = rendered(&[]);
    let rules = |kind| one(&objects, kind)["rules"].as_array().unwrap().clone();
    for rule in rules("ClusterRole").into_iter().chain(rules("Role")) {
        for part in ["apiGroups", "resources", "verbs"] {
            let words = strings(&rule[part]);
            assert!(!words.contains(&"*"), "{rule}");
            assert!(words.iter().all(|word| !word.starts_with("secrets")), "{rule}");
        }
    }
}

#[test]
fn two_replicas_agree_by_a_lease_and_one_alone_needs_none() {
    let objects = rendered(&[]);
    let deployment = &one(&objects, "Deployment")["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert_eq!(deployment["strategy"]["type"], "RollingUpdate");
    assert!(args(&objects).contains(&"--leader-election=true"));
    let lease = &one(&objects, "Role")["rules"][0];
    assert_eq!(
        (strings(&lease["resources"]), strings(&lease["verbs"])),
        (vec!["leases"], vec!["get", "create", "update"])
    );
    assert_eq!(one(&objects, "RoleBinding")["roleRef"]["name"], one(&objects, "Role")["metadata"]["name"]);
    assert_eq!(one(&objects, "PodDisruptionBudget")["spec"]["minAvailable"], 1);
    let spread = &deployment["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"], deployment["selector"]);

    let alone = rendered(&["replicas=1", "leaderElection=false"]);
    let deployment = &one(&alone, "Deployment")["spec"];
    assert_eq!((&deployment["replicas"], &deployment["strategy"]["type"]), (&1.into(), &"Recreate".into()));
    assert!(alone.iter().all(|object| object["kind"] != "Role" && object["kind"] != "PodDisruptionBudget"));
    assert!(!helm_template(&["leaderElection=false"]).status.success(), "two that do not agree are refused");
}

#[test]
fn a_proxy_is_for_aws_alone() {
    let env = |settings: &[&str]| -> Vec<Value> {
        let objects = rendered(settings);
        one(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array()
            .unwrap()
            .clone()
    };
    let value = |env: &[Value], name: &str| {
        let found = env.iter().find(|variable| variable["name"] == name);
        found.map(|variable| variable["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(value(&env(&[]), "HTTPS_PROXY"), None);
    let proxied = env(&["proxy.https=http://proxy.example:3128", "proxy.exceptions=.vpce.amazonaws.com"]);
    assert_eq!(value(&proxied, "HTTPS_PROXY").as_deref(), Some("http://proxy.example:3128"));
    let exceptions = value(&proxied, "NO_PROXY").unwrap();
    let exceptions: Vec<&str> = exceptions.split(',').collect();
    assert!([".vpce.amazonaws.com", "169.254.169.254", ".svc"].iter().all(|host| exceptions.contains(host)));
}

#[test]
fn a_network_policy_lets_in_who_asks_for_health_and_metrics() {
    assert!(rendered(&[]).iter().all(|object| object["kind"] != "NetworkPolicy"));
    let objects = rendered(&["networkPolicy.enabled=true"]);
    let (policy, deployment) =
        (&one(&objects, "NetworkPolicy")["spec"], &one(&objects, "Deployment")["spec"]);
    assert_eq!(policy["podSelector"], deployment["selector"]);
    assert_eq!(policy["policyTypes"], serde_json::json!(["Ingress"]));
    let port = &deployment["template"]["spec"]["containers"][0]["ports"][0]["name"];
    assert_eq!(&policy["ingress"][0]["ports"][0]["port"], port);
}

#[test]
fn the_operator_runs_restricted() {
    let objects = rendered(&[]);
    let deployment = &one(&objects, "Deployment")["spec"];
    let pod = &deployment["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL"]);
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
    let (deployment_labels, selector) =
        (&deployment["template"]["metadata"]["labels"], &deployment["selector"]["matchLabels"]);
    assert!(selector.as_object().unwrap().iter().all(|(key, value)| &deployment_labels[key] == value));
}

#[test]
fn definitions_are_objects_of_the_release_and_stay_when_it_goes() {
    let definitions = |settings: &[&str]| -> Vec<Value> {
        rendered(settings).into_iter().filter(|object| object["kind"] == "CustomResourceDefinition").collect()
    };
    let kept = definitions(&[]);
    let mut names: Vec<_> =
        kept.iter().map(|definition| definition["metadata"]["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["cameras.streamfleet.io", "streamclasses.streamfleet.io", "videostreams.streamfleet.io"]
    );
    for definition in &kept {
        assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
    for definition in definitions(&["streamfleet-crds.keep=false"]) {
        assert!(definition["metadata"]["annotations"]["helm.sh/resource-policy"].is_null());
    }
    assert_eq!(definitions(&["streamfleet-crds.enabled=false"]), Vec::<Value>::new());
}

#[test]
fn rendering_changes_no_definition_but_its_metadata() {
    let objects = rendered(&[]);
    for (file, text) in streamfleet_crds::manifests().unwrap() {
        let generated: Value = serde_saphyr::from_str(&text).unwrap();
        let name = &generated["metadata"]["name"];
        let found = objects.iter().find(|object| &object["metadata"]["name"] == name).unwrap();
        // Helm reads all numbers as floats.
        assert_eq!(without_float_marks(&found["spec"]), without_float_marks(&generated["spec"]), "{file}");
    }
}

fn without_float_marks(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(items) => items.iter().map(without_float_marks).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), without_float_marks(value))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn the_producer_s_image_is_the_operator_s_sibling_unless_it_is_named() {
    let sibling =
        rendered(&["image.repository=registry.example:5000/team/streamfleet-operator", "image.tag=1.2.3"]);
    assert!(
        args(&sibling).contains(&"--producer-image=registry.example:5000/team/streamfleet-producer:1.2.3")
    );
    let named = rendered(&["producer.image=other.example/producer:9"]);
    assert!(args(&named).contains(&"--producer-image=other.example/producer:9"));
}

#[test]
fn every_argument_is_one_that_the_operator_takes() {
    use clap::Parser as _;
    let objects = rendered(&[
        "installation=berlin",
        "logging.level=info\\,streamfleet_operator=debug",
        "classes=a\\,b",
        "observer.settingsSweepHours=24",
        "tracing.endpoint=http://collector:4318",
    ]);
    let args = args(&objects);
    assert!(args.contains(&"--classes=a,b") && args.contains(&"--settings-sweep-hours=24"), "{args:?}");
    assert!(args.contains(&"--installation=berlin"), "{args:?}");
    let line = std::iter::once("streamfleet-operator").chain(args);
    streamfleet_operator::args::Args::try_parse_from(line).unwrap();
}

#[test]
fn trial_credentials_are_mounted_only_when_they_are_named() {
    let pod = |objects: &[Value]| one(objects, "Deployment")["spec"]["template"]["spec"].clone();
    let own = pod(&rendered(&[]));
    let named = |pod: &Value, name: &str| {
        pod["containers"][0]["env"].as_array().unwrap().iter().any(|variable| variable["name"] == name)
    };
    assert!(own["volumes"].is_null() && !named(&own, "AWS_SHARED_CREDENTIALS_FILE"), "{own}");
    let trial = pod(&rendered(&["aws.credentialsSecretName=aws-trial"]));
    assert_eq!(trial["volumes"][0]["secret"]["secretName"], "aws-trial");
    assert_eq!(trial["volumes"][0]["secret"]["optional"], true);
    let env = trial["containers"][0]["env"].as_array().unwrap();
    let file = env.iter().find(|variable| variable["name"] == "AWS_SHARED_CREDENTIALS_FILE").unwrap();
    let mount = trial["containers"][0]["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert_eq!(file["value"], format!("{mount}/credentials"));
}

#[test]
fn mistyped_values_are_refused_by_name() {
    for (setting, named) in [
        ("instalation=x", "instalation"),
        ("image.tags=x", "tags"),
        ("aws.credentialSecretName=x", "credentialSecretName"),
        ("streamfleet-crds.kept=true", "kept"),
        ("imagePullPolicy=Sometimes", "imagePullPolicy"),
        ("logging.format=xml", "format"),
        ("observer.sweepSeconds=0", "sweepSeconds"),
        ("proxy.https=proxy.example", "https"),
    ] {
        let output = helm_template(&[setting]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{setting} is accepted");
        assert!(said.contains(named), "{setting}: {said}");
    }
}
