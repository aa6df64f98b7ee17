//! Streams that are broken, each for a reason of its own: `kubectl get vstream` has the reason in the line, `kubectl describe` the next
//! step, and once that is done the stream recovers, without a restart. What only AWS can know is among them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_kinesisvideo::types::UpdateDataRetentionOperation;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use streamfleet_crds::{CHECK_REQUESTED, ConditionType, StreamClass, VideoStream, ownership_tags};
use streamfleet_tests::cluster::wait::{Look, until};
use streamfleet_tests::e2e::World;
use streamfleet_tests::e2e::emulator::ACCOUNT;
use streamfleet_tests::e2e::http;
use streamfleet_tests::e2e::kubectl::kubectl;
use streamfleet_tests::e2e::manifests::stream;
use streamfleet_tests::e2e::objects::{Expected, has_condition};
use streamfleet_tests::steps::Steps;

const ACTIVE: Expected = (ConditionType::Ready, "True", "Active");

/// A stream, the reason in its line, and what `kubectl describe` says is to be done.
struct Broken {
    name: &'static str,
    reason: &'static str,
    says: &'static [&'static str],
}

const BROKEN: &[Broken] = &[
    Broken {
        name: "classless",
        reason: "StreamClassNotFound",
        says: &["make it, or name another in spec.streamClassName"],
    },
    Broken {
        name: "roleless",
        reason: "StreamClassNotReady",
        says: &["is not Ready: its conditions say why"],
    },
    Broken {
        name: "uninvited",
        reason: "NamespaceNotAllowed",
        says: &["does not admit namespace", "spec.allowedNamespaces"],
    },
    Broken { name: "renamed", reason: "StreamNameNotAllowed", says: &["spec.limits.streamNames"] },
    Broken {
        name: "taken",
        reason: "OwnedByOther",
        says: &["another-installation", "choose another spec.streamName"],
    },
    Broken { name: "twin", reason: "OwnedByOther", says: &["first", "choose another spec.streamName"] },
    Broken { name: "unowned", reason: "AdoptionRefused", says: &["set spec.adoptionPolicy to IfUnowned"] },
    Broken { name: "replaced", reason: "IdentityChanged", says: &["delete this object and apply it again"] },
    Broken {
        name: "locked",
        reason: "KmsKeyUnusable",
        says: &["enable it, or let the operator use it in its key policy"],
    },
    Broken { name: "crowded", reason: "AwsQuotaExceeded", says: &["have it raised, or delete streams"] },
    Broken {
        name: "denied",
        reason: "AwsAccessDenied",
        says: &["UpdateDataRetention", "policy of the operator's role"],
    },
    Broken {
        name: "shortened",
        reason: "ChangeBlocked",
        says: &["set spec.retentionDecreasePolicy to Allow"],
    },
    Broken {
        name: "drifted",
        reason: "DriftReported",
        says: &["retentionHours", "set driftPolicy to Correct"],
    },
];

/// The role that one class names, and nobody may assume at first.
const ROLE: &str = "fleet";

/// Where the streams are.
struct Site<'a> {
    world: &'a World,
    namespace: String,
    class: String,
}

impl Site<'_> {
    fn streams(&self) -> Api<VideoStream> {
        self.world.api(&self.namespace)
    }

    /// The name in KVS of a stream that has the default one.
    fn kvs_name(&self, name: &str) -> String {
        format!("{}.{name}", self.namespace)
    }

    async fn apply(&self, name: &str, class: &str, more: &Value) -> Result<()> {
        self.world.apply(&self.namespace, &[stream(name, class, more)]).await?.succeeded().map(drop)
    }

    /// Changes the spec of a stream.
    async fn edit(&self, name: &str, spec: &Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.streams().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Changes the spec of a class.
    async fn edit_class(&self, suffix: &str, spec: &Value) -> Result<()> {
        let classes: Api<StreamClass> = Api::all(self.world.client.clone());
        let name = format!("{}-{suffix}", self.world.id);
        classes.patch(&name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await?;
        Ok(())
    }

    /// Asks for a look at the stream now.
    async fn check(&self, name: &str) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { CHECK_REQUESTED: "now" } } }));
        self.streams().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Somebody else makes a stream.
    async fn make_foreign(&self, name: &str, tags: &[(&str, &str)]) -> Result<()> {
        let mut call = self.world.emulator.client().create_stream().stream_name(self.kvs_name(name));
        for (key, value) in tags {
            call = call.tags(*key, *value);
        }
        call.send().await?;
        Ok(())
    }

    /// Somebody else deletes a stream; it is gone when this returns.
    async fn delete_foreign(&self, name: &str) -> Result<()> {
        let name = self.kvs_name(name);
        let found = self.world.emulator.find(&name).await?.with_context(|| format!("there is no {name}"))?;
        self.world.emulator.client().delete_stream().stream_arn(&found.arn).send().await?;
        until(Duration::from_secs(10), "the stream is deleted", async || {
            let now = self.world.emulator.find(&name).await?;
            // Made anew by the operator is gone, too.
            Ok(match now.filter(|now| now.arn == found.arn) {
                None => Look::Done(()),
                Some(_) => Look::NotYet("still there".to_owned()),
            })
        })
        .await
    }

    /// A call for the stream fails with this code until the faults are cleared.
    async fn fail(&self, name: &str, operation: &str, code: &str) -> Result<()> {
        let order =
            json!({ "operation": operation, "stream": self.kvs_name(name), "action": "error", "code": code });
        self.world.emulator.fault(&order).await
    }

    /// Streams that are well at first, and then are not.
    async fn break_what_was_well(&self) -> Result<()> {
        let two_days = json!({ "retentionHours": 48 });
        for name in ["replaced", "denied", "shortened"] {
            self.apply(name, &self.class, &two_days).await?;
        }
        self.apply("drifted", &self.class, &json!({ "retentionHours": 48, "driftPolicy": "Report" })).await?;
        self.apply("first", &self.class, &json!({ "deletionPolicy": "Delete" })).await?;
        for name in ["replaced", "denied", "shortened", "drifted", "first"] {
            has_condition(&self.streams(), name, ACTIVE).await?;
        }
        self.fail("denied", "UpdateDataRetention", "NotAuthorizedException").await?;
        self.edit("denied", &json!({ "retentionHours": 72 })).await?;
        self.edit("shortened", &json!({ "retentionHours": 24 })).await?;
        self.shorten_behind_our_back("drifted").await?;
        self.check("drifted").await?;
        self.delete_foreign("replaced").await?;
        self.make_foreign("replaced", &[]).await?;
        self.check("replaced").await
    }

    async fn shorten_behind_our_back(&self, name: &str) -> Result<()> {
        let client = self.world.emulator.client();
        let name = self.kvs_name(name);
        let described = client.describe_stream().stream_name(&name).send().await?;
        let version =
            described.stream_info.and_then(|info| info.version).context("a stream has a version")?;
        let operation = UpdateDataRetentionOperation::DecreaseDataRetention;
        let call = client.update_data_retention().stream_name(&name).current_version(version);
        call.operation(operation).data_retention_change_in_hours(24).send().await?;
        Ok(())
    }

    /// Streams that are never made.
    async fn make_broken(&self) -> Result<()> {
        let class = |suffix: &str| format!("{}-{suffix}", self.world.id);
        self.make_foreign("taken", &[(ownership_tags::INSTALLATION, "another-installation")]).await?;
        self.make_foreign("unowned", &[("team", "others")]).await?;
        self.fail("locked", "CreateStream", "KMSDisabledException").await?;
        self.fail("crowded", "CreateStream", "AccountStreamLimitExceededException").await?;
        for name in ["taken", "unowned", "crowded"] {
            self.apply(name, &self.class, &json!({})).await?;
        }
        self.apply("locked", &self.class, &json!({ "kmsKeyID": "alias/cameras" })).await?;
        self.apply("twin", &self.class, &json!({ "streamName": self.kvs_name("first") })).await?;
        self.apply("renamed", &class("strict"), &json!({ "streamName": "elsewhere" })).await?;
        self.apply("classless", &class("late"), &json!({})).await?;
        self.apply("roleless", &class("role"), &json!({})).await?;
        self.apply("uninvited", &class("closed"), &json!({})).await
    }

    /// What the messages say is to be done, is done.
    async fn mend(&self) -> Result<()> {
        set_roles(self.world, &json!([{ "arn": format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}") }])).await?;
        self.edit_class("closed", &json!({ "allowedNamespaces": { "from": "All" } })).await?;
        self.edit_class("strict", &json!({ "limits": { "streamNames": "Any" } })).await?;
        self.world.emulator.clear_faults().await?;
        self.delete_foreign("taken").await?;
        self.delete_foreign("replaced").await?;
        self.edit("unowned", &json!({ "adoptionPolicy": "IfUnowned" })).await?;
        self.edit("shortened", &json!({ "retentionDecreasePolicy": "Allow" })).await?;
        self.edit("drifted", &json!({ "driftPolicy": "Correct" })).await?;
        self.streams().delete("first", &DeleteParams::default()).await?;
        Ok(())
    }

    /// The table as people see it.
    async fn lines(&self, more: &[&str]) -> Result<String> {
        let args = [&["get", "vstream", "--namespace", &self.namespace], more].concat();
        kubectl(&self.world.cluster, &args, "").await?.succeeded()
    }
}

/// The roles that may be assumed, and no others.
async fn set_roles(world: &World, roles: &Value) -> Result<()> {
    let body = json!({ "roles": roles, "others": false }).to_string();
    http::request(world.emulator.hooks(), "POST", "/_emulator/roles", &body).await.map(drop)
}

/// The columns of the line of a stream.
fn columns<'a>(table: &'a str, name: &str) -> Result<Vec<&'a str>> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(name));
    Ok(line.with_context(|| format!("{name} has no line"))?.split_whitespace().collect())
}

async fn all_are_told_from_their_lines(site: &Site<'_>) -> Result<()> {
    let table = site.lines(&[]).await?;
    let wide = site.lines(&["--output", "wide"]).await?;
    for Broken { name, reason, says } in BROKEN {
        let line = columns(&table, name)?;
        ensure!(line[1..3] == ["False", *reason], "the line of {name} is {line:?}");
        let args = ["describe", "vstream", name, "--namespace", &site.namespace];
        let described = kubectl(&site.world.cluster, &args, "").await?.succeeded()?;
        for text in *says {
            ensure!(described.contains(text), "describe of {name} does not say {text:?}:\n{described}");
            let wide = wide.lines().find(|line| line.starts_with(&format!("{name} ")));
            ensure!(wide.is_some_and(|line| line.contains(text)), "{name}: {text:?} is not in {wide:?}");
        }
    }
    let drifted = columns(&table, "drifted")?;
    ensure!(drifted.contains(&"retentionHours"), "the drift is not in the line: {drifted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn broken_streams_are_told_from_their_lines_and_recover_without_a_restart() -> Result<()> {
    let mut world = World::start("broken").await?;
    let keys = world.emulator.keys.clone();
    let namespace = world.namespace(&keys).await?;
    let open = json!({ "alarms": { "perStream": [] },
        "limits": { "adoptionPolicies": ["Never", "IfOwned", "IfUnowned"] } });
    let class = world.class("open", &open).await?;
    let role = json!({ "alarms": { "perStream": [] },
        "aws": { "roleARN": format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}") } });
    let closed = json!({ "alarms": { "perStream": [] }, "allowedNamespaces": { "from": "None" } });
    let strict = json!({ "alarms": { "perStream": [] }, "limits": { "streamNames": "Default" } });
    let steps = Steps::start();
    set_roles(&world, &json!([])).await?;
    for (suffix, more) in [("role", &role), ("closed", &closed), ("strict", &strict)] {
        world.class(suffix, more).await?;
    }
    let site = Site { world: &world, namespace: namespace.clone(), class: class.clone() };
    site.break_what_was_well().await?;
    site.make_broken().await?;
    for Broken { name, reason, .. } in BROKEN {
        has_condition(&site.streams(), name, (ConditionType::Ready, "False", reason)).await?;
    }
    all_are_told_from_their_lines(&site).await?;
    steps.say(format!("{} broken streams:\n{}", BROKEN.len(), site.lines(&[]).await?));

    let operator = world.operator()?.pid();
    site.mend().await?;
    // The class that is missing.
    world.class("late", &json!({ "alarms": { "perStream": [] } })).await?;
    let site = Site { world: &world, namespace, class };
    for Broken { name, .. } in BROKEN {
        has_condition(&site.streams(), name, ACTIVE).await?;
        steps.say(format!("{name} is well again"));
    }
    ensure!(world.operator()?.pid() == operator, "the operator is another one");
    world.finish().await
}
