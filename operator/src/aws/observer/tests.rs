use streamfleet_crds::StorageTier;

use super::super::StreamState;
use super::super::fake::{self, FakeCloud};
use super::*;

fn place() -> Place {
    Place::new("eu-west-1", "123456789012")
}

fn places() -> Places {
    Places::new(place())
}

fn observer(cloud: &FakeCloud) -> Observer {
    Observer::new(Arc::new(cloud.clone()), Sweeps::default())
}

fn calls(cloud: &FakeCloud) -> Vec<String> {
    std::mem::take(&mut cloud.state().calls)
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_read_by_one_list_for_all_of_its_classes_until_that_is_overdue() {
    let cloud = FakeCloud::default();
    cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    let other_role = Place { role_arn: Some("arn:aws:iam::1:role/x".to_owned()), ..place() };
    for place in [place(), other_role] {
        assert!(observer.cached(&place, "a").await.unwrap().is_some());
        assert!(observer.cached(&place, "b").await.unwrap().is_none());
    }
    assert_eq!(calls(&cloud), ["ListStreams"]);
    tokio::time::advance(Duration::from_secs(181)).await;
    observer.cached(&place(), "a").await.unwrap();
    assert_eq!(calls(&cloud), ["ListStreams"]);
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_for_the_first_list_make_one_list() {
    let cloud = FakeCloud::default();
    let observer = observer(&cloud);
    let place = place();
    let passes = (0..20).map(|_| observer.cached(&place, "a"));
    for seen in futures::future::join_all(passes).await {
        assert_eq!(seen.unwrap(), None);
    }
    assert_eq!(calls(&cloud), ["ListStreams"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_alarms_that_takes_long_is_waited_for_once_and_by_nobody_after_that() {
    let (cloud, begun) = (FakeCloud::default(), Instant::now());
    let (observer, place) = (observer(&cloud), place());
    let view = observer.view(&place);
    let describing = view.describing.lock().await;
    view.known().describing_since = Some(begun);
    let passes = (0..20).map(|_| observer.alarms(&place, "a"));
    for alarms in futures::future::join_all(passes).await {
        assert_eq!(
            alarms.unwrap_err().kind,
            ErrorKind::Throttled,
            "it is asked again, and nothing is said to be gone"
        );
    }
    assert_eq!(begun.elapsed(), LIST_PATIENCE);
    assert!(observer.alarms(&place, "a").await.is_err());
    assert_eq!(begun.elapsed(), LIST_PATIENCE, "it is not waited for again");
    drop(describing);
    assert_eq!(observer.alarms(&place, "a").await.unwrap(), []);
    assert_eq!(calls(&cloud), ["DescribeAlarms", "DescribeAlarms"], "of metrics, and composites");
}

#[tokio::test(start_paused = true)]
async fn a_pass_gives_its_own_list_up_when_it_takes_long_and_the_sweep_sees_it_through() {
    let (cloud, begun) = (FakeCloud::default(), Instant::now());
    let (observer, place) = (observer(&cloud), place());
    cloud.state().alarms_take = Some(2 * LIST_PATIENCE);
    assert!(futures::poll!(std::pin::pin!(observer.list_is_given_up(&place))).is_pending());
    assert_eq!(observer.alarms(&place, "a").await.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(begun.elapsed(), LIST_PATIENCE);
    observer.list_is_given_up(&place).await;
    assert_eq!(observer.sweep_alarms(&place).await.unwrap(), Vec::<String>::new());
    assert_eq!(begun.elapsed(), 3 * LIST_PATIENCE);
    assert_eq!(observer.alarms(&place, "a").await.unwrap(), []);
    assert_eq!(begun.elapsed(), 3 * LIST_PATIENCE, "it is known");
}

#[tokio::test(start_paused = true)]
async fn what_is_read_anew_is_what_the_next_cached_read_says() {
    let cloud = FakeCloud::default();
    let arn = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    observer.cached(&place(), "a").await.unwrap();
    cloud.state().streams.get_mut("a").unwrap().0.state = StreamState::Updating;
    observer.fresh(&place(), "a", Some(&arn)).await.unwrap();
    assert_eq!(observer.cached(&place(), "a").await.unwrap().unwrap().state, StreamState::Updating);
    cloud.state().streams.clear();
    assert_eq!(observer.fresh(&place(), "a", None).await.unwrap(), None);
    assert_eq!(observer.cached(&place(), "a").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_arn_that_is_gone_does_not_hide_its_successor() {
    let cloud = FakeCloud::default();
    let old = cloud.state().put("a", 24, BTreeMap::new());
    let new = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    observer.cached(&place(), "a").await.unwrap();
    assert_eq!(observer.fresh(&place(), "a", Some(&old)).await.unwrap(), None);
    assert_eq!(observer.cached(&place(), "a").await.unwrap().unwrap().arn, new);
}

#[tokio::test(start_paused = true)]
async fn settings_are_known_once_they_were_read_or_set_and_the_sweep_finds_what_others_change() {
    let cloud = FakeCloud::default();
    let arn = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    assert_eq!(observer.known_settings(&place(), &arn), None);
    assert_eq!(calls(&cloud), Vec::<String>::new(), "nothing was read for it");
    assert_eq!(observer.settings(&place(), &arn).await.unwrap().storage_tier, StorageTier::Hot);
    assert_eq!(calls(&cloud).len(), 4);
    observer.settings(&place(), &arn).await.unwrap();
    assert_eq!(calls(&cloud), Vec::<String>::new());

    cloud.state().settings(&arn).unwrap().0 = StorageTier::Warm;
    assert_eq!(observer.sweep_settings(&places()).await, Vec::<String>::new(), "it is not its time yet");
    tokio::time::advance(Duration::from_hours(7)).await;
    assert_eq!(observer.sweep_settings(&places()).await, ["a"]);
    assert_eq!(observer.known_settings(&place(), &arn).unwrap().storage_tier, StorageTier::Warm);
    tokio::time::advance(Duration::from_hours(7)).await;
    calls(&cloud);
    assert_eq!(observer.sweep_settings(&places()).await, Vec::<String>::new());
    assert_eq!(calls(&cloud).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn settings_that_were_noted_need_no_read_and_those_of_a_stream_that_is_gone_are_dropped() {
    let cloud = FakeCloud::default();
    let arn = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    let settings = observer.fresh_settings(&place(), &arn).await.unwrap();
    let noted = Settings { storage_tier: StorageTier::Warm, ..settings };
    observer.note_settings(&place(), &arn, noted.clone());
    assert_eq!(observer.known_settings(&place(), &arn), Some(noted));
    cloud.state().streams.clear();
    observer.sweep(&place()).await.unwrap();
    assert_eq!(observer.known_settings(&place(), &arn), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_settings_cannot_be_read_is_looked_at_later_and_one_that_is_gone_is_told() {
    let cloud = FakeCloud::default();
    let arn = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    observer.known_settings(&place(), &arn);
    tokio::time::advance(Duration::from_hours(7)).await;
    cloud.state().fail = Some(("ListTagsForStream", ErrorKind::Unreachable, false));
    assert_eq!(observer.sweep_settings(&places()).await, Vec::<String>::new());
    calls(&cloud);
    assert_eq!(observer.sweep_settings(&places()).await, Vec::<String>::new());
    assert_eq!(calls(&cloud), Vec::<String>::new());
    tokio::time::advance(Duration::from_mins(10)).await;
    cloud.state().streams.clear();
    assert_eq!(observer.sweep_settings(&places()).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_not_to_be_read_any_more_are_not_known_and_that_is_told_once_as_is_its_end() {
    let cloud = FakeCloud::default();
    let arn = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    observer.fresh_settings(&place(), &arn).await.unwrap();
    calls(&cloud);
    cloud.state().denied.push((None, "DescribeNotificationConfiguration"));
    tokio::time::advance(Duration::from_hours(7)).await;
    for told in [vec!["a".to_owned()], Vec::new(), Vec::new()] {
        assert_eq!(observer.sweep_settings(&places()).await, told);
        assert_eq!(observer.known_settings(&place(), &arn), None);
        assert!(observer.are_settings_refused(&place(), &arn));
        tokio::time::advance(Duration::from_mins(10)).await;
    }
    let once = ["DescribeNotificationConfiguration"];
    assert_eq!(calls(&cloud)[4..], [once, once].concat(), "the others are not asked in vain");
    cloud.state().denied.clear();
    assert_eq!(observer.sweep_settings(&places()).await, ["a"], "though they are as they were");
    assert!(observer.known_settings(&place(), &arn).is_some());
    assert!(!observer.are_settings_refused(&place(), &arn));
}

#[tokio::test(start_paused = true)]
async fn settings_that_a_pass_may_not_read_are_not_known_until_one_may() {
    let cloud = FakeCloud::default();
    let arn = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    cloud.state().denied.push((None, "ListTagsForStream"));
    for calls_made in [4, 1] {
        let error = observer.fresh_settings(&place(), &arn).await.unwrap_err();
        assert_eq!((error.kind, error.operation), (ErrorKind::Denied, "ListTagsForStream"));
        assert!(observer.are_settings_refused(&place(), &arn));
        assert_eq!(calls(&cloud).len(), calls_made);
    }
    cloud.state().denied.clear();
    observer.fresh_settings(&place(), &arn).await.unwrap();
    assert!(observer.known_settings(&place(), &arn).is_some());
}

#[tokio::test(start_paused = true)]
async fn settings_that_one_class_may_not_read_are_read_as_another_and_by_that_first_from_then() {
    let cloud = FakeCloud::default();
    let arn = cloud.state().put("a", 24, BTreeMap::new());
    let observer = observer(&cloud);
    let role = |name: &str| Place { role_arn: Some(name.to_owned()), ..place() };
    let mut places = Places::new(role("trial"));
    places.add(role("main"));
    cloud.state().denied.push((Some("trial"), "ListTagsForStream"));
    observer.known_settings(&place(), &arn);
    for (told, tags_asked) in [(vec!["a".to_owned()], 2), (Vec::new(), 1)] {
        tokio::time::advance(Duration::from_hours(7)).await;
        assert_eq!(observer.sweep_settings(&places).await, told);
        assert!(observer.known_settings(&place(), &arn).is_some());
        let calls = calls(&cloud);
        assert_eq!(calls.iter().filter(|call| *call == "ListTagsForStream").count(), tags_asked);
    }
}

#[tokio::test(start_paused = true)]
async fn alarms_are_read_by_one_sweep_and_ours_are_known_at_once() {
    let cloud = FakeCloud::default();
    let observer = observer(&cloud);
    let alarm = fake::alarm("streamfleet/x/a/NoIngest");
    assert_eq!(observer.sweep_alarms(&place()).await.unwrap(), Vec::<String>::new());
    assert_eq!(calls(&cloud), Vec::<String>::new(), "nobody has asked for alarms");
    assert_eq!(observer.alarms(&place(), "a").await.unwrap(), []);
    assert_eq!(calls(&cloud), ["DescribeAlarms", "DescribeAlarms"], "metric and composite ones");
    observer.note_alarm(&place(), &alarm);
    let known = observer.alarms(&place(), "a").await.unwrap();
    assert_eq!(known[0].alarm, alarm);
    assert_eq!(known[0].arn, format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{}", alarm.name));
    assert_eq!(calls(&cloud), Vec::<String>::new());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(observer.sweep_alarms(&place()).await.unwrap(), ["a"], "it is not there");
    assert_eq!(observer.alarms(&place(), "a").await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_a_list_for_one_object_finds_about_others_is_told_by_the_next_sweep() {
    let cloud = FakeCloud::default();
    for name in ["a", "b"] {
        cloud.state().put(name, 24, BTreeMap::new());
    }
    let observer = observer(&cloud);
    observer.cached(&place(), "a").await.unwrap();
    assert_eq!(observer.sweep(&place()).await.unwrap(), Vec::<String>::new(), "nobody had gone by less");

    cloud.state().streams.get_mut("b").unwrap().0.retention_hours = 48;
    tokio::time::advance(Duration::from_secs(181)).await;
    observer.cached(&place(), "a").await.unwrap();
    assert_eq!(observer.sweep(&place()).await.unwrap(), ["b"]);
    assert_eq!(observer.sweep(&place()).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_failed_list_is_told_and_the_next_one_tries_again() {
    let cloud = FakeCloud::default();
    cloud.state().fail = Some(("ListStreams", ErrorKind::Unreachable, false));
    let observer = observer(&cloud);
    assert_eq!(observer.cached(&place(), "a").await.unwrap_err().kind, ErrorKind::Unreachable);
    assert!(observer.cached(&place(), "a").await.is_ok());
}
