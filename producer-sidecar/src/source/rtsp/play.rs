//! A connection that plays: what comes is handed on, the session is kept alive, and silence is noticed.

use std::pin::pin;
use std::time::Duration;

use streamfleet_contract::SourceReason;
use streamfleet_media::rtp::message::{Kind, Message};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::datagrams::{Datagram, Datagrams, REPORT_EVERY};
use super::player::{Life, Player};
use crate::clock::Clock;
use crate::source::outlet::{Closed, Outlet};
use crate::source::{Ending, SourceError};

/// After how long without anything from the camera it is asked whether it is there, and how long it may take to answer.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a camera may take to end the session.
pub(super) const TEARDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// So many reads are one batch at most: then pictures are handed on even if more bytes are there.
const READS_MAX: usize = 16;

/// What keeps the session alive, with which request.
const OPTIONS: &str = "OPTIONS";
const GET_PARAMETER: &str = "GET_PARAMETER";

/// A connection that plays.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) connection: Connection,
    pub(super) player: Player,
    /// Absent where packets come within the connection.
    pub(super) datagrams: Option<Datagrams>,
    /// What the session is named by in requests.
    pub(super) url: String,
    /// Why sound that is offered is not taken; empty where it is.
    pub(super) left_out: String,
    pub(super) clock: Clock,
    pub(super) keep_alive: KeepAlive,
}

/// When and how the server is told that somebody still looks.
#[derive(Debug)]
pub(super) struct KeepAlive {
    every: Duration,
    next: Duration,
    method: &'static str,
    /// The number of the request that has no answer yet, when it was sent, and how often it was challenged.
    waiting: Option<(u32, Duration, u32)>,
    next_report: Duration,
}

impl KeepAlive {
    /// Begins with what also says which methods there are.
    pub(super) fn new(every: Duration, now: Duration) -> Self {
        Self { every, next: now, method: OPTIONS, waiting: None, next_report: now }
    }
}

enum Heard {
    Connection(Result<(), SourceError>),
    Datagram(std::io::Result<Datagram>),
}

impl Playing {
    /// Plays until the connection ends or is to stop; then hands on what is left.
    pub(super) async fn run(
        mut self,
        outlet: &mut Outlet,
        stop: &CancellationToken,
    ) -> Result<Ending, Closed> {
        let ending = self.play(outlet, stop).await?;
        let is_connected =
            !matches!(&ending, Ending::Failed(error) if error.reason == SourceReason::Disconnected);
        if is_connected {
            // A session that is left behind takes the next one's place at some cameras. It is over either way.
            _ = timeout(TEARDOWN_TIMEOUT, self.tear_down()).await;
        }
        self.player.close();
        self.player.deliver(outlet).await?;
        Ok(ending)
    }

    async fn play(&mut self, outlet: &mut Outlet, stop: &CancellationToken) -> Result<Ending, Closed> {
        let mut stopped = pin!(stop.cancelled());
        let mut check_at = self.check_at();
        let mut check = pin!(sleep_until(self.clock.instant(check_at).into()));
        loop {
            let done = tokio::select! {
                biased;
                () = &mut stopped => return Ok(Ending::Stopped),
                () = &mut check => {
                    check_at = Duration::MAX;
                    self.check().await
                }
                heard = hear(&mut self.connection, self.datagrams.as_mut()) => self.take_in(heard).await,
            };
            // What came before the end is handed on first.
            self.player.deliver(outlet).await?;
            if let Err(error) = done {
                return Ok(error.into());
            }
            let due = self.check_at();
            if due < check_at {
                check_at = due;
                check.as_mut().reset(self.clock.instant(due).into());
            }
        }
    }

    /// Takes in all that has come, and gives out what is whole then.
    async fn take_in(&mut self, heard: Heard) -> Result<(), SourceError> {
        self.player.read_now();
        let result = match heard {
            Heard::Connection(read) => self.take_reads(read).await,
            Heard::Datagram(datagram) => self.take_datagrams(datagram).await,
        };
        self.player.release();
        result?;
        self.player.fault().map_or(Ok(()), Err)
    }

    async fn take_reads(&mut self, read: Result<(), SourceError>) -> Result<(), SourceError> {
        read?;
        for _ in 0..READS_MAX {
            self.take_items().await?;
            if !self.connection.fill_now().await? {
                return Ok(());
            }
        }
        self.take_items().await
    }

    async fn take_items(&mut self) -> Result<(), SourceError> {
        while let Some(message) = self.connection.next_message(&mut self.player)? {
            self.take_message(&message).await?;
        }
        Ok(())
    }

    async fn take_datagrams(&mut self, first: std::io::Result<Datagram>) -> Result<(), SourceError> {
        let Some(datagrams) = &mut self.datagrams else { return Ok(()) };
        let failed = |error: std::io::Error| {
            let message = format!("the camera's datagrams cannot be read: {}", error.kind());
            SourceError::new(SourceReason::Disconnected, message)
        };
        let at = self.clock.now().mono;
        let mut next = Some(first.map_err(failed)?);
        while let Some(datagram) = next {
            datagrams.take(datagram, at, &mut self.player);
            datagrams.take_waiting(at, &mut self.player);
            next = datagrams.next_now().await.map_err(failed)?;
        }
        Ok(())
    }

    /// Answers to keep-alives, and what the server wants.
    async fn take_message(&mut self, message: &Message) -> Result<(), SourceError> {
        let gone = |what: &str| Err(SourceError::new(SourceReason::Disconnected, what));
        let now = self.clock.now().mono;
        self.player.life.other = now;
        let status = match &message.kind {
            Kind::Request(method) if method == "TEARDOWN" || method == "REDIRECT" => {
                return gone("the camera ended the session");
            }
            Kind::Request(_) => return self.connection.agree(message).await,
            Kind::Response(status) => *status,
        };
        let Some((number, _, challenges)) = self.keep_alive.waiting else { return Ok(()) };
        if message.sequence().is_some_and(|sequence| sequence != number) {
            return Ok(());
        }
        self.keep_alive.waiting = None;
        match status {
            401 => {
                self.connection.challenged(message, challenges)?;
                self.keep_alive(challenges + 1).await
            }
            454 => gone("the camera has forgotten the session"),
            200..300 => {
                // RFC 2326 §10.1: what the server knows. A camera that says nothing gets what it has answered.
                let known = message.header("Public").unwrap_or_default();
                if known.split(',').any(|method| method.trim().eq_ignore_ascii_case(GET_PARAMETER)) {
                    self.keep_alive.method = GET_PARAMETER;
                }
                Ok(())
            }
            _ => {
                self.keep_alive.method = OPTIONS;
                Ok(())
            }
        }
    }

    async fn keep_alive(&mut self, challenges: u32) -> Result<(), SourceError> {
        let now = self.clock.now().mono;
        let number = self.connection.send(self.keep_alive.method, &self.url, &[]).await?;
        self.keep_alive.waiting = Some((number, now, challenges));
        self.keep_alive.next = now + self.keep_alive.every;
        Ok(())
    }

    /// When [`Playing::check`] has something to do.
    fn check_at(&self) -> Duration {
        let life = &self.player.life;
        let reports = self.datagrams.as_ref().map(|_| self.keep_alive.next_report);
        let waiting = self.datagrams.as_ref().and_then(Datagrams::wake_at);
        let other = [reports, waiting].into_iter().flatten().min().unwrap_or(Duration::MAX);
        self.keep_alive.next.min(life.silent_at()).min(self.probe_at()).min(other)
    }

    /// When the camera is asked whether it is there, or has not answered that.
    fn probe_at(&self) -> Duration {
        let life = &self.player.life;
        let heard = life.heard();
        match self.keep_alive.waiting {
            Some((_, asked, _)) if asked > heard => asked + PROBE_TIMEOUT,
            _ => heard + PROBE_AFTER,
        }
    }

    /// What is due by the passing of time.
    async fn check(&mut self) -> Result<(), SourceError> {
        let now = self.clock.now().mono;
        self.player.read_now();
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.take_waiting(now, &mut self.player);
            self.player.release();
            if now >= self.keep_alive.next_report {
                datagrams.report(&mut self.player);
                self.keep_alive.next_report = now + REPORT_EVERY;
            }
        }
        let asked = self.keep_alive.waiting.map(|(_, asked, _)| asked);
        if let Some(error) = silence(&self.player.life, asked, self.datagrams.is_some(), now) {
            return Err(error);
        }
        if now >= self.keep_alive.next || now >= self.probe_at() {
            self.keep_alive(0).await?;
        }
        Ok(())
    }

    /// Ends the session, and takes in what was under way until the server has agreed.
    async fn tear_down(&mut self) -> Result<(), SourceError> {
        let number = self.connection.send("TEARDOWN", &self.url, &[]).await?;
        loop {
            while let Some(message) = self.connection.next_message(&mut self.player)? {
                let is_answer = matches!(message.kind, Kind::Response(_));
                if is_answer && message.sequence().is_none_or(|sequence| sequence >= number) {
                    return Ok(());
                }
            }
            self.connection.fill().await?;
            self.player.read_now();
        }
    }
}

/// Why the camera counts as silent, if it does. `asked` is when it was asked something that it has not answered.
fn silence(life: &Life, asked: Option<Duration>, by_datagrams: bool, now: Duration) -> Option<SourceError> {
    let quiet = now.saturating_sub(life.picture);
    let message = if asked.is_some_and(|asked| asked > life.heard() && now >= asked + PROBE_TIMEOUT) {
        format!("the camera neither sends nor answers for {PROBE_TIMEOUT:?}")
    } else if by_datagrams && life.packet.is_none() && quiet >= PROBE_AFTER {
        "no packet comes over UDP: a firewall may be between; choose TCP as the transport".to_owned()
    } else if now >= life.silent_at() {
        format!("no picture for {} s", quiet.as_secs())
    } else {
        return None;
    };
    Some(SourceError::new(SourceReason::Silent, message))
}

async fn hear(connection: &mut Connection, datagrams: Option<&mut Datagrams>) -> Heard {
    match datagrams {
        None => Heard::Connection(connection.fill().await),
        Some(datagrams) => tokio::select! {
            read = connection.fill() => Heard::Connection(read),
            datagram = datagrams.next() => Heard::Datagram(datagram),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_missing_is_said() {
        let start = SECOND * 1_000;
        let life = Life::begin(start);
        let message = |life: &Life, asked: Option<Duration>, by_datagrams, after: u32| {
            silence(life, asked, by_datagrams, start + SECOND * after).map(|error| error.message)
        };
        assert_eq!(message(&life, None, false, 29), None);
        assert!(message(&life, None, false, 30).unwrap().contains("no picture for 30 s"));
        assert_eq!(message(&life, None, true, 9), None);
        assert!(message(&life, None, true, 10).unwrap().contains("UDP"));
        let mut packets = life.clone();
        packets.packet = Some(start + SECOND);
        assert_eq!(message(&packets, None, true, 10), None);
        let asked = Some(start + SECOND * 10);
        assert_eq!(message(&packets, asked, false, 19), None);
        assert!(message(&packets, asked, false, 20).unwrap().contains("neither sends nor answers"));
        let mut answered = packets;
        answered.other = start + SECOND * 11;
        assert_eq!(message(&answered, asked, false, 20), None);
    }
}
