//! The operator itself: its own AWS credentials, and one of it at a time.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Api;
use serde_json::json;
use streamfleet_crds::{ConditionType, StreamClass};
use streamfleet_tests::cluster::Cluster;
use streamfleet_tests::e2e::objects::has_condition;
use streamfleet_tests::e2e::places::Search;
use streamfleet_tests::e2e::{OperatorLock, Planted, World};

use crate::explained::says_all;
use crate::secrets::{WRONG_AWS_SECRET, lines};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn operator_whose_aws_credentials_are_refused_says_so_on_the_class() -> Result<()> {
    let mut world = World::without_operator("refused-op").await?;
    let keys = world.emulator.keys.with_secret(WRONG_AWS_SECRET);
    world.use_keys(&keys)?;
    world.start_operator().await?;
    let class = world.class("good", &json!({})).await?;
    let api: Api<StreamClass> = Api::all(world.client.clone());
    for type_ in [ConditionType::CallerVerified, ConditionType::Ready] {
        let (_, message) = has_condition(&api, &class, (type_, "False", "CredentialsRefused")).await?;
        says_all(&class, &message, &["credentials"])?;
    }
    let mut planted = Planted::default();
    planted.add("wrong AWS secret key", WRONG_AWS_SECRET);
    planted.add("AWS session token", &keys.token);
    let mut search = Search::default();
    search.files(&planted, &[world.operator_log(), &world.emulator_log()])?;
    search.classes(&planted, &world.cluster).await?;
    ensure!(search.hits.is_empty(), "secrets show:\n{}", lines(&search.hits));

    let keys = world.emulator.keys.clone();
    world.use_keys(&keys)?;
    has_condition(&api, &class, (ConditionType::Ready, "True", "CallerVerified")).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn operator_lock_is_held_by_one_at_a_time() -> Result<()> {
    let cluster = Cluster::from_env()?;
    let lock = OperatorLock::acquire(&cluster).await?;
    let second = OperatorLock::acquire(&cluster);
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    ensure!(early.is_err(), "two tests hold the lock");
    drop(lock);
    second.await.map(drop)
}
