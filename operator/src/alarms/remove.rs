//! Taking alarms away whose object goes. Many objects may go at once and three `DeleteAlarms` a second are all there are, each of up to
//! a hundred alarms: so who comes while a call is under way is served by the next one, together with all others.
//!
//! What is deleted was read in the same breath, and has the mark of its object. What cannot be deleted is left to the search for
//! orphans: nobody is kept from deleting an object by its alarms.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::desk::lock;
use super::names::{Object, object_of, read_mark};
use crate::aws::{AlarmQuery, AwsError, Cloud, ErrorKind, Place};
use crate::context::AwsSide;

/// Names in a call: the service's most (`AlarmNames` of `DescribeAlarms` and `DeleteAlarms`).
const TOGETHER: usize = 100;
/// How long an object that is to go waits for its alarms.
const PATIENCE: Duration = Duration::from_secs(15);

/// What waits to be deleted, in one account and region.
#[derive(Default)]
pub struct Removals {
    waiting: Mutex<Vec<Arc<Removal>>>,
    pub(super) sending: tokio::sync::Mutex<()>,
}

/// The alarms of one object.
struct Removal {
    object: Object,
    names: Vec<String>,
    result: Mutex<Option<Result<(), AwsError>>>,
}

/// Deletes those of these alarms that are the object's. Those that are not there are a success.
pub async fn remove(
    aws: &AwsSide,
    place: &Place,
    installation: &str,
    object: &Object,
    names: Vec<String>,
) -> Result<(), AwsError> {
    if names.is_empty() {
        return Ok(());
    }
    let counter = aws.alarms.counter(place);
    let removal = Arc::new(Removal { object: object.clone(), names, result: Mutex::default() });
    lock(&counter.removals.waiting).push(removal.clone());
    let work = async {
        let _sending = counter.removals.sending.lock().await;
        loop {
            // Somebody else may have taken it along.
            if let Some(result) = lock(&removal.result).take() {
                return result;
            }
            let batch = take(&counter.removals, &removal);
            let result = send(aws, place, installation, &batch).await;
            for one in batch {
                *lock(&one.result) = Some(result.clone());
            }
        }
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        lock(&counter.removals.waiting).retain(|one| !Arc::ptr_eq(one, &removal));
        Err(AwsError {
            operation: "DeleteAlarms",
            kind: ErrorKind::Unreachable,
            message: "it takes too long".to_owned(),
        })
    })
}

/// This one, and as many others as fit into a call with it. Who had taken it along may have given up.
fn take(removals: &Removals, own: &Arc<Removal>) -> Vec<Arc<Removal>> {
    let mut waiting = lock(&removals.waiting);
    waiting.retain(|one| !Arc::ptr_eq(one, own));
    let mut names = own.names.len();
    let fits = waiting.iter().take_while(|removal| {
        names += removal.names.len();
        names <= TOGETHER
    });
    let fits = fits.count();
    let mut batch = vec![own.clone()];
    batch.extend(waiting.drain(..fits));
    batch
}

async fn send(
    aws: &AwsSide,
    place: &Place,
    installation: &str,
    batch: &[Arc<Removal>],
) -> Result<(), AwsError> {
    let cloud = aws.clouds.cloud(place).await?;
    let names: Vec<String> = batch.iter().flat_map(|removal| removal.names.iter().cloned()).collect();
    let there = cloud.describe_alarms(&AlarmQuery::Names(names)).await?;
    let objects: BTreeSet<&Object> = batch.iter().map(|removal| &removal.object).collect();
    let is_theirs = |name: &str, description: &str| {
        read_mark(description, installation)
            .and_then(|mark| object_of(name, &mark, installation))
            .is_some_and(|object| objects.contains(&object))
    };
    let ours = there.iter().filter(|info| is_theirs(&info.alarm.name, &info.alarm.description));
    let ours: Vec<String> = ours.map(|info| info.alarm.name.clone()).collect();
    delete(aws, place, &*cloud, &ours).await
}

/// Deletes these. Where the service refuses some, for a composite alarm that names them, the others go nevertheless.
pub fn delete<'a>(
    aws: &'a AwsSide,
    place: &'a Place,
    cloud: &'a dyn Cloud,
    names: &'a [String],
) -> BoxFuture<'a, Result<(), AwsError>> {
    async move {
        if names.is_empty() {
            return Ok(());
        }
        match cloud.delete_alarms(names).await {
            Ok(()) => {
                aws.observer.forget_alarms(place, names);
                Ok(())
            }
            Err(error) if error.kind == ErrorKind::InvalidArgument && names.len() > 1 => {
                let (first, second) = names.split_at(names.len() / 2);
                let first = delete(aws, place, cloud, first).await;
                let second = delete(aws, place, cloud, second).await;
                first.and(second)
            }
            Err(error) => Err(error),
        }
    }
    .boxed()
}
