//! Stores received fragments after the delay that stands for the service's own, in order, and acknowledges each.
//!
//! A persister outlives its session: what was received is stored although the client has gone.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use streamfleet_media::ack::{Ack, AckKind, ErrorId};
use tokio::{
    sync::mpsc::{self, WeakUnboundedSender},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    number::FragmentNumber,
    service::Service,
    store::{Stream, media::PersistError},
    wire::Cut,
};

/// A fragment that is received and waits to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Its number.
    pub number: FragmentNumber,
    /// Its cluster's time, for the acknowledgement.
    pub timecode: u64,
}

/// The handle of a session on its persister.
#[derive(Debug)]
pub struct Persister {
    queue: Option<mpsc::UnboundedSender<(Pending, Instant)>>,
    task: JoinHandle<()>,
    failed: CancellationToken,
    /// Cancelled when the client is to hear of nothing more.
    muted: CancellationToken,
    delay: RangeInclusive<Duration>,
}

impl Persister {
    /// Starts one. Acknowledgements go to `acks` as long as somebody listens.
    pub fn start(
        service: &Service,
        stream: &Arc<Stream>,
        acks: WeakUnboundedSender<Result<Bytes, Cut>>,
    ) -> Self {
        let (queue, pending) = mpsc::unbounded_channel();
        let failed = CancellationToken::new();
        let muted = CancellationToken::new();
        let worker = Worker {
            stream: stream.clone(),
            acks,
            shutdown: service.shutdown.clone(),
            failed: failed.clone(),
            muted: muted.clone(),
        };
        let task = service.tasks.spawn(worker.run(pending));
        Self { queue: Some(queue), task, failed, muted, delay: service.options.persist_delay.clone() }
    }

    /// Has a fragment stored after the delay, drawn anew for each.
    pub fn store(&self, pending: Pending) {
        let (from, to) = (self.delay.start().as_millis() as u64, self.delay.end().as_millis() as u64);
        let delay = Duration::from_millis(fastrand::u64(from..=to.max(from)));
        if let Some(queue) = &self.queue {
            // The worker ends early only when storing has failed, which ends the session too.
            let _ = queue.send((pending, Instant::now() + delay));
        }
    }

    /// Waits until everything is stored; nothing more may be given to it.
    pub async fn finish(&mut self) {
        self.queue = None;
        let _ = (&mut self.task).await;
    }

    /// Says nothing more to the client, as after an error; what was received is stored all the same.
    pub fn mute(&self) {
        self.muted.cancel();
    }

    /// Cancelled when a fragment could not be stored.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }
}

struct Worker {
    stream: Arc<Stream>,
    acks: WeakUnboundedSender<Result<Bytes, Cut>>,
    shutdown: CancellationToken,
    failed: CancellationToken,
    muted: CancellationToken,
}

impl Worker {
    async fn run(self, mut pending: mpsc::UnboundedReceiver<(Pending, Instant)>) {
        while let Some((fragment, due)) = pending.recv().await {
            tokio::select! {
                () = sleep_until(due) => {}
                // No time is left to play slow.
                () = self.shutdown.cancelled() => {}
            }
            let stream = self.stream.clone();
            let stored = tokio::task::spawn_blocking(move || stream.media.persist(fragment.number)).await;
            match stored {
                Ok(Ok(())) => self.acknowledge(AckKind::Persisted, fragment, None),
                // Purged or deleted before its turn: there is nothing to acknowledge.
                Ok(Err(PersistError::Deleted | PersistError::Unknown)) => {}
                Ok(Err(PersistError::Write(error))) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "A fragment was not stored");
                    return self.fail(fragment);
                }
                Err(_) => return self.fail(fragment),
            }
        }
    }

    fn fail(&self, fragment: Pending) {
        self.acknowledge(AckKind::Error, fragment, Some(ErrorId::ArchivalError));
        self.failed.cancel();
    }

    fn acknowledge(&self, kind: AckKind, fragment: Pending, error: Option<ErrorId>) {
        let ack = Ack {
            kind,
            timecode: Some(fragment.timecode as i64),
            number: fragment.number.to_string().parse().ok(),
            error,
            error_code: error.map(|error| error.name().to_owned()),
        };
        if let Some(acks) = self.acks.upgrade()
            && !self.muted.is_cancelled()
        {
            // Nobody may be listening any more.
            let _ = acks.send(Ok(Bytes::from(ack.to_line())));
        }
    }
}
