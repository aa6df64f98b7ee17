//! One connection to an RTSP server, from its beginning to its end (RFC 2326): DESCRIBE, SETUP, PLAY, and why it ended.
//!
//! The client is our own, since no crate gives a hold on its socket, which is what makes one process for many cameras cheap
//! ([`super::tick`]), and none speaks RTSPS. What the bytes mean is decided in `streamfleet_media::rtp`, without I/O.

mod address;
mod connection;
mod datagrams;
mod login;
mod offer;
mod play;
mod player;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use streamfleet_contract::{Audio, RtspSource, RtspTransport, SourceReason};
use streamfleet_media::rtp::message::{Kind, Message};
use streamfleet_media::rtp::sdp::resolve;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::address::Address;
use self::connection::{Connection, NoPackets, refusal};
use self::datagrams::Datagrams;
use self::login::Login;
use self::offer::{Choice, Transport, session, unsupported};
use self::play::{KeepAlive, Playing, TEARDOWN_TIMEOUT};
use self::player::Player;
use self::stream::Stream;
use super::credentials::Credentials;
use super::outlet::{Closed, Outlet};
use super::{Ending, SourceError};
use crate::clock::Clock;

/// How often a camera may send us elsewhere.
const REDIRECTS_MAX: usize = 5;

/// After how long a session ends without a sign of life where the server does not say (RFC 2326 §12.37), and the least that
/// is believed: some cameras write nonsense.
const SESSION_TIMEOUT: u64 = 60;
const SESSION_TIMEOUT_MIN: u64 = 1;

/// Plays a camera once: from the connection's beginning to its end.
pub async fn run(
    source: &RtspSource,
    audio: Audio,
    credentials: Option<Credentials>,
    outlet: &mut Outlet,
    stop: &CancellationToken,
) -> Result<Ending, Closed> {
    match open(source, audio, credentials, outlet.clock(), stop).await {
        Ok(Some(playing)) => {
            outlet.leave_out(playing.left_out.clone());
            playing.run(outlet, stop).await
        }
        Ok(None) => Ok(Ending::Stopped),
        Err(error) => Ok(error.into()),
    }
}

/// Connects, logs in, chooses the media and starts them; `None` when it is stopped before.
async fn open(
    source: &RtspSource,
    audio: Audio,
    credentials: Option<Credentials>,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<Option<Playing>, SourceError> {
    let described = stop.run_until_cancelled(describe(source, audio, Login::new(credentials))).await;
    let Some(described) = described.transpose()? else { return Ok(None) };
    let Described { mut connection, peer, choice } = described;
    let mut player = Player::new(&choice.offers, clock).map_err(|error| unsupported(&error))?;
    let mut datagrams = (source.transport == RtspTransport::Udp).then(Datagrams::new);
    let started = {
        let mut starting = pin!(start(&mut connection, &choice, &mut player, datagrams.as_mut(), peer));
        match stop.run_until_cancelled(&mut starting).await {
            Some(started) => Some(started),
            // The answer that is on its way may name a session.
            None => timeout(TEARDOWN_TIMEOUT, starting).await.ok(),
        }
    };
    let seconds = match started.transpose() {
        Ok(Some(seconds)) => seconds,
        not_started => {
            // A session that is set up takes one of the camera's few places until it times out.
            if connection.session.is_some() {
                let asked = connection.ask("TEARDOWN", &choice.url, &[], &mut player);
                _ = timeout(TEARDOWN_TIMEOUT, asked).await;
            }
            return not_started.map(|_| None);
        }
    };
    connection.leave_reactor()?;
    let every = Duration::from_secs(seconds.max(SESSION_TIMEOUT_MIN)) / 2;
    let keep_alive = KeepAlive::new(every, clock.now().mono);
    let (url, left_out) = (choice.url, choice.left_out);
    Ok(Some(Playing { connection, player, datagrams, url, left_out, clock, keep_alive }))
}

/// Sets all tracks up and starts them; gives the session's timeout in seconds.
async fn start(
    connection: &mut Connection,
    choice: &Choice,
    player: &mut Player,
    mut datagrams: Option<&mut Datagrams>,
    peer: IpAddr,
) -> Result<u64, SourceError> {
    let mut timeout = SESSION_TIMEOUT;
    for track in 0..choice.offers.len() {
        let by_datagrams = datagrams.as_deref_mut().map(|datagrams| (datagrams, peer));
        match set_up(connection, choice, track, player, by_datagrams).await {
            Ok(seconds) => timeout = seconds.unwrap_or(timeout),
            // The pictures are what matters.
            Err(error) if track > 0 && error.reason == SourceReason::Refused => {
                player.leave_out_last();
                if let Some(datagrams) = &mut datagrams {
                    datagrams.close_last();
                }
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(datagrams) = datagrams {
        datagrams.report(player);
    }
    let answer = connection.ask("PLAY", &choice.url, &[("Range", "npt=0.000-")], player).await?;
    succeeded(&answer)?;
    Ok(timeout)
}

/// A connection to the server that has described what it offers.
struct Described {
    connection: Connection,
    peer: IpAddr,
    choice: Choice,
}

/// Asks the server what it offers, or the one that it names instead.
async fn describe(source: &RtspSource, audio: Audio, mut login: Login) -> Result<Described, SourceError> {
    let mut address = Address::parse(&source.url)?;
    for _ in 0..=REDIRECTS_MAX {
        let (stream, peer) = Stream::connect(&address, source.tls.as_ref()).await?;
        let mut connection = Connection::new(stream, login);
        let accept = [("Accept", "application/sdp")];
        let answer = connection.ask("DESCRIBE", &address.url, &accept, &mut NoPackets).await?;
        let Kind::Response(301 | 302 | 303 | 305 | 307 | 308) = answer.kind else {
            succeeded(&answer)?;
            let choice = Choice::from_answer(&answer, &address.url, audio)?;
            return Ok(Described { connection, peer: peer.ip(), choice });
        };
        let location = answer.header("Location").ok_or_else(|| {
            SourceError::new(SourceReason::Refused, "the camera sends us elsewhere, but does not say where")
        })?;
        let next = Address::parse(location)?;
        let is_same = (&next.host, next.tls || !address.tls) == (&address.host, true);
        login = connection.into_login();
        if !is_same {
            login = login.elsewhere();
        }
        address = next;
    }
    Err(SourceError::new(SourceReason::Refused, "the camera sends us elsewhere again and again"))
}

/// Sets one track up; gives the session's timeout in seconds, where the server says one.
async fn set_up(
    connection: &mut Connection,
    choice: &Choice,
    track: usize,
    player: &mut Player,
    mut datagrams: Option<(&mut Datagrams, IpAddr)>,
) -> Result<Option<u64>, SourceError> {
    let control = choice.offers.get(track).and_then(|offer| offer.control.as_deref());
    let url = resolve(&choice.base, control);
    let wanted = match &mut datagrams {
        Some((datagrams, peer)) => datagrams.open(*peer)?,
        None => format!("RTP/AVP/TCP;unicast;interleaved={}-{}", track * 2, track * 2 + 1),
    };
    let answer = connection.ask("SETUP", &url, &[("Transport", &wanted)], player).await?;
    succeeded(&answer)?;
    let transport = Transport::parse(answer.header("Transport").unwrap_or_default());
    match &mut datagrams {
        Some((datagrams, peer)) => datagrams.agreed(&transport, *peer),
        None => {
            if let Some(channels) = player.channels(track) {
                *channels = transport.channels.unwrap_or(*channels);
                connection.expect(*channels);
            }
        }
    }
    let Some((name, timeout)) = answer.header("Session").map(session) else { return Ok(None) };
    // The first one, which all tracks belong to: some cameras name a new one for each.
    connection.session.get_or_insert(name);
    Ok(timeout)
}

fn succeeded(answer: &Message) -> Result<(), SourceError> {
    match answer.kind {
        Kind::Response(200..300) => Ok(()),
        Kind::Response(status) => Err(refusal(status)),
        Kind::Request(_) => {
            Err(SourceError::new(SourceReason::InvalidMedia, "the camera asks instead of answering"))
        }
    }
}
