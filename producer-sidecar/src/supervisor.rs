//! Keeps one task for each configured feed: starts, reconfigures and stops them as the configuration says, and starts
//! again what has panicked. No feed can stop another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use streamfleet_contract::{self as contract, Configuration, Feed};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::buffer::pool::Pool;
use crate::clock::Clock;
use crate::feed::gaps::GapBook;
use crate::feed::record::Record;
use crate::feed::{self, FeedContext, UplinkShare};
use crate::metrics::{FeedMetrics, Metrics};
use crate::spool::Spool;
use crate::upload::Shared;

/// A feed that has panicked is started again after this time.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// All feeds of the process.
#[derive(Debug)]
pub struct Supervisor {
    clock: Clock,
    pool: Arc<Pool>,
    spool: Option<(contract::Spool, Spool)>,
    uplink: Arc<UplinkShare>,
    shared: Arc<Shared>,
    board: Arc<Board>,
    metrics: Metrics,
    drain: Duration,
    is_configured: bool,
    feeds: HashMap<String, Running>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Running {
    configured: watch::Sender<Feed>,
    stop: CancellationToken,
    record: Record,
    metrics: FeedMetrics,
}

impl Supervisor {
    /// Without feeds. A stopped feed may take `drain` to have everything stored.
    pub fn new(board: Arc<Board>, metrics: Metrics, drain: Duration) -> Self {
        Self {
            clock: Clock::start(),
            pool: Pool::new(0),
            spool: None,
            uplink: Arc::default(),
            shared: Arc::default(),
            board,
            metrics,
            drain,
            is_configured: false,
            feeds: HashMap::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Brings the feeds into line with a configuration. Feeds that did not change are not touched.
    pub fn apply(&mut self, configuration: &Configuration) {
        self.apply_process(&configuration.process);
        let wanted: HashMap<&str, &Feed> =
            configuration.feeds.iter().map(|feed| (feed.id.as_str(), feed)).collect();
        // Another stream is another feed: what is buffered belongs to the old one.
        let gone = self.feeds.extract_if(|id, running| {
            wanted
                .get(id.as_str())
                .is_none_or(|feed| feed.stream.arn != running.configured.borrow().stream.arn)
        });
        let gone: Vec<_> = gone.collect();
        let mut books = HashMap::new();
        for (id, running) in gone {
            if wanted.contains_key(id.as_str()) {
                running.record.replace();
                books.insert(id.clone(), running.record.book());
            } else {
                running.metrics.forget();
            }
            running.stop.cancel();
            self.board.remove(&id);
        }
        for feed in &configuration.feeds {
            match self.feeds.get(&feed.id) {
                Some(running) => {
                    running.configured.send_if_modified(|current| {
                        let changed = current != feed;
                        if changed {
                            current.clone_from(feed);
                        }
                        changed
                    });
                }
                None => self.start(feed, books.remove(&feed.id).unwrap_or_default()),
            }
        }
    }

    fn apply_process(&mut self, process: &contract::Process) {
        self.pool.set_budget(process.memory_budget_bytes);
        self.uplink.set(process.uplink.as_ref().map(|uplink| uplink.catch_up_bytes_per_second));
        let is_first = !std::mem::replace(&mut self.is_configured, true);
        match (&process.spool, &mut self.spool) {
            (Some(settings), None) if is_first => {
                let spool = Spool::start(settings, Arc::clone(&self.board), self.metrics.clone());
                self.spool = Some((settings.clone(), spool));
            }
            (Some(settings), Some((before, spool)))
                if (&settings.path, settings.mode) == (&before.path, before.mode) =>
            {
                spool.set_max_bytes(settings.max_bytes);
                before.max_bytes = settings.max_bytes;
            }
            (None, None) => {}
            _ => tracing::warn!("The spool was configured otherwise: that holds from the next start on"),
        }
    }

    /// Stops all feeds and waits until they have everything stored, or their time for that is up.
    pub async fn stop(self) {
        for running in self.feeds.values() {
            running.stop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
        if let Some((_, spool)) = self.spool {
            spool.close().await;
        }
    }

    fn start(&mut self, feed: &Feed, book: GapBook) {
        let (configured, receiver) = watch::channel(feed.clone());
        let stop = CancellationToken::new();
        let post = self.board.add(feed, self.clock.now().wall_ms);
        let metrics = self.metrics.feed(&feed.id, &feed.name);
        let record = Record::new(book, post.clone(), metrics.clone());
        let ctx = FeedContext {
            clock: self.clock,
            pool: Arc::clone(&self.pool),
            spool: self.spool.as_ref().map(|(_, spool)| spool.clone()),
            uplink: Arc::clone(&self.uplink),
            shared: Arc::clone(&self.shared),
            post,
            record: record.clone(),
            metrics: metrics.clone(),
            drain: self.drain,
        };
        let (name, stopped, failed) = (feed.name.clone(), stop.clone(), record.clone());
        let run = move || feed::run(ctx.clone(), receiver.clone(), stopped.clone());
        self.tasks.spawn(supervise(name, stop.clone(), failed, run));
        self.feeds.insert(feed.id.clone(), Running { configured, stop, record, metrics });
    }
}

/// Runs a feed, and again when it panics: what it held in memory alone is lost then, which is recorded, and nothing else.
async fn supervise<F>(name: String, stop: CancellationToken, record: Record, run: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match tokio::spawn(run()).await {
            Err(error) if error.is_panic() => {
                let ended = record.failed();
                let lost = ended.is_some();
                ended.iter().flatten().for_each(|gap| feed::tell_gap(&name, gap));
                tracing::error!(feed = name, lost, "The feed failed by a defect and is started again");
                if stop.run_until_cancelled(sleep(RESTART_AFTER)).await.is_none() {
                    return;
                }
            }
            // It has ended, or the runtime has.
            Ok(()) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use prometheus_client::registry::Registry;
    use streamfleet_contract::{GapReason, Process, SourceReason, SourceState};

    use super::*;

    fn feed(id: &str, arn: &str, revision: &str) -> Feed {
        serde_json::from_value(serde_json::json!({
            "id": id, "name": id, "revision": revision,
            "source": {"rtsp": {"url": "rtsp://127.0.0.1:1/live"}},
            "stream": {"arn": format!("arn:aws:kinesisvideo:eu-west-1:1:stream/{arn}/1"), "region": "eu-west-1"}
        }))
        .unwrap()
    }

    fn configuration(feeds: Vec<Feed>) -> Configuration {
        Configuration { schema_version: 1, process: Process::default(), feeds }
    }

    fn revisions(board: &Board) -> Vec<(String, String)> {
        board.status().feeds.into_iter().map(|feed| (feed.id, feed.revision)).collect()
    }

    /// Waits until the board shows what is wanted; each wait ends by a change of the board.
    async fn until(board: &Board, wanted: impl Fn(&Board) -> bool) {
        let mut generation = board.generation();
        let shown = async {
            while !wanted(board) {
                generation.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), shown).await.expect("the board shows it in time");
    }

    #[tokio::test]
    async fn feeds_are_added_changed_and_removed_without_touching_the_others() {
        let board = Board::new("i".to_owned());
        let metrics = Metrics::register(&mut Registry::default());
        let mut supervisor = Supervisor::new(Arc::clone(&board), metrics, Duration::from_secs(1));
        supervisor.apply(&configuration(vec![feed("a", "x", "1"), feed("b", "y", "1")]));
        let fails =
            |board: &Board| board.status().feeds.iter().all(|feed| feed.source.state == SourceState::Failed);
        until(&board, fails).await;
        assert_eq!(board.status().feeds[0].source.reason, SourceReason::Unreachable);
        let since = board.status().feeds[0].source.since_ms;

        supervisor.apply(&configuration(vec![feed("a", "x", "1"), feed("b", "y", "2"), feed("c", "z", "1")]));
        let wanted =
            [("a", "1"), ("b", "2"), ("c", "1")].map(|(id, revision)| (id.to_owned(), revision.to_owned()));
        until(&board, |board| revisions(board) == wanted).await;
        assert_eq!(board.status().feeds[0].source.since_ms, since, "a is not touched");

        supervisor.apply(&configuration(vec![feed("b", "other", "3")]));
        until(&board, |board| revisions(board) == [("b".to_owned(), "3".to_owned())]).await;
        tokio::time::timeout(Duration::from_secs(5), supervisor.stop())
            .await
            .expect("feeds without video stop at once");
    }

    #[tokio::test]
    async fn a_feed_that_panics_is_started_again_until_it_ends() {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let board = Board::new("i".to_owned());
        let post = board.add(&feed("a", "x", "1"), 0);
        let metrics = Metrics::register(&mut Registry::default()).feed("a", "a");
        let record = Record::new(GapBook::default(), post, metrics);
        record.risk.newest(5_000);
        record.risk.since(Some(3_000));
        let run = move || {
            let runs = Arc::clone(&counted);
            async move { assert!(runs.fetch_add(1, Ordering::Relaxed) > 0, "the first run fails") }
        };
        supervise("a".to_owned(), CancellationToken::new(), record, run).await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        let gaps = &board.status().feeds[0].gaps;
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].start_ms, gaps[0].end_ms), (3_000, None), "it ends with the next key frame");
        assert_eq!(gaps[0].reason, GapReason::InternalError);
    }
}
