//! Streams that are broken, each for a reason of its own: the line of `kubectl get vstream` has the reason and the next step, so has
//! `kubectl describe`, and once that is done the stream recovers, without a restart. What only AWS can know is among them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use streamfleet_crds::{ConditionType, StreamClass, ownership_tags};
use streamfleet_tests::e2e::emulator::ACCOUNT;
use streamfleet_tests::e2e::http;
use streamfleet_tests::e2e::kubectl::cell;
use streamfleet_tests::e2e::manifests::stream;
use streamfleet_tests::e2e::objects::has_condition;
use streamfleet_tests::e2e::scene::ACTIVE;
use streamfleet_tests::e2e::{Scene, World};

use crate::key;
use crate::printed::describe_says;

/// A stream, the reason in its line, and what its message says is to be done, in the line and in `kubectl describe`.
struct Broken {
    name: &'static str,
    reason: &'static str,
    says: &'static [&'static str],
}

/// A name cannot be changed.
const ANOTHER_NAME: &str = "delete this object and make it again with another spec.streamName";

const BROKEN: &[Broken] = &[
    Broken {
        name: "classless",
        reason: "StreamClassNotFound",
        says: &["make it, or delete this object and make it again with another spec.streamClassName"],
    },
    Broken {
        name: "roleless",
        reason: "StreamClassNotReady",
        says: &["is not Ready (RoleRefused)", "kubectl describe streamclass"],
    },
    Broken {
        name: "uninvited",
        reason: "NamespaceNotAllowed",
        says: &["does not admit namespace", "set the class's spec.allowedNamespaces.from"],
    },
    Broken {
        name: "renamed",
        reason: "StreamNameNotAllowed",
        says: &[
            "only the generated name",
            "delete this object and make it again without spec.streamName",
            "widen the class's spec.limits.streamNames",
        ],
    },
    Broken {
        name: "taken",
        reason: "OwnedByOther",
        says: &["shop/till of installation another-installation", "have its owner give it up", ANOTHER_NAME],
    },
    Broken { name: "twin", reason: "OwnedByOther", says: &["first", ANOTHER_NAME] },
    Broken {
        name: "unowned",
        reason: "AdoptionRefused",
        says: &["set spec.adoptionPolicy to IfUnowned", ANOTHER_NAME],
    },
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
        says: &["retentionHours", "set spec.driftPolicy to Correct"],
    },
];

/// The role that one class names, and nobody may assume at first.
const ROLE: &str = "fleet";
/// A stream with which nothing is wrong, for comparison.
const WELL: &str = "well";

/// The act: they are broken, told from their lines, mended as these say, and well.
pub async fn are_told_from_their_lines_and_recover(scene: &Scene<&World>) -> Result<()> {
    let no_alarms = json!({ "perStream": [] });
    let role = json!({ "roleARN": format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}") });
    set_roles(scene.world, &json!([])).await?;
    for (suffix, more) in [
        ("role", json!({ "alarms": no_alarms, "aws": role })),
        ("closed", json!({ "alarms": no_alarms, "allowedNamespaces": { "from": "None" } })),
        ("strict", json!({ "alarms": no_alarms, "limits": { "streamNames": "Default" } })),
    ] {
        scene.world.class(suffix, &more).await?;
    }
    break_what_was_well(scene).await?;
    make_broken(scene).await?;
    key::is_named_that_nobody_has(scene).await?;
    for Broken { name, reason, .. } in BROKEN {
        has_condition(&scene.streams(), name, (ConditionType::Ready, "False", reason)).await?;
    }
    told_from_their_lines(scene).await?;
    let keyless = key::is_missed(scene).await?;

    mend(scene).await?;
    for Broken { name, .. } in BROKEN {
        has_condition(&scene.streams(), name, ACTIVE).await?;
    }
    let table = scene.table(&[]).await?;
    for Broken { name, .. } in BROKEN {
        ensure!(cell(&table, name, "READY")? == "True", "{name} is not well:\n{table}");
    }
    scene.steps.done(format!("{} broken streams were mended as they said", BROKEN.len()));
    key::is_found(scene, &keyless).await?;
    Ok(())
}

async fn told_from_their_lines(scene: &Scene<&World>) -> Result<()> {
    let table = scene.table(&[]).await?;
    scene.steps.text(format!(
        "{} broken streams:\n$ kubectl get vstream\n{}",
        BROKEN.len(),
        table.trim_end()
    ));
    for Broken { name, reason, says } in BROKEN {
        let (ready, message) = (cell(&table, name, "READY")?, cell(&table, name, "MESSAGE")?);
        ensure!(ready == "False", "READY of {name} is {ready:?}:\n{table}");
        ensure!(cell(&table, name, "REASON")? == *reason, "{name} has another reason:\n{table}");
        for text in *says {
            ensure!(message.contains(text), "the line of {name} does not say {text:?}, but {message:?}");
        }
        // The same words under the condition.
        describe_says(scene, name, &["Conditions:", &message, *reason]).await?;
    }
    let drifted = cell(&table, "drifted", "DRIFT")?;
    ensure!(drifted == "retentionHours", "the drift is not in the line: {drifted:?}");
    ensure!(cell(&table, WELL, "READY")? == "True", "{WELL} is not well:\n{table}");
    let described = scene.described("shortened").await?;
    scene.steps.text(format!("$ kubectl describe vstream shortened\n{}", described.trim_end()));
    Ok(())
}

/// Streams that are well at first, and then are not.
async fn break_what_was_well(scene: &Scene<&World>) -> Result<()> {
    let two_days = json!({ "retentionHours": 48 });
    for name in ["replaced", "denied", "shortened"] {
        scene.apply(name, &two_days).await?;
    }
    scene.apply("drifted", &json!({ "retentionHours": 48, "driftPolicy": "Report" })).await?;
    scene.apply("first", &json!({ "deletionPolicy": "Delete" })).await?;
    scene.apply(WELL, &json!({})).await?;
    for name in ["replaced", "denied", "shortened", "drifted", "first", WELL] {
        has_condition(&scene.streams(), name, ACTIVE).await?;
    }
    fail(scene, "denied", "UpdateDataRetention", "NotAuthorizedException").await?;
    scene.edit("denied", &json!({ "retentionHours": 72 })).await?;
    scene.edit("shortened", &json!({ "retentionHours": 24 })).await?;
    scene.set_retention_foreign("drifted", 24).await?;
    scene.check("drifted").await?;
    // Nothing is done about it, nor is its record given up, while it is gone.
    scene.edit("replaced", &json!({ "suspend": true })).await?;
    has_condition(&scene.streams(), "replaced", (ConditionType::Ready, "True", "Suspended")).await?;
    delete_foreign(scene, "replaced").await?;
    scene.make_foreign("replaced", &BTreeMap::new()).await?;
    scene.edit("replaced", &json!({ "suspend": false })).await?;
    scene.check("replaced").await
}

/// Streams that are never made.
async fn make_broken(scene: &Scene<&World>) -> Result<()> {
    let tags = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let another = [
        (ownership_tags::INSTALLATION, "another-installation"),
        (ownership_tags::NAMESPACE, "shop"),
        (ownership_tags::NAME, "till"),
    ];
    scene.make_foreign("taken", &tags(&another)).await?;
    scene.make_foreign("unowned", &tags(&[("team", "others")])).await?;
    // The service has no error of its own for keys: what it cannot read as one is an argument that is not valid.
    let malformed = json!({
        "action": "error", "code": "InvalidArgumentException", "message": "The KMS key is not valid.",
    });
    scene.fault("CreateStream", "locked", &malformed).await?;
    fail(scene, "crowded", "CreateStream", "AccountStreamLimitExceededException").await?;
    for name in ["taken", "unowned", "crowded"] {
        scene.apply(name, &json!({})).await?;
    }
    scene.apply("locked", &json!({ "kmsKeyID": "alias/cameras" })).await?;
    scene.apply("twin", &json!({ "streamName": scene.kvs_name("first") })).await?;
    let elsewhere = json!({ "streamName": "elsewhere" });
    let others = [
        stream("renamed", &scene.world.class_name("strict"), &elsewhere),
        stream("classless", &scene.world.class_name("late"), &json!({})),
        stream("roleless", &scene.world.class_name("role"), &json!({})),
        stream("uninvited", &scene.world.class_name("closed"), &json!({})),
    ];
    scene.world.apply(&scene.namespace, &others).await?.succeeded().map(drop)
}

/// What the messages say is to be done, is done.
async fn mend(scene: &Scene<&World>) -> Result<()> {
    let role = format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}");
    set_roles(scene.world, &json!([{ "arn": role }])).await?;
    edit_class(scene.world, "closed", &json!({ "allowedNamespaces": { "from": "All" } })).await?;
    edit_class(scene.world, "strict", &json!({ "limits": { "streamNames": "Any" } })).await?;
    // The class that is missing.
    scene.world.class("late", &json!({ "alarms": { "perStream": [] } })).await?;
    scene.world.emulator.clear_faults().await?;
    delete_foreign(scene, "taken").await?;
    delete_foreign(scene, "replaced").await?;
    scene.edit("unowned", &json!({ "adoptionPolicy": "IfUnowned" })).await?;
    scene.edit("shortened", &json!({ "retentionDecreasePolicy": "Allow" })).await?;
    scene.edit("drifted", &json!({ "driftPolicy": "Correct" })).await?;
    scene.streams().delete("first", &DeleteParams::default()).await?;
    Ok(())
}

/// A call for the stream fails with this code until the faults are cleared.
async fn fail(scene: &Scene<&World>, name: &str, operation: &str, code: &str) -> Result<()> {
    scene.fault(operation, name, &json!({ "action": "error", "code": code })).await
}

/// Somebody else deletes the stream that is there.
async fn delete_foreign(scene: &Scene<&World>, name: &str) -> Result<()> {
    let arn = scene.found(name).await?.arn;
    scene.delete_foreign(name, &arn).await
}

/// Changes the spec of a class.
async fn edit_class(world: &World, suffix: &str, spec: &Value) -> Result<()> {
    let classes: Api<StreamClass> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({ "spec": spec }));
    classes.patch(&world.class_name(suffix), &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The roles that may be assumed, and no others.
async fn set_roles(world: &World, roles: &Value) -> Result<()> {
    let body = json!({ "roles": roles, "others": false }).to_string();
    http::request(world.emulator.hooks(), "POST", "/_emulator/roles", &body).await.map(drop)
}
