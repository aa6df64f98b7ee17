//! A fleet and what it lives in: the cluster, an emulator with the service's quotas, an operator, a namespace and a class.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use streamfleet_crds::{StreamClass, VideoStream};

use super::watched::Watched;
use crate::e2e::emulator::REGION;
use crate::e2e::{World, http, manifests};
use crate::steps::Steps;

/// The emulator: the service's quotas, as many streams and alarms as are measured, and alarms that are judged every 5 s, so that
/// they come to rest before the measuring.
const FLAGS: &[&str] =
    &["--quotas", "--streams-max", "20000", "--alarms-max", "20000", "--alarm-period", "5"];
/// Objects that are made at the same time.
const AT_A_TIME: usize = 16;
/// Each so-manieth stream reports what others change, and does not correct it.
pub const REPORTS_EVERY: usize = 50;
/// Alarms that are made by one order.
const ALARMS_AT_A_TIME: usize = 500;
/// All alarms have come to rest, and are told in status, within so long: 3 alarms a second of the smallest fleet, a sweep of the
/// alarms, and writing it down.
const SETTLED_MAX: Duration = Duration::from_mins(10);
/// So long nothing is written before it counts as steady: longer than any sweep but the slow one.
const QUIET: Duration = Duration::from_secs(125);

/// A fleet.
pub struct Site {
    /// Cluster, emulator and operator.
    pub world: World,
    /// The namespace of the objects.
    pub namespace: String,
    class: String,
    names: Vec<String>,
    seen: Watched,
}

impl Site {
    /// Makes everything but the operator's own work: it is not started yet.
    pub async fn new(streams: usize, template: Option<&Template>, steps: &Steps) -> Result<Self> {
        let mut world = World::with_emulator("fleet", FLAGS).await?;
        let keys = world.emulator.keys.clone();
        let namespace = world.namespace(&keys).await?;
        let more = json!({ "aws": { "endpoints": { "cloudWatch": world.emulator.url() } } });
        let class = world.class("fleet", &more).await?;
        let lease = namespace.clone();
        world.setup.set("STREAMFLEET_LEADER_ELECTION", "true");
        world.setup.set("STREAMFLEET_LEASE_NAMESPACE", lease);
        world.setup.set("STREAMFLEET_LOG", "info");
        let names: Vec<String> = (0..streams).map(|number| format!("s{number:05}")).collect();
        let seen = Watched::new(world.api(&namespace));
        let site = Self { world, namespace, class, names, seen };
        if let Some(template) = template {
            template.seed(&site).await?;
        }
        let indices: Vec<usize> = (0..streams).collect();
        futures::stream::iter(indices)
            .map(|number| {
                let policy = if number % REPORTS_EVERY == 0 { "Report" } else { "Correct" };
                let site = &site;
                async move { site.make(&site.names[number], &json!({ "driftPolicy": policy })).await }
            })
            .buffer_unordered(AT_A_TIME)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<Vec<()>>>()?;
        site.seen.count(Duration::from_mins(1), streams).await?;
        steps.done(format!("{streams} VideoStreams are applied"));
        Ok(site)
    }

    /// Makes an object; `more` is merged into its spec.
    pub async fn make(&self, name: &str, more: &Value) -> Result<()> {
        let object = manifests::stream(name, &self.class, more);
        let object: VideoStream = serde_json::from_value(object)?;
        self.api().create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Makes so many objects whose names begin so, one after the other, and says when each was there.
    pub async fn make_steadily(
        &self,
        prefix: &str,
        count: usize,
        every: Duration,
    ) -> Result<Vec<(String, Instant)>> {
        let mut made = Vec::new();
        for number in 0..count {
            let name = format!("{prefix}{number:03}");
            let next = tokio::time::Instant::now() + every;
            self.make(&name, &json!({})).await?;
            made.push((name, Instant::now()));
            tokio::time::sleep_until(next).await;
        }
        Ok(made)
    }

    /// Changes the spec of an object.
    pub async fn edit(&self, name: &str, spec: &Value) -> Result<()> {
        let patch = json!({ "spec": spec });
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Starts the operator; it need not be ready when this returns.
    pub async fn start_operator(&mut self) -> Result<()> {
        self.world.start_operator().await
    }

    /// The objects.
    pub fn api(&self) -> Api<VideoStream> {
        self.world.api(&self.namespace)
    }

    /// The version of their class, which each write changes.
    pub async fn class_version(&self) -> Result<Option<String>> {
        let classes: Api<StreamClass> = Api::all(self.world.cluster.client().await?);
        Ok(classes.get(&self.class).await?.resource_version())
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What the watch has shown.
    pub fn seen(&self) -> &Watched {
        &self.seen
    }

    /// The name of a stream in the service.
    pub fn stream_name(&self, name: &str) -> String {
        format!("{}.{name}", self.namespace)
    }

    /// Waits until all alarms have come to rest and are told, and nothing is written any more.
    pub async fn settle(&self) -> Result<()> {
        self.seen.until(SETTLED_MAX, "all alarms are told", |seen| seen.is_alarmed).await?;
        let quiet = async || {
            let quiet = self.seen.quiet();
            Ok(if quiet >= QUIET {
                crate::cluster::wait::Look::Done(())
            } else {
                crate::cluster::wait::Look::NotYet(format!("the last write was {} s ago", quiet.as_secs()))
            })
        };
        crate::cluster::wait::until(SETTLED_MAX, "nothing is written any more", quiet).await
    }

    /// Carries out calls of CloudWatch beyond all rates, as no client could.
    async fn alarms(&self, calls: &[Value]) -> Result<Vec<Value>> {
        let order = json!({ "region": REGION, "calls": calls });
        let hooks = self.world.emulator.hooks();
        let answer = http::request(hooks, "POST", "/_emulator/cloudwatch", &order.to_string()).await?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        let answers = answer["answers"].take();
        let answers: Vec<Value> = serde_json::from_value(answers)?;
        for answer in &answers {
            ensure!(answer.get("error").is_none(), "a call of CloudWatch was refused: {answer}");
        }
        Ok(answers)
    }

    /// Ends everything. The namespace goes by itself, the objects with the next fleet's beginning.
    pub fn leave(self) -> Result<()> {
        drop(self.seen);
        self.world.abandon()
    }
}

/// An alarm as the operator makes it, from which those of other streams are made.
#[derive(Debug, Clone)]
pub struct Template {
    alarm: String,
    installation: String,
    namespace: String,
    name: String,
}

impl Template {
    /// Takes the alarm that the operator has made for a stream.
    pub async fn learn(site: &Site) -> Result<Self> {
        let name = site.names.last().context("a fleet has streams")?.clone();
        let answers = site
            .alarms(&[json!({ "operation": "DescribeAlarms", "input": { "AlarmNamePrefix": "streamfleet/", "MaxRecords": 100 } })])
            .await?;
        let alarms = answers.first().and_then(|answer| answer["answer"]["MetricAlarms"].as_array().cloned());
        let alarms = alarms.context("DescribeAlarms answers with alarms")?;
        let of_it = |alarm: &&Value| alarm["AlarmName"].as_str().is_some_and(|text| text.contains(&name));
        let alarm = alarms.iter().find(of_it).with_context(|| format!("{name} has no alarm"))?;
        let wanted = [
            "AlarmName",
            "AlarmDescription",
            "ActionsEnabled",
            "OKActions",
            "AlarmActions",
            "InsufficientDataActions",
            "MetricName",
            "Namespace",
            "Statistic",
            "Dimensions",
            "Period",
            "EvaluationPeriods",
            "DatapointsToAlarm",
            "Threshold",
            "ComparisonOperator",
            "TreatMissingData",
        ];
        let members = wanted.iter().filter_map(|key| Some(((*key).to_owned(), alarm.get(*key)?.clone())));
        let alarm = Value::Object(members.collect()).to_string();
        let (installation, namespace) = (site.world.id.clone(), site.namespace.clone());
        Ok(Self { alarm, installation, namespace, name })
    }

    /// Makes the alarms of all streams of a site.
    async fn seed(&self, site: &Site) -> Result<()> {
        for names in site.names.chunks(ALARMS_AT_A_TIME) {
            let calls: Vec<Value> = names
                .iter()
                .map(|name| {
                    // The namespace first: its name holds the installation's.
                    let alarm = self
                        .alarm
                        .replace(&self.namespace, "\u{1}")
                        .replace(&self.installation, &site.world.id)
                        .replace('\u{1}', &site.namespace)
                        .replace(&self.name, name);
                    Ok(json!({ "operation": "PutMetricAlarm", "input": serde_json::from_str::<Value>(&alarm)? }))
                })
                .collect::<Result<_>>()?;
            site.alarms(&calls).await?;
        }
        Ok(())
    }
}
