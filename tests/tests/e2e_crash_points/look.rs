//! What there is: the object, streams and alarms, under the names that all of it has in process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use streamfleet_tests::e2e::emulator::REGION;
use streamfleet_tests::e2e::http;

use crate::actions::NAMESPACE;
use crate::asked::NAMES;
use crate::world::INSTALLATION;

/// What things are called here.
#[derive(Debug, Clone)]
pub struct Names {
    pub installation: String,
    pub namespace: String,
    pub class: String,
    /// The object's.
    pub name: String,
}

impl Names {
    /// The same with the names of in process.
    pub fn plain(&self, value: &Value) -> Value {
        let text = value.to_string();
        let text = text.replace(&self.class, "standard").replace(&self.namespace, NAMESPACE);
        let text = text.replace(&self.installation, INSTALLATION).replace(&self.name, "door");
        serde_json::from_str(&text).unwrap()
    }

    /// The other way round: a text of in process with the names of here.
    pub fn ours(&self, text: &str) -> String {
        match text {
            INSTALLATION => self.installation.clone(),
            NAMESPACE => self.namespace.clone(),
            "door" => self.name.clone(),
            other => other.to_owned(),
        }
    }

    /// The name of the stream.
    pub fn stream(&self) -> String {
        format!("t-{}.{}", self.namespace, self.name)
    }
}

/// The object and the streams at a moment, but for those of earlier runs.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    pub object: Option<Value>,
    pub streams: Vec<Value>,
}

/// Looks, past the gate.
#[derive(Clone)]
pub struct Eyes {
    client: Client,
    emulator: SocketAddr,
    names: Arc<Mutex<Names>>,
}

impl Eyes {
    pub fn new(client: Client, emulator: SocketAddr, names: Names) -> Self {
        Self { client, emulator, names: Arc::new(Mutex::new(names)) }
    }

    pub fn names(&self) -> Names {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The name of the object of this run.
    pub fn name(&self) -> String {
        self.names().name
    }

    /// Another run begins, with an object of this number.
    pub fn turn_to(&self, number: usize) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).name = format!("{NAMES}{number:02}");
    }

    /// The object as it is, with the names of here.
    async fn object(&self) -> Result<Option<Value>> {
        let Names { namespace, name, .. } = self.names();
        self.get(&format!("namespaces/{namespace}/videostreams/{name}")).await
    }

    /// What is at a path of our group; nothing where there is nothing.
    async fn get(&self, path: &str) -> Result<Option<Value>> {
        let path = format!("/apis/streamfleet.io/v1alpha1/{path}");
        let answer = self.client.send(::http::Request::get(&path).body(Body::empty())?).await?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(Some(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?))
    }

    /// How many objects the class says that it has, and how many it has. The operator writes that at its leisure.
    pub async fn counts(&self) -> Result<(Option<u64>, usize)> {
        let Names { namespace, class, .. } = self.names();
        let class = self.get(&format!("streamclasses/{class}")).await?.unwrap_or_default();
        let objects = self.get(&format!("namespaces/{namespace}/videostreams")).await?.unwrap_or_default();
        Ok((class["status"]["streams"].as_u64(), objects["items"].as_array().map_or(0, Vec::len)))
    }

    /// The streams as the emulator has them, with the names of here.
    pub async fn streams(&self) -> Result<Vec<Value>> {
        let ours = self.names().stream();
        let all: Vec<Value> = serde_json::from_slice(&http::get(self.emulator, "/_emulator/streams").await?)?;
        let is_of_others = |stream: &Value| {
            let name = stream["name"].as_str().unwrap_or_default();
            name != ours && name.contains(&format!(".{NAMES}"))
        };
        Ok(all.into_iter().filter(|stream| !is_of_others(stream)).collect())
    }

    /// Both, with the names of in process.
    pub async fn moment(&self) -> Result<Moment> {
        let (names, object, streams) = (self.names(), self.object().await?, self.streams().await?);
        let plain = |value: &Value| names.plain(value);
        Ok(Moment { object: object.as_ref().map(plain), streams: streams.iter().map(plain).collect() })
    }

    /// The alarms of the stream, with the names of in process.
    pub async fn alarms(&self) -> Result<Vec<Value>> {
        let input = json!({ "MaxRecords": 100, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"] });
        let calls = json!([{ "operation": "DescribeAlarms", "input": input }]);
        let body = json!({ "region": REGION, "calls": calls }).to_string();
        let answer = http::request(self.emulator, "POST", "/_emulator/cloudwatch", &body).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let found =
            answer["answers"][0]["answer"]["MetricAlarms"].as_array().context("there is an answer")?;
        let (names, stream) = (self.names(), self.names().stream());
        let is_ours = |alarm: &&Value| alarm["Dimensions"][0]["Value"] == *stream;
        Ok(found.iter().filter(is_ours).map(|alarm| names.plain(alarm)).collect())
    }
}
