//! 4 and 10: an operator whose view of the cluster is old, or has holes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::objects::{SOON, has_condition, is_gone};
use streamfleet_tests::process::signal_process;

use crate::api_proxy::{ApiProxy, View};
use crate::scene::{IN_SYNC, Scene, never};

/// Starts an operator that sees the cluster through a proxy.
async fn through_a_proxy(name: &'static str) -> Result<(Scene, ApiProxy)> {
    let mut scene = Scene::prepare(name, &[], &json!({})).await?;
    let proxy = ApiProxy::start(&scene.world).await?;
    let kubeconfig = proxy.kubeconfig(&scene.world.folder)?;
    scene.world.setup.set("KUBECONFIG", kubeconfig.display().to_string());
    scene.world.start_operator().await?;
    Ok((scene, proxy))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_04_stale_cache_on_delete() -> Result<()> {
    let (scene, proxy) = through_a_proxy("s04").await?;
    old_object_without_deletion(&scene, &proxy).await.context("old object without deletionTimestamp")?;
    old_object_with_deletion(&scene, &proxy).await.context("old object with deletionTimestamp")?;
    scene.finish().await
}

/// The cache has the object as it was before it was deleted, with the old ARN: nothing is made, and its successor's stream is
/// left alone.
async fn old_object_without_deletion(scene: &Scene, proxy: &ApiProxy) -> Result<()> {
    let spec = json!({ "deletionPolicy": "Delete" });
    let arn = scene.active("yard", &spec).await?;
    proxy.set_view(View::Held);
    // Another leader brings the deletion to its end.
    scene.streams().delete("yard", &DeleteParams::default()).await?;
    scene.release("yard").await?;
    let last = scene.last_call().await?;
    scene.delete_foreign("yard", &arn).await?;
    let looks = looks(proxy, "yard");
    let is_looked_at = async |what: &str, since: usize| {
        until(SOON, what, async || {
            let now = self::looks(proxy, "yard");
            Ok(if now > since { Look::Done(now) } else { Look::NotYet(format!("{now} looks")) })
        })
        .await
    };
    let looks = is_looked_at("the operator sees that the stream is gone", looks).await?;
    nothing_is_changed(scene, last, 1).await?;

    // Another of the same name, whose stream another leader has made.
    scene.apply("yard", &spec).await?;
    let tags = scene.ownership("yard").await?;
    let new = scene.make_foreign("yard", &tags).await?;
    ensure!(new != arn);
    is_looked_at("the operator sees the new stream", looks).await?;
    // Of two creations and one deletion all were somebody else's.
    nothing_is_changed(scene, last, 2).await?;
    let object = scene.streams().get("yard").await?;
    ensure!(
        object.status.is_none() && object.finalizers().is_empty(),
        "its successor was written: {object:?}"
    );
    ensure!(scene.found("yard").await?.arn == new);

    proxy.set_view(View::Flowing);
    ensure!(scene.arn("yard").await? == new, "the new object has not found its stream");
    Ok(())
}

/// The operator is deleting the object when it falls behind: its successor's stream is not deleted in its stead.
async fn old_object_with_deletion(scene: &Scene, proxy: &ApiProxy) -> Result<()> {
    let spec = json!({ "deletionPolicy": "Delete" });
    let arn = scene.active("gate", &spec).await?;
    let refused = json!({ "action": "error", "code": "NotAuthorizedException" });
    scene.fault("DeleteStream", "gate", &refused).await?;
    scene.streams().delete("gate", &DeleteParams::default()).await?;
    until(SOON, "the operator tries to delete the stream", async || {
        let tries = scene.calls("DeleteStream", "gate").await?.len();
        Ok(if tries > 0 { Look::Done(()) } else { Look::NotYet("no try".to_owned()) })
    })
    .await?;
    let operator = scene.world.operator()?.pid();
    signal_process(operator, "STOP");
    proxy.set_view(View::Lost);
    scene.release("gate").await?;
    scene.world.emulator.clear_faults().await?;
    scene.delete_foreign("gate", &arn).await?;
    scene.apply("gate", &spec).await?;
    let tags = scene.ownership("gate").await?;
    let new = scene.make_foreign("gate", &tags).await?;
    let (last, before) = (scene.last_call().await?, looks(proxy, "gate"));
    signal_process(operator, "CONT");
    until(SOON, "the operator tries again", async || {
        let now = looks(proxy, "gate");
        Ok(if now > before { Look::Done(()) } else { Look::NotYet(format!("{now} looks")) })
    })
    .await?;
    nothing_is_changed(scene, last, 0).await?;
    ensure!(scene.found("gate").await?.arn == new);

    proxy.set_view(View::Flowing);
    proxy.compact();
    proxy.cut_watches();
    ensure!(scene.arn("gate").await? == new, "the new object has not found its stream");
    Ok(())
}

/// How often the object was read anew or written by the operator: it then goes by more than its cache.
fn looks(proxy: &ApiProxy, name: &str) -> usize {
    let ends = [format!("/videostreams/{name}"), format!("/videostreams/{name}/status")];
    proxy.passed().iter().filter(|passed| ends.iter().any(|end| passed.path.ends_with(end))).count()
}

/// Since a call nothing was sent that changes anything, but for so many calls that were the test's.
async fn nothing_is_changed(scene: &Scene, since: u64, by_the_test: usize) -> Result<()> {
    never(Duration::from_secs(4), "a change on the word of an old cache", async || {
        let changes = scene.changes_since(since).await?;
        Ok((changes.len() != by_the_test).then(|| format!("{changes:?}")))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn scenario_10_watch_loss_and_missed_events() -> Result<()> {
    let (scene, proxy) = through_a_proxy("s10").await?;
    let day = json!({ "retentionHours": 24, "deletionPolicy": "Delete" });
    let names: Vec<String> = (0..12).map(|number| format!("yard-{number}")).collect();
    for name in &names {
        scene.apply(name, &day).await?;
    }
    for name in &names {
        scene.arn(name).await?;
    }

    // Edits, a deletion and a creation are missed, and later events pass.
    proxy.set_view(View::Lost);
    for name in &names[..6] {
        scene.edit(name, &json!({ "retentionHours": 48 })).await?;
    }
    scene.streams().delete("yard-6", &DeleteParams::default()).await?;
    scene.apply("late", &day).await?;
    never(Duration::from_secs(2), "what was missed is known", async || {
        let hours = scene.found("yard-0").await?.retention_hours;
        Ok((hours != 24).then(|| format!("{hours} hours")))
    })
    .await?;
    proxy.set_view(View::Flowing);
    scene.edit("yard-7", &json!({ "retentionHours": 72 })).await?;
    scene.retention_is("yard-7", 72).await?;

    // Its watches break, what it asks for is compacted; it lists anew while edits go on.
    proxy.compact();
    proxy.cut_watches();
    for name in &names[8..] {
        scene.edit(name, &json!({ "retentionHours": 96 })).await?;
        proxy.cut_watches();
    }
    for (name, hours) in
        names[..6].iter().map(|name| (name, 48)).chain(names[8..].iter().map(|name| (name, 96)))
    {
        has_condition(&scene.streams(), name, IN_SYNC).await?;
        scene.retention_is(name, hours).await?;
        ensure!(scene.done("UpdateDataRetention", name).await? == 1, "{name} was changed more than once");
    }
    is_gone(&scene.streams(), "yard-6").await?;
    ensure!(scene.world.emulator.find(&scene.kvs_name("yard-6")).await?.is_none(), "its stream is there");
    scene.arn("late").await?;
    ensure!(proxy.refused_watches() > 0, "no watch was refused");
    scene.world.operator()?.is_alive()?;
    scene.finish().await
}
