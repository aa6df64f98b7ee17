//! Elections against a lease in memory, in virtual time.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::election::{Election, Step};
use super::*;

/// The API server, as far as leases go: one lease with resource versions and conflicts.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    version: Arc<AtomicU32>,
    /// It answers nothing any more.
    is_down: Arc<AtomicBool>,
    /// How many writes find that somebody has written just before them.
    conflicts: Arc<AtomicU32>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(tower::service_fn(move |request| server.clone().answer(request)), "video")
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        if self.is_down.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut stored = self.lease.lock().unwrap();
        let (code, answer) = match (parts.method, stored.clone()) {
            (Method::GET, Some(lease)) => (200, lease),
            (Method::GET, None) => (404, failure(404, "NotFound")),
            (Method::POST, Some(_)) => (409, failure(409, "AlreadyExists")),
            (_, present) => {
                let mut lease: Value = serde_json::from_slice(&body).unwrap();
                let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
                let is_late = self
                    .conflicts
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                    .is_ok();
                if is_late || present.is_some_and(|present| version(&present) != version(&lease)) {
                    (409, failure(409, "Conflict"))
                } else {
                    let next = self.version.fetch_add(1, Ordering::SeqCst) + 1;
                    lease["metadata"]["resourceVersion"] = next.to_string().into();
                    *stored = Some(lease.clone());
                    (200, lease)
                }
            }
        };
        Ok(Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap())
    }

    fn holder(&self) -> String {
        let lease = self.lease.lock().unwrap().clone().unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        holder.split('_').next().unwrap_or_default().to_owned()
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason })
}

/// A replica that stands for election. Dropped, it is gone without a word.
struct Replica {
    leadership: Leadership,
    stand: Stand,
}

impl Replica {
    fn start(server: &Server, pod: &str) -> Self {
        let candidate = Candidate {
            namespace: "video".to_owned(),
            lease: "streamfleet-operator".to_owned(),
            pod: pod.to_owned(),
        };
        let (leadership, stand) = stand(&server.client(), &candidate);
        Self { leadership, stand }
    }

    fn leads(&self) -> bool {
        self.leadership.check().is_ok()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// How long this takes, in seconds.
async fn seconds(of: impl Future<Output = ()>) -> f64 {
    let started = Instant::now();
    of.await;
    started.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leads_and_keeps_the_lease() {
    let server = Server::default();
    let (one, other) = (Replica::start(&server, "one"), Replica::start(&server, "other"));
    tokio::select! {
        () = one.leadership.gained() => {}
        () = other.leadership.gained() => {}
    }
    let first = server.holder();
    for _ in 0..600 {
        pass(1).await;
        assert_eq!(u8::from(one.leads()) + u8::from(other.leads()), 1);
    }
    assert_eq!(server.holder(), first);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_within_seconds() {
    let server = Server::default();
    let one = Replica::start(&server, "one");
    one.leadership.gained().await;
    let other = Replica::start(&server, "other");
    pass(30).await;
    assert!(one.leads() && !other.leads());
    one.stand.end_after(async {}, LEASE).await;
    assert_eq!(server.holder(), "");
    let took = seconds(other.leadership.gained()).await;
    assert!(took <= 2.0, "{took}");
    assert_eq!(server.holder(), "other");
    let transitions = server.lease.lock().unwrap().clone().unwrap()["spec"]["leaseTransitions"].clone();
    assert_eq!(transitions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_when_all_passes_have_ended_and_runs_out_where_one_has_not() {
    let server = Server::default();
    for (lasts, expected) in [(Duration::from_secs(5), ""), (Duration::from_mins(1), "one")] {
        let one = Replica::start(&server, "one");
        one.leadership.gained().await;
        let (begun, seen) = (Instant::now(), server.clone());
        let work = async move {
            tokio::time::sleep(lasts).await;
            assert_eq!(seen.holder(), "one", "it was given back before the last pass had ended");
        };
        one.stand.end_after(work, Duration::from_secs(10)).await;
        assert_eq!(server.holder(), expected);
        assert!(begun.elapsed() <= Duration::from_secs(11));
    }
    // Nobody renews it any more.
    let other = Replica::start(&server, "other");
    let took = seconds(other.leadership.gained()).await;
    assert!((2.0..=20.0).contains(&took), "{took}");
}

/// A call that counts its steps, one each second, of which there are so many.
async fn call(steps: &AtomicU32, last: u32) -> u32 {
    for _ in 0..last {
        steps.fetch_add(1, Ordering::SeqCst);
        pass(1).await;
    }
    last
}

#[tokio::test(start_paused = true)]
async fn a_call_is_cut_off_with_the_margin_left_and_goes_on_where_the_lease_is_renewed() {
    let (reign, leadership) = Reign::begin();
    let steps = AtomicU32::new(0);
    reign.lasts(LEASE_MARGIN + Duration::from_millis(2_500));
    let started = Instant::now();
    assert_eq!(leadership.during(call(&steps, 8)).await, Err(NotLeader));
    let took = started.elapsed().as_millis();
    assert!((2_500..2_600).contains(&took), "{took}");
    assert_eq!(steps.swap(0, Ordering::SeqCst), 3);
    assert_eq!(leadership.during(call(&steps, 8)).await, Err(NotLeader));
    assert_eq!(steps.load(Ordering::SeqCst), 0, "nothing begins within the margin");

    reign.lasts(LEASE_MARGIN + Duration::from_secs(2));
    let renewed = async {
        pass(1).await;
        reign.lasts(LEASE);
    };
    assert_eq!(tokio::join!(leadership.during(call(&steps, 8)), renewed).0, Ok(8));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_process_that_was_stopped_in_the_middle_does_nothing_more() {
    let (reign, leadership) = Reign::begin();
    reign.lasts(LEASE);
    let (wake, woken) = tokio::sync::oneshot::channel();
    let has_gone_on = AtomicBool::new(false);
    let mut call = std::pin::pin!(leadership.during(async {
        let _ = woken.await;
        has_gone_on.store(true, Ordering::SeqCst);
    }));
    assert!(futures::poll!(call.as_mut()).is_pending());
    // It is stopped; what it waits for has come when it goes on, and no timer has rung yet.
    reign.0.send_if_modified(|tenure| {
        *tenure = Tenure::Until(Instant::now());
        false
    });
    wake.send(()).unwrap();
    assert_eq!(futures::poll!(call.as_mut()), Poll::Ready(Err(NotLeader)));
    assert!(!has_gone_on.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_leader_that_is_gone_is_taken_when_it_has_run_out() {
    let server = Server::default();
    let one = Replica::start(&server, "one");
    one.leadership.gained().await;
    let other = Replica::start(&server, "other");
    pass(30).await;
    drop(one);
    let took = seconds(other.leadership.gained()).await;
    // From the last renewal, which was up to 3 s ago, and seen up to 2 s later.
    assert!((12.0..=20.0).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_may_begin() {
    let server = Server::default();
    let one = Replica::start(&server, "one");
    one.leadership.gained().await;
    pass(30).await;
    server.is_down.store(true, Ordering::SeqCst);
    let took = seconds(one.leadership.lost()).await;
    assert!((9.0..=12.0).contains(&took), "the lease less its margin, from the last renewal: {took}");
    assert_eq!(one.leadership.check(), Err(NotLeader));
    // Nobody has taken it meanwhile: it is renewed.
    server.is_down.store(false, Ordering::SeqCst);
    assert!(seconds(one.leadership.gained()).await <= 8.0);
}

#[tokio::test(start_paused = true)]
async fn two_replicas_never_lead_at_a_time_however_the_api_server_comes_and_goes() {
    let server = Server::default();
    let replicas = [Replica::start(&server, "one"), Replica::start(&server, "other")];
    let mut turns = Vec::new();
    for _ in 0..2_000 {
        server.is_down.store(fastrand::u8(..4) == 0, Ordering::SeqCst);
        server.conflicts.store(fastrand::u32(..2), Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..8_000))).await;
        let leads = replicas.each_ref().map(Replica::leads);
        assert_ne!(leads, [true, true]);
        turns.push(leads);
    }
    assert!(turns.contains(&[true, false]) || turns.contains(&[false, true]));
}

#[tokio::test(start_paused = true)]
async fn somebody_who_writes_into_the_lease_does_not_end_the_leadership() {
    let server = Server::default();
    let one = Replica::start(&server, "one");
    one.leadership.gained().await;
    for _ in 0..20 {
        server.conflicts.store(2, Ordering::SeqCst);
        for _ in 0..12 {
            pass(1).await;
            assert!(one.leads());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_stopped_finds_at_its_first_check_that_it_leads_no_more() {
    let (tenure, leadership) = watch::channel(Tenure::Until(Instant::now() + LEASE));
    let leadership = Leadership { tenure: leadership };
    assert_eq!(leadership.check(), Ok(()));
    // Nothing of it runs meanwhile, its renewal neither.
    tokio::time::advance(LEASE.saturating_sub(LEASE_MARGIN)).await;
    assert_eq!(leadership.check(), Err(NotLeader));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(leadership.check(), Err(NotLeader));
    leadership.lost().await;
    tenure.send_replace(Tenure::Until(Instant::now() + LEASE));
    leadership.gained().await;
    assert_eq!(leadership.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_only_replica_always_leads() {
    let sole = Leadership::sole();
    sole.gained().await;
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(sole.check(), Ok(()));
    let lost = tokio::time::timeout(Duration::from_hours(1), sole.lost()).await;
    assert!(lost.is_err());
}

/// A lease that somebody holds, renewed at this time by their clock.
fn held(by: &str, renewed: i64) -> Lease {
    let spec = LeaseSpec {
        holder_identity: Some(by.to_owned()),
        lease_duration_seconds: Some(15),
        renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
        ..LeaseSpec::default()
    };
    Lease { spec: Some(spec), ..Lease::default() }
}

#[test]
fn nobodys_wall_clock_counts() {
    // Years ahead, years behind, and jumping about.
    for (theirs, ours) in [(4_000_000_000, 0), (0, 4_000_000_000)] {
        let mut election = Election::new("lease", "me");
        let (start, wall) = (Instant::now(), Timestamp::from_second(ours).unwrap());
        let mut look = |after: u64, renewed: i64| {
            let now = start + Duration::from_secs(after);
            election.next(Some(held("them", renewed)), now, wall) == Step::Wait
        };
        assert!(look(0, theirs) && look(14, theirs));
        assert!(look(16, theirs - 5), "renewed, though their clock was set back");
        assert!(look(30, theirs - 5));
        assert!(!look(31, theirs - 5), "it has not changed for 15 s of ours");
    }
}

#[test]
fn a_lease_says_itself_how_long_it_is_valid() {
    let mut election = Election::new("lease", "me");
    let mut lease = held("them", 0);
    lease.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
    let (start, wall) = (Instant::now(), Timestamp::UNIX_EPOCH);
    for (after, waits) in [(0, true), (59, true), (60, false)] {
        let step = election.next(Some(lease.clone()), start + Duration::from_secs(after), wall);
        assert_eq!(step == Step::Wait, waits, "after {after} s");
    }
}

#[test]
fn a_renewal_keeps_what_others_wrote_and_when_it_was_acquired() {
    let mut election = Election::new("lease", "me");
    let (now, wall) = (Instant::now(), Timestamp::from_second(1_000).unwrap());
    let mut lease = held("me", 500);
    lease.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    lease.metadata.resource_version = Some("7".to_owned());
    let spec = lease.spec.as_mut().unwrap();
    spec.acquire_time = Some(MicroTime(Timestamp::from_second(400).unwrap()));
    spec.lease_transitions = Some(3);
    let Step::Replace(renewed) = election.next(Some(lease.clone()), now, wall) else { panic!() };
    assert_eq!(
        renewed.metadata, lease.metadata,
        "the version is what makes the API server refuse a late one"
    );
    let spec = renewed.spec.unwrap();
    assert_eq!((spec.lease_transitions, spec.acquire_time.unwrap().0.as_second()), (Some(3), 400));
    assert_eq!(spec.renew_time.unwrap().0, wall);
    assert_eq!(election.released(held("them", 0), wall), None, "another's is not ours to give back");
}
