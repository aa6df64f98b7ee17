//! The cluster's side: the connection, the objects, and the status of producer pods by way of the API server.

use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Request;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use streamfleet_contract::{ADMIN_PORT, STATUS_PATH, Status};
use streamfleet_crds::{Camera, StreamClass, VideoStream};

use crate::args::ClusterArgs;

/// How long one pod may take to answer.
const POD_TIMEOUT: Duration = Duration::from_secs(4);

/// How many objects one page of a list has.
const PAGE: u32 = 500;

/// A cluster, and the namespace that is meant where none is named.
pub struct Cluster {
    client: Client,
    namespace: String,
}

/// Where to look for cameras.
pub enum Scope {
    /// In every namespace.
    All,
    /// In the namespace of the arguments or of the context.
    Namespace,
}

impl Cluster {
    pub async fn connect(args: &ClusterArgs) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let config = match &args.kubeconfig {
            Some(path) => {
                let kubeconfig = Kubeconfig::read_from(path)
                    .with_context(|| format!("failed to read {}", path.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .context("failed to use the kubeconfig")?
            }
            None if args.context.is_some() => {
                Config::from_kubeconfig(&options).await.context("failed to read the kubeconfig")?
            }
            None => Config::infer()
                .await
                .context("failed to find a cluster: set KUBECONFIG, or use --kubeconfig")?,
        };
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("failed to set up the connection to the cluster")?;
        Ok(Self { client, namespace })
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub async fn cameras(&self, scope: &Scope) -> anyhow::Result<Vec<Camera>> {
        let api: Api<Camera> = match scope {
            Scope::All => Api::all(self.client.clone()),
            Scope::Namespace => Api::namespaced(self.client.clone(), &self.namespace),
        };
        let mut cameras = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&params).await.map_err(readable).context("failed to list cameras")?;
            cameras.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = ListParams::default().limit(PAGE).continue_token(&token),
                None => return Ok(cameras),
            }
        }
    }

    pub async fn camera(&self, name: &str) -> anyhow::Result<Camera> {
        let api: Api<Camera> = Api::namespaced(self.client.clone(), &self.namespace);
        let camera = api.get_opt(name).await.map_err(readable).context("failed to read the Camera")?;
        camera.with_context(|| format!("there is no Camera \"{name}\" in namespace \"{}\"", self.namespace))
    }

    pub async fn video_stream(&self, name: &str) -> anyhow::Result<VideoStream> {
        let api: Api<VideoStream> = Api::namespaced(self.client.clone(), &self.namespace);
        let stream = api.get_opt(name).await.map_err(readable).context("failed to read the VideoStream")?;
        stream.with_context(|| {
            format!("there is no VideoStream \"{name}\" in namespace \"{}\" yet", self.namespace)
        })
    }

    pub async fn stream_class(&self, name: &str) -> anyhow::Result<StreamClass> {
        let api: Api<StreamClass> = Api::all(self.client.clone());
        let class = api.get_opt(name).await.map_err(readable).context("failed to read the StreamClass")?;
        class.with_context(|| format!("there is no StreamClass \"{name}\""))
    }

    /// Asks a producer pod for its status, through the API server's proxy.
    pub async fn producer_status(&self, namespace: &str, pod: &str) -> anyhow::Result<Status> {
        let path =
            format!("/api/v1/namespaces/{namespace}/pods/{pod}:{ADMIN_PORT}/proxy{STATUS_PATH}?wait=0");
        let request = Request::get(path).body(Vec::new()).context("failed to write the request")?;
        match tokio::time::timeout(POD_TIMEOUT, self.client.request(request)).await {
            Ok(status) => status.map_err(readable),
            Err(_) => bail!("no answer within {} s", POD_TIMEOUT.as_secs()),
        }
    }
}

/// The API server's own words, where it has answered: kube's text repeats them with all fields.
fn readable(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => anyhow::anyhow!(status.message),
        other => other.into(),
    }
}
