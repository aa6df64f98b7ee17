//! The emulator as boto3 sees it: every operation, each answer against botocore's own model.

#![allow(clippy::print_stdout, reason = "counts are shown")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, as tests do")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use streamfleet_emulator::{Emulator, Options, control::ControlOptions};

/// Where the scripts are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boto3")
}

/// boto3's interpreter, from the cache folder.
fn python() -> String {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/foreign/setup");
    let output = Command::new(setup).arg("python").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs a script; what it printed.
fn run(script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(python());
    // Nothing of what the person who runs the tests has configured.
    for variable in ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"] {
        command.env_remove(variable);
    }
    let output = command
        .env("AWS_ACCESS_KEY_ID", "streamfleet")
        .env("AWS_SECRET_ACCESS_KEY", "streamfleet")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(folder().join(script))
        .args(arguments)
        .output()
        .unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{errors}");
    out.into_owned()
}

#[test]
fn the_model_that_requests_are_checked_by_is_botocore_s() {
    run("model.py", &["--check"]);
    run("cloudwatch_model.py", &["--check"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_control_plane_answers_as_botocore_s_model_says() {
    let data = std::env::temp_dir().join(format!("emulator-boto3-{:016x}", fastrand::u64(..)));
    let mut options = Options::new(&data);
    options.listen_tls = None;
    options.control = ControlOptions::default();
    let emulator = Emulator::start(options).await.unwrap();
    let endpoint = format!("http://{}", emulator.http_addr());
    let said = tokio::task::spawn_blocking(move || run("control_plane.py", &[&endpoint])).await.unwrap();
    emulator.shutdown().await;
    std::fs::remove_dir_all(&data).unwrap();
    print!("{said}");
    assert!(said.contains("32 operations"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_cloudwatch_answers_the_same_in_each_protocol_and_as_botocore_s_model_says() {
    let data = std::env::temp_dir().join(format!("emulator-boto3-{:016x}", fastrand::u64(..)));
    let mut options = Options::new(&data);
    options.listen_tls = None;
    let emulator = Emulator::start(options).await.unwrap();
    let endpoint = format!("http://{}", emulator.http_addr());
    let said = tokio::task::spawn_blocking(move || run("cloudwatch.py", &[&endpoint])).await.unwrap();
    emulator.shutdown().await;
    std::fs::remove_dir_all(&data).unwrap();
    print!("{said}");
    assert!(said.contains("16 operations in 4 protocols"), "{said}");
}
