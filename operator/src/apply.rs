//! Writing to the API server: server-side apply of children and status, finalizers, removal.

use std::fmt::Debug;

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// The field manager of everything that the operator applies.
pub const MANAGER: &str = "streamfleet-operator";
/// The field manager of the claim on a `VideoStream`: it must not fall out when its status is applied.
pub const CLAIM_MANAGER: &str = "streamfleet-operator-claim";

/// What server-side apply needs: children are ours, so conflicts are settled in our favour.
pub fn apply_params() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

/// Applies a child.
pub async fn child<K>(api: &Api<K>, object: &K) -> Result<K, kube::Error>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    api.patch(&object.name_any(), &apply_params(), &Patch::Apply(object)).await
}

/// Applies a status. An object that is gone by now needs none: that is a success.
pub async fn status<K, S>(api: &Api<K>, name: &str, status: &S) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "status": status,
    });
    match api.patch_status(name, &apply_params(), &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Applies a status to an object as it was read, and answers with the object as it is then. Fails with a conflict where the object
/// has changed since, or is another of the same name.
pub async fn status_as_read<K, S>(api: &Api<K>, object: &K, status: &S) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "uid": object.meta().uid, "resourceVersion": object.resource_version() },
        "status": status,
    });
    api.patch_status(&object.name_any(), &apply_params(), &Patch::Apply(&patch)).await
}

/// Puts our finalizer on an object. Fails with a conflict where the object has changed since it was read.
pub async fn add_finalizer<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    set_finalizers(api, object, &finalizers).await
}

/// Takes our finalizer from an object: it may go now. An object that is gone already is a success.
pub async fn remove_finalizer<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let finalizers: Vec<String> =
        object.finalizers().iter().filter(|present| *present != finalizer).cloned().collect();
    match set_finalizers(api, object, &finalizers).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn set_finalizers<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    // The UID and version are preconditions: another object of the same name is not meant.
    let patch = json!({ "metadata": {
        "uid": object.meta().uid,
        "resourceVersion": object.resource_version(),
        "finalizers": finalizers,
    }});
    api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await
}

/// Deletes an object of this UID. One that is gone already, or is another by now, is a success.
pub async fn delete<K>(api: &Api<K>, name: &str, uid: Option<&str>) -> Result<(), kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}
