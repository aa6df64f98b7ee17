//! Every value of the tables is put to the real server, and every rule of the definitions has refused one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::response::StatusCause;
use kube::{Api, Client};
use serde_json::{Value, json};
use streamfleet_crds::{Camera, StreamClass, VideoStream};
use streamfleet_tests::e2e::world::claim_cluster;
use streamfleet_tests::steps::Steps;

use crate::constraints::{Constraint, constraints, place, schema};
use crate::values::{Kind, Refused, accepted, refused, written};

/// The least number of refused values that the tables have to hold.
const REFUSED_LEAST: usize = 80;

/// The server, and where objects are put to it.
struct Server {
    client: Client,
    namespace: String,
}

impl Server {
    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = match kind {
            Kind::VideoStream => ApiResource::erase::<VideoStream>(&()),
            Kind::StreamClass => ApiResource::erase::<StreamClass>(&()),
            Kind::Camera => ApiResource::erase::<Camera>(&()),
        };
        match kind {
            Kind::StreamClass => Api::all_with(self.client.clone(), &resource),
            Kind::VideoStream | Kind::Camera => {
                Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
            }
        }
    }

    /// An object with the name of the namespace, so that classes of other tests are others.
    fn object(&self, kind: Kind, spec: &Value) -> Result<DynamicObject> {
        let mut object = json!({
            "apiVersion": "streamfleet.io/v1alpha1",
            "kind": kind.name(),
            "metadata": { "name": self.namespace, "labels": { "streamfleet.io/test": "true" } },
        });
        // A table that takes the spec away has it null.
        if !spec.is_null() {
            object["spec"] = spec.clone();
        }
        Ok(serde_json::from_value(object)?)
    }

    /// What the server says about a new object; nothing is made.
    async fn create(&self, kind: Kind, spec: &Value) -> Result<DynamicObject, kube::Error> {
        let object = self.object(kind, spec).map_err(|error| kube::Error::Service(error.into()))?;
        self.api(kind).create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await
    }

    /// What the server says about a change of an object, which is made for that and deleted again.
    async fn change(
        &self,
        kind: Kind,
        before: &Value,
        after: &Value,
    ) -> Result<Result<DynamicObject, kube::Error>> {
        let api = self.api(kind);
        let made = api.create(&PostParams::default(), &self.object(kind, before)?).await?;
        let mut changed = self.object(kind, after)?;
        changed.metadata.resource_version = made.metadata.resource_version;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let answer = api.replace(&self.namespace, &dry, &changed).await;
        api.delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(answer)
    }

    /// The causes of a refusal that are those which the table expects.
    async fn refuses(&self, case: &Refused) -> Result<Vec<StatusCause>> {
        let answer = match &case.before {
            Some(before) => self.change(case.kind, before, &case.spec).await?,
            None => self.create(case.kind, &case.spec).await,
        };
        let status = match answer {
            Ok(_) => bail!("it was accepted"),
            Err(kube::Error::Api(status)) if status.code == 422 => status,
            Err(error) => return Err(error).context("the server did not look at the values"),
        };
        if let Some(secret) = case.spec.pointer("/aws/externalID").and_then(Value::as_str) {
            // One letter stands in any message.
            let shows = secret.len() > 1 && status.message.contains(secret);
            ensure!(!shows, "the external ID stands in the message: {}", status.message);
        }
        let causes = status.details.map(|details| details.causes).unwrap_or_default();
        let expected = |cause: &StatusCause| cause.field == case.field && cause.message.contains(&case.says);
        let (meant, others): (Vec<_>, Vec<_>) = causes.into_iter().partition(expected);
        ensure!(!meant.is_empty(), "the answer is another: {others:#?}");
        Ok(meant)
    }
}

/// The constraints for which no value was refused.
fn without_a_case(seen: &[(Kind, String, StatusCause)]) -> Result<BTreeSet<Constraint>> {
    let mut left = BTreeSet::new();
    for kind in Kind::ALL {
        left.extend(constraints(kind)?);
    }
    left.retain(|one| {
        !seen.iter().any(|(kind, place, cause)| *kind == one.kind && one.is_meant(place, cause))
    });
    Ok(left)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster"]
async fn every_rule_bound_and_enum_refuses_with_its_message() -> Result<()> {
    // No operator may put its finalizer on what is made here: nobody would take it off.
    let (cluster, client, _lock) = claim_cluster().await?;
    let namespace = cluster.namespace("e2e-every-rule").await?;
    let server = Server { client, namespace: namespace.name.clone() };
    let (mut wrong, mut seen) = (Vec::new(), Vec::new());
    let tried = refused();
    let schemas: BTreeMap<Kind, Value> =
        Kind::ALL.into_iter().map(|kind| Ok((kind, schema(kind)?))).collect::<Result<_>>()?;
    for case in &tried {
        match server.refuses(case).await {
            Ok(causes) => {
                let schema = &schemas[&case.kind];
                seen.extend(causes.into_iter().map(|cause| (case.kind, place(schema, &cause.field), cause)));
            }
            Err(error) => {
                let Refused { kind, field, says, .. } = case;
                wrong.push(format!("{} {field} ({says}): {error:#}\n  {}", kind.name(), case.spec));
            }
        }
    }
    let mut edges = accepted();
    edges.extend(written(&["crds/tests/samples/valid", "examples", "examples/aws", "examples/streams"])?);
    for (kind, spec) in &edges {
        if let Err(error) = server.create(*kind, spec).await {
            wrong.push(format!("{} was refused: {error}\n  {spec}", kind.name()));
        }
    }
    let left = without_a_case(&seen)?;
    wrong.extend(left.iter().map(|one| format!("nothing is refused by this: {one:?}")));
    ensure!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(tried.len() >= REFUSED_LEAST, "only {} values", tried.len());
    let all: usize = Kind::ALL.map(|kind| constraints(kind).map_or(0, |found| found.len())).iter().sum();
    Steps::start().say(format!(
        "bad input: {} values refused, each with its message, by {all} rules, bounds and enums (none left out); {} at the \
         edge accepted",
        tried.len(),
        edges.len()
    ));
    namespace.delete().await
}

#[test]
fn a_constraint_without_a_case_is_found() {
    let mut expected = BTreeSet::new();
    for kind in Kind::ALL {
        expected.extend(constraints(kind).unwrap());
    }
    assert_eq!(without_a_case(&[]).unwrap(), expected);
    let cause = StatusCause {
        reason: "FieldValueNotSupported".to_owned(),
        message: "Unsupported value".to_owned(),
        field: "spec.storageTier".to_owned(),
    };
    let left = without_a_case(&[(Kind::VideoStream, "spec.storageTier".to_owned(), cause)]).unwrap();
    assert_eq!(left.len(), expected.len() - 1);
}
