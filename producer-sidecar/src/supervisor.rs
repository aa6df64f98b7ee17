//! Keeps one task for each configured feed: starts, reconfigures and stops them as the configuration says, and starts
//! again what has panicked. No feed can stop another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use streamfleet_contract::{Configuration, Feed};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::board::Board;
use crate::buffer::pool::Pool;
use crate::clock::Clock;
use crate::feed::{self, FeedContext};
use crate::metrics::Metrics;
use crate::upload::Shared;

/// A feed that has panicked is started again after this time.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// All feeds of the process.
#[derive(Debug)]
pub struct Supervisor {
    clock: Clock,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    board: Arc<Board>,
    metrics: Metrics,
    drain: Duration,
    feeds: HashMap<String, Running>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Running {
    configured: watch::Sender<Feed>,
    stop: CancellationToken,
}

impl Supervisor {
    /// Without feeds. A stopped feed may take `drain` to have everything stored.
    pub fn new(board: Arc<Board>, metrics: Metrics, drain: Duration) -> Self {
        Self {
            clock: Clock::start(),
            pool: Pool::new(0),
            shared: Arc::default(),
            board,
            metrics,
            drain,
            feeds: HashMap::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Brings the feeds into line with a configuration. Feeds that did not change are not touched.
    pub fn apply(&mut self, configuration: &Configuration) {
        self.pool.set_budget(configuration.process.memory_budget_bytes);
        let wanted: HashMap<&str, &Feed> =
            configuration.feeds.iter().map(|feed| (feed.id.as_str(), feed)).collect();
        // Another stream is another feed: what is buffered belongs to the old one.
        let gone = self.feeds.extract_if(|id, running| {
            wanted
                .get(id.as_str())
                .is_none_or(|feed| feed.stream.arn != running.configured.borrow().stream.arn)
        });
        let gone: Vec<_> = gone.collect();
        for (id, running) in gone {
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
                None => self.start(feed),
            }
        }
    }

    /// Stops all feeds and waits until they have everything stored, or their time for that is up.
    pub async fn stop(self) {
        for running in self.feeds.values() {
            running.stop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn start(&mut self, feed: &Feed) {
        let (configured, receiver) = watch::channel(feed.clone());
        let stop = CancellationToken::new();
        let ctx = FeedContext {
            clock: self.clock,
            pool: Arc::clone(&self.pool),
            shared: Arc::clone(&self.shared),
            post: self.board.add(feed, self.clock.now().wall_ms),
            metrics: self.metrics.feed(&feed.id, &feed.name),
            drain: self.drain,
        };
        self.tasks.spawn(supervise(ctx, receiver, stop.clone()));
        self.feeds.insert(feed.id.clone(), Running { configured, stop });
    }
}

/// Runs a feed, and again when it panics: its buffer is lost then, and nothing else.
async fn supervise(ctx: FeedContext, configured: watch::Receiver<Feed>, stop: CancellationToken) {
    loop {
        let run = tokio::spawn(feed::run(ctx.clone(), configured.clone(), stop.clone()));
        match run.await {
            Err(error) if error.is_panic() => {
                tracing::error!(
                    feed = configured.borrow().name,
                    "The feed failed by a defect and is started again"
                );
                if stop.run_until_cancelled(sleep(RESTART_AFTER)).await.is_none() {
                    return;
                }
            }
            // It has ended, or the runtime has.
            Ok(()) | Err(_) => return,
        }
    }
}
