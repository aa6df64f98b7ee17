//! What the demo installs and applies: the chart, trial credentials, the StreamClass, and `examples/` as they are.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::site::{ACCOUNT, Emulator, REGION};
use super::{Stage, repository_file};
use crate::process::output;
use crate::release;
use crate::steps::Steps;

/// The namespace of the cameras in `examples/`.
pub const NAMESPACE: &str = "cameras";
/// The class of their streams.
pub const CLASS: &str = "standard";
/// The producers' pods.
pub const PRODUCER_SELECTOR: &str = "app.kubernetes.io/name=streamfleet-producer";

/// What the emulator knows unless a file names others, as an AWS shared credentials file.
const CREDENTIALS: &str = "[default]\naws_access_key_id = streamfleet\naws_secret_access_key = streamfleet\n";

/// When `kubectl apply` was started.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// The moment.
    pub at: Instant,
    /// Whether cameras were there before: a demo that was up already.
    pub again: bool,
}

/// Credentials, chart and class.
pub fn install(stage: &Stage, emulator: &Emulator, steps: &Steps) -> Result<()> {
    let cameras = fs::read_to_string(repository_file("examples/00-namespace.yaml")?)?;
    crate::process::output_of(stage.cluster.kubectl().args(["apply", "-f", "-"]), &cameras)?;
    stage.cluster.apply(&[release::aws_secret(NAMESPACE, CREDENTIALS)])?;
    release::install(&stage.cluster, &stage.installation, CREDENTIALS, &[])?;
    steps.done("helm install: the operator runs");
    stage.cluster.apply(&[class(emulator)])?;
    steps.done(format!("StreamClass `{CLASS}` is applied; it leads to the emulator"));
    Ok(())
}

/// `kubectl apply -f examples/`.
pub fn apply_examples(stage: &Stage, steps: &Steps) -> Result<Applied> {
    let examples = repository_file("examples")?;
    let before = output(stage.cluster.kubectl().args(["-n", NAMESPACE, "get", "cameras", "-o", "name"]))?;
    let applied = Applied { at: Instant::now(), again: !before.trim().is_empty() };
    output(stage.cluster.kubectl().args(["apply", "-f"]).arg(examples))?;
    steps.done("kubectl apply -f examples/");
    Ok(applied)
}

/// Runs the plugin with the user's own AWS credentials.
pub fn kvs(stage: &Stage, args: &[&str]) -> Result<String> {
    let mut command = Command::new(stage.binaries.join("kubectl-kvs"));
    command.env("KUBECONFIG", stage.cluster.kubeconfig());
    command.env("AWS_SHARED_CREDENTIALS_FILE", write_credentials(stage)?);
    output(command.args(args))
}

/// Writes `env`, which leads a shell to the cluster, the tools, the plugin and the emulator's credentials.
pub fn write_environment(stage: &Stage) -> Result<PathBuf> {
    let tools = stage.cluster.tools();
    let folder = |file: PathBuf| file.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let path =
        [folder(tools.kubernetes("kubectl")), folder(tools.helm()), stage.binaries.display().to_string()];
    fs::create_dir_all(&stage.folder)?;
    let file = stage.folder.join("env");
    let text = format!(
        "export KUBECONFIG={}\nexport PATH={}:$PATH\nexport AWS_SHARED_CREDENTIALS_FILE={}\n",
        stage.cluster.kubeconfig().display(),
        path.join(":"),
        write_credentials(stage)?.display(),
    );
    fs::write(&file, text)?;
    Ok(file)
}

fn write_credentials(stage: &Stage) -> Result<PathBuf> {
    let file = stage.folder.join("aws-credentials");
    fs::write(&file, CREDENTIALS)?;
    Ok(file)
}

/// The class that `examples/` name, as `examples/aws/streamclass.yaml` has it, but leading to the emulator: with every service, since
/// one without an endpoint here is AWS's own.
fn class(emulator: &Emulator) -> Value {
    json!({
        "apiVersion": "streamfleet.io/v1alpha1",
        "kind": "StreamClass",
        "metadata": { "name": CLASS },
        "spec": {
            "aws": {
                "region": REGION,
                "accountID": ACCOUNT,
                "endpoints": {
                    "kinesisVideo": emulator.url, "sts": emulator.url, "cloudWatch": emulator.url,
                },
                "caBundle": emulator.authority,
            },
            "allowedNamespaces": { "from": "Selector", "selector": { "matchLabels": { "video": "allowed" } } },
            "stream": { "namePrefix": "streamfleet-" },
            "producer": { "credentialsSecretName": release::AWS_SECRET },
        },
    })
}

#[cfg(test)]
mod tests {
    use streamfleet_crds::all_crds;

    use super::*;

    #[test]
    fn the_class_leads_to_the_emulator_with_every_service_that_a_class_can_name() {
        let definitions = all_crds();
        let of_classes = definitions.iter().find(|definition| definition.spec.names.kind == "StreamClass");
        let of_classes = serde_json::to_value(of_classes.unwrap()).unwrap();
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/aws/properties/endpoints/properties";
        let services = of_classes.pointer(path).and_then(Value::as_object).unwrap();
        assert!(services.contains_key("kinesisVideo"), "{services:?}");

        let emulator = Emulator { url: "https://10.77.0.1:8443".to_owned(), authority: String::new() };
        let class = class(&emulator);
        for service in services.keys() {
            assert_eq!(class["spec"]["aws"]["endpoints"][service], emulator.url, "{service}");
        }
    }
}
