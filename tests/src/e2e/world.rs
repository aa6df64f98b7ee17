//! What a test of the whole lives in: the cluster, an emulator of its own, an operator of its own, and namespaces and
//! classes that go when the test is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;
use streamfleet_crds::{Camera, StreamClass, VideoStream, all_crds};

use super::emulator::{Emulator, Keys};
use super::kubectl::{Reply, apply, kubectl};
use super::lock::OperatorLock;
use super::manifests::{class, merge, trial_secret};
use super::objects::{Conditioned, SOON, shown};
use super::operator::{Operator, Setup};
use crate::cluster::wait::{Look, until};
use crate::cluster::{Cluster, TestNamespace};
use crate::process::tail;
use crate::release;

/// What the names of our namespaces and classes begin with.
const PREFIX: &str = "e2e-";

/// Cluster, emulator, operator, and what the test has made. [`World::finish`] takes it down; without that, as when a test
/// fails, the processes end, the files stay, and the next world clears away the objects.
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// A client with all rights.
    pub client: Client,
    /// The test's own emulator.
    pub emulator: Emulator,
    /// How operators are started.
    pub setup: Setup,
    /// Logs and other files.
    pub folder: PathBuf,
    /// Tells the test's classes and streams from others'.
    pub id: String,
    operator: Option<Operator>,
    /// Whether the operator is one that Helm has installed.
    is_released: bool,
    namespaces: Vec<TestNamespace>,
    finished: bool,
    // The last field: released when the operator has ended.
    _lock: Arc<OperatorLock>,
}

impl World {
    /// Starts everything but the operator.
    pub async fn without_operator(name: &str) -> Result<Self> {
        Self::with_emulator(name, &[]).await
    }

    /// Starts everything but the operator, and the emulator with these flags.
    pub async fn with_emulator(name: &str, flags: &[&str]) -> Result<Self> {
        let (_, _, lock) = claim_cluster().await?;
        Self::beside(Arc::new(lock), name, flags).await
    }

    /// The same on a cluster that was claimed before, beside other worlds. Each operator is then to look after classes of its own
    /// alone (`STREAMFLEET_CLASSES`), lest they fight over objects.
    pub async fn beside(lock: Arc<OperatorLock>, name: &str, flags: &[&str]) -> Result<Self> {
        let cluster = Cluster::from_env()?;
        let client = cluster.client().await?;
        let id = format!("{PREFIX}{name}-{:06x}", fastrand::u32(..1 << 24));
        let folder = std::env::temp_dir().join(format!("streamfleet-{id}"));
        fs::create_dir_all(&folder)?;
        let emulator = Emulator::start(&folder, cluster.bridge_address(), flags).await?;
        let setup = Setup::new(&cluster, &folder, &id, &emulator.keys)?;
        Ok(Self {
            cluster,
            client,
            emulator,
            setup,
            folder,
            id,
            operator: None,
            is_released: false,
            namespaces: Vec::new(),
            finished: false,
            _lock: lock,
        })
    }

    /// Starts everything, and waits until the operator is ready.
    pub async fn start(name: &str) -> Result<Self> {
        let mut world = Self::without_operator(name).await?;
        world.start_operator().await?;
        Ok(world)
    }

    /// Starts the operator, and waits until it is ready.
    pub async fn start_operator(&mut self) -> Result<()> {
        let operator = self.setup.start()?;
        operator.ready().await?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Installs the operator by Helm, as users do, with these values of the chart (`KEY=VALUE`) and what this machine asks for; it
    /// runs as pods, with the rights that the chart gives it. It goes when the world is finished or dropped.
    pub fn install_operator(&mut self, values: &[&str]) -> Result<()> {
        self.is_released = true;
        release::install(&self.cluster, &self.id, &self.emulator.keys.shared_file(), values)
    }

    /// Gives operators other AWS keys, also the one that runs: it reads them anew where they were refused.
    pub fn use_keys(&self, keys: &Keys) -> Result<()> {
        self.setup.use_keys(keys)
    }

    /// The operator that runs.
    pub fn operator(&self) -> Result<&Operator> {
        self.operator.as_ref().context("no operator runs")
    }

    /// Hands the world an operator that was started from its setup.
    pub fn set_operator(&mut self, operator: Operator) {
        self.operator = Some(operator);
    }

    /// Takes the operator out of the world, to stop or kill it.
    pub fn take_operator(&mut self) -> Result<Operator> {
        self.operator.take().context("no operator runs")
    }

    /// Makes a namespace in which producers may be made: with the Secret of these AWS credentials.
    pub async fn namespace(&mut self, keys: &Keys) -> Result<String> {
        let namespace = self.cluster.namespace(self.id.get(..30).unwrap_or(&self.id)).await?;
        let name = namespace.name.clone();
        self.namespaces.push(namespace);
        // Pods are refused until the controller manager has made it.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &name);
        until(SOON, "the namespace has its service account", async || {
            let found = accounts.get_opt("default").await?;
            Ok(found.map_or_else(|| Look::NotYet("none".to_owned()), |_| Look::Done(())))
        })
        .await?;
        self.apply(&name, &[trial_secret(keys)]).await?.succeeded()?;
        Ok(name)
    }

    /// Makes a class `ID-SUFFIX` that leads to the emulator; `more` is merged into its spec.
    pub async fn class(&self, suffix: &str, more: &Value) -> Result<String> {
        let name = self.class_name(suffix);
        let mut object = class(&name, &self.emulator)?;
        merge(&mut object["spec"], more);
        self.apply("default", &[object]).await?.succeeded()?;
        Ok(name)
    }

    /// The name of the class with this suffix, also before it is made.
    pub fn class_name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.id)
    }

    /// `kubectl apply`.
    pub async fn apply(&self, namespace: &str, objects: &[Value]) -> Result<Reply> {
        apply(&self.cluster, namespace, objects).await
    }

    /// Objects of a kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The log of all operators of this world.
    pub fn operator_log(&self) -> &Path {
        self.setup.log()
    }

    /// The emulator's log.
    pub fn emulator_log(&self) -> PathBuf {
        self.folder.join("emulator.log")
    }

    /// Deletes the namespaces and classes as users do, waits until the operator has let them go, and ends everything.
    pub async fn finish(mut self) -> Result<()> {
        for namespace in &self.namespaces {
            namespace.delete().await?;
        }
        // What is left then is Kubernetes' own to clear away.
        for namespace in std::mem::take(&mut self.namespaces) {
            let name = namespace.name;
            until(SOON, &format!("the operator lets go of namespace {name}"), async || {
                let left = self.left(&name).await?;
                Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(left) })
            })
            .await?;
        }
        let classes: Api<StreamClass> = Api::all(self.client.clone());
        let of_ours = self.class_name("");
        for name in classes.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any) {
            if name.starts_with(&of_ours) {
                classes.delete(&name, &DeleteParams::default()).await?;
                super::objects::is_gone(&classes, &name).await?;
            }
        }
        if let Some(operator) = self.operator.take() {
            let status = operator.stop()?;
            if !status.success() {
                bail!("the operator ended with {status} at SIGTERM:\n{}", tail(self.operator_log(), 20));
            }
        }
        if self.is_released {
            self.is_released = false;
            release::uninstall(&self.cluster)?;
        }
        self.finished = true;
        fs::remove_dir_all(&self.folder)?;
        Ok(())
    }

    /// Ends everything at once, and leaves the objects to the next world, which takes our finalizers off. For fleets: to let
    /// go of ten thousand alarms takes an operator that keeps the quotas a long time.
    pub fn abandon(mut self) -> Result<()> {
        if let Some(operator) = self.operator.take() {
            operator.kill()?;
        }
        self.finished = true;
        Ok(fs::remove_dir_all(&self.folder)?)
    }

    /// What of ours is left in a namespace.
    async fn left(&self, namespace: &str) -> Result<String> {
        let mut left = describe::<Camera>(&self.api(namespace)).await?;
        left.extend(describe::<VideoStream>(&self.api(namespace)).await?);
        Ok(left.join("\n"))
    }
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "a failed test says where its files are")]
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        eprintln!("The files of this test are in {}. The operator's last lines:", self.folder.display());
        if self.is_released {
            eprintln!("{}", release::logs(&self.cluster, 30).unwrap_or_default());
            drop(release::uninstall(&self.cluster));
        } else {
            eprintln!("{}", tail(self.operator_log(), 30));
        }
    }
}

/// The cluster for ourselves: no operator runs on it, the definitions are installed, and what failed tests have left is
/// cleared away.
pub async fn claim_cluster() -> Result<(Cluster, Client, OperatorLock)> {
    let cluster = Cluster::from_env()?;
    let lock = OperatorLock::acquire(&cluster).await?;
    let client = cluster.client().await?;
    install_crds(&client).await?;
    wait_published(&cluster).await?;
    clear_leftovers(&client).await?;
    Ok((cluster, client, lock))
}

async fn describe<K: Conditioned>(api: &Api<K>) -> Result<Vec<String>> {
    let listed = api.list(&ListParams::default()).await?;
    let one = |object: &K| {
        let finalizers = object.meta().finalizers.clone().unwrap_or_default();
        format!("{} {} {finalizers:?}: {}", K::kind(&()), object.name_any(), shown(object.conditions()))
    };
    Ok(listed.items.iter().map(one).collect())
}

/// Installs the definitions where they are missing or of other types. They carry the marks by which Helm takes them for
/// its own, so that a release may be installed on the same cluster.
async fn install_crds(client: &Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for mut wanted in all_crds() {
        let name = wanted.name_any();
        let found = api.get_opt(&name).await?;
        if found.is_some_and(|found| found.spec.versions == wanted.spec.versions) {
            continue;
        }
        wanted.labels_mut().insert("app.kubernetes.io/managed-by".to_owned(), "Helm".to_owned());
        let marks = [("release-name", "streamfleet"), ("release-namespace", "streamfleet-system")];
        let marks = marks.map(|(key, value)| (format!("meta.helm.sh/{key}"), value.to_owned()));
        wanted.annotations_mut().extend(marks);
        api.patch(&name, &PatchParams::apply("streamfleet-tests").force(), &Patch::Apply(&wanted)).await?;
        until(SOON, &format!("{name} is established"), async || {
            let conditions = api.get(&name).await?.status.and_then(|status| status.conditions);
            let conditions = conditions.unwrap_or_default();
            let established =
                conditions.iter().any(|found| found.type_ == "Established" && found.status == "True");
            Ok(if established { Look::Done(()) } else { Look::NotYet(format!("{conditions:?}")) })
        })
        .await?;
    }
    Ok(())
}

/// Waits until kubectl finds the kinds in the server's published schema: before, it would validate by itself.
async fn wait_published(cluster: &Cluster) -> Result<()> {
    until(SOON, "the server publishes the schema of all kinds", async || {
        let args = ["get", "--raw", "/openapi/v3/apis/streamfleet.io/v1alpha1"];
        let schema = kubectl(cluster, &args, "").await?.succeeded()?;
        let missing = all_crds().into_iter().map(|definition| definition.spec.names.plural);
        let missing: Vec<_> = missing.filter(|kind| !schema.contains(&format!("/{kind}/{{name}}"))).collect();
        Ok(if missing.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{missing:?} are missing")) })
    })
    .await
}

/// Clears away what failed tests have left: no operator lives that would take its finalizers off.
async fn clear_leftovers(client: &Client) -> Result<()> {
    let ours = |name: &str| name.starts_with(PREFIX);
    let_go(client, ours).await?;
    let namespaces = Api::<Namespace>::all(client.clone());
    for namespace in namespaces.list(&ListParams::default().labels("streamfleet.io/test=true")).await? {
        if ours(&namespace.name_any()) && namespace.metadata.deletion_timestamp.is_none() {
            namespaces.delete(&namespace.name_any(), &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

/// Deletes the cameras and streams of namespaces with these names, and the classes with these, without their finalizers: for when no operator lives that would take them off.
pub async fn let_go(client: &Client, is_ours: impl Fn(&str) -> bool) -> Result<()> {
    let everything = ListParams::default();
    let of_ours = |namespace: Option<String>| namespace.filter(|name| is_ours(name));
    for object in Api::<Camera>::all(client.clone()).list(&everything).await? {
        if let Some(namespace) = of_ours(object.namespace()) {
            release::<Camera>(&Api::namespaced(client.clone(), &namespace), &object.name_any()).await?;
        }
    }
    for object in Api::<VideoStream>::all(client.clone()).list(&everything).await? {
        if let Some(namespace) = of_ours(object.namespace()) {
            release::<VideoStream>(&Api::namespaced(client.clone(), &namespace), &object.name_any()).await?;
        }
    }
    let classes = Api::<StreamClass>::all(client.clone());
    for object in classes.list(&everything).await? {
        if is_ours(&object.name_any()) {
            release(&classes, &object.name_any()).await?;
        }
    }
    Ok(())
}

/// Deletes an object without its finalizers; gone already is as good.
async fn release<K: Conditioned>(api: &Api<K>, name: &str) -> Result<()> {
    let without = serde_json::json!({ "metadata": { "finalizers": null } });
    drop(api.delete(name, &DeleteParams::default()).await);
    match api.patch(name, &PatchParams::default(), &Patch::Merge(&without)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to release {name}")),
    }
}
