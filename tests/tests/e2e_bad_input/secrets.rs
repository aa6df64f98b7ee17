//! The planted secrets, and the search for them in every place that somebody may read.

use anyhow::{Result, ensure};
use serde_json::json;
use streamfleet_tests::e2e::kubectl::kubectl;
use streamfleet_tests::e2e::places::Search;
use streamfleet_tests::e2e::planted::Hit;
use streamfleet_tests::e2e::{Planted, World};

/// A password with everything in it that is special in URLs, quotes and digests.
pub const CAMERA_PASSWORD: &str = "Planted-Camera/p@ss:w\"rd+%41";
/// One that the camera refuses.
pub const WRONG_CAMERA_PASSWORD: &str = "Planted-Wrong-Camera-Password/9f";
/// One that somebody writes into a URL.
pub const URL_PASSWORD: &str = "Planted-Url-Password-4d2b";
/// A secret key that AWS refuses.
pub const WRONG_AWS_SECRET: &str = "Planted/Wrong+Aws/Secret/Key/000000000000";
/// Planted where it does not belong, to see that the search finds it there.
const CANARY: &str = "Planted-Canary-Bird-77e1";

/// Everything that must not show.
pub fn planted(world: &World) -> Planted {
    let mut planted = Planted::default();
    planted.add("camera password", CAMERA_PASSWORD);
    planted.add("wrong camera password", WRONG_CAMERA_PASSWORD);
    planted.add("password in a URL", URL_PASSWORD);
    planted.add("AWS secret key", &world.emulator.keys.secret);
    planted.add("AWS session token", &world.emulator.keys.token);
    planted.add("wrong AWS secret key", WRONG_AWS_SECRET);
    planted
}

/// Looks everywhere.
pub async fn search(world: &World, planted: &Planted, namespaces: &[&str], refusal: &str) -> Result<Search> {
    let mut search = Search::default();
    search.look(planted, "kubectl's refusal", refusal.as_bytes());
    search.files(planted, &[world.operator_log(), &world.emulator_log()])?;
    // Events about classes, which have no namespace.
    search.objects(planted, &world.cluster, "default").await?;
    for namespace in namespaces {
        search.objects(planted, &world.cluster, namespace).await?;
        search.pods(planted, &world.cluster, &world.client, namespace).await?;
    }
    search.classes(planted, &world.cluster).await?;
    let operator = world.operator()?;
    search.admin(planted, "the operator", operator.admin(), &["/metrics", "/readyz", "/healthz"]).await;
    search.process(planted, "the operator", operator.pid());
    search.process(planted, "the emulator", world.emulator.pid());
    let calls = format!("{:?}", world.emulator.calls(0).await?);
    search.look(planted, "the emulator's log of calls", calls.as_bytes());
    search.arguments(planted)?;
    Ok(search)
}

/// A search of nothing finds nothing: each kind of place has been there and held something.
pub fn search_reaches_every_place(search: &Search) -> Result<()> {
    let places = [
        "file ",
        "objects e2e-bad",
        "objects streamclasses",
        "log of pod streamfleet-healthy",
        "log of pod streamfleet-aws-refused",
        "log of pod streamfleet-wrong-password",
        "/status of pod streamfleet-healthy",
        "/metrics of pod streamfleet-healthy",
        "/metrics of the operator",
        "environment of pod streamfleet-healthy",
        "environment of the operator",
        "arguments of process",
        "kubectl's refusal",
    ];
    for place in places {
        ensure!(search.has_seen(place), "nothing of {place:?} was searched, only {:#?}", search.places);
    }
    Ok(())
}

/// The same search finds a secret that stands in a `ConfigMap`, an event, and an argument.
pub async fn search_finds_the_canary(world: &World, namespaces: &[&str]) -> Result<()> {
    let namespace = namespaces[0];
    let objects = [
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "canary" }, "data": { "a": CANARY } }),
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "canary" }, "reason": "Canary",
            "message": format!("failed to log in with {CANARY}"), "type": "Warning",
            "involvedObject": { "kind": "Camera", "name": "healthy", "namespace": namespace },
        }),
    ];
    world.apply(namespace, &objects).await?.succeeded()?;
    let mut bird = Planted::default();
    bird.add("canary", CANARY);
    let mut process = std::process::Command::new("sh")
        .args(["-c", "read line", CANARY])
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    let found = search(world, &bird, namespaces, &format!("error: {CANARY}")).await;
    process.kill()?;
    process.wait()?;
    let found = found?;
    let places = ["/configmaps", "/events", "arguments of process", "kubectl's refusal"];
    for place in places {
        ensure!(
            found.hits.iter().any(|hit| hit.place.contains(place)),
            "no canary in {place}: {:?}",
            found.hits
        );
    }
    let args = ["delete", "configmap/canary", "event/canary", "--namespace", namespace];
    kubectl(&world.cluster, &args, "").await?.succeeded().map(drop)
}

/// One hit a line.
pub fn lines(hits: &[Hit]) -> String {
    hits.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
