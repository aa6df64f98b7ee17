//! RTP and its reports in datagrams: a pair of sockets for each track, order, and reports to the sender.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::task::{Context, Poll};
use std::time::Duration;

use streamfleet_contract::SourceReason;
use streamfleet_media::rtp::Packet;
use streamfleet_media::rtp::reorder::{Order, Reorder};

use super::offer::Transport;
use super::player::Player;
use crate::source::SourceError;
use crate::source::tick::TickedDatagrams;

/// The largest datagram that is taken: more than any network in use carries in one piece.
const DATAGRAM_BYTES_MAX: usize = 16 << 10;

/// How often a pair of ports is tried for.
const PAIR_TRIES: usize = 64;

/// How often the sender is told how its packets come in (RFC 3550 §6.2).
pub(super) const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The sockets of all tracks.
#[derive(Debug)]
pub(super) struct Datagrams {
    lines: Vec<Line>,
    buffer: Box<[u8]>,
    /// Who we are in reports.
    ssrc: u32,
}

/// The sockets of one track.
#[derive(Debug)]
struct Line {
    media: TickedDatagrams,
    reports: TickedDatagrams,
    /// Where media and reports come from.
    sender: Option<(SocketAddr, SocketAddr)>,
    order: Reorder<()>,
}

/// A datagram in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    track: usize,
    is_report: bool,
    length: usize,
}

impl Datagrams {
    pub(super) fn new() -> Self {
        let buffer = vec![0; DATAGRAM_BYTES_MAX].into();
        Self { lines: Vec::new(), buffer, ssrc: fastrand::u32(..) }
    }

    /// Opens the sockets of the next track, and gives the `Transport` header that asks for them.
    pub(super) fn open(&mut self, peer: IpAddr) -> Result<String, SourceError> {
        let (media, reports, port) = bind_pair(peer).map_err(|error| {
            let message = format!("no pair of UDP ports is free: {}", error.kind());
            SourceError::new(SourceReason::Unreachable, message)
        })?;
        self.lines.push(Line { media, reports, sender: None, order: Reorder::default() });
        Ok(format!("RTP/AVP;unicast;client_port={port}-{}", port + 1))
    }

    /// Closes the sockets of the last track.
    pub(super) fn close_last(&mut self) {
        self.lines.pop();
    }

    /// Learns where the last track comes from.
    pub(super) fn agreed(&mut self, transport: &Transport, peer: IpAddr) {
        let address = transport.source.filter(|source| !source.is_unspecified()).unwrap_or(peer);
        if let (Some(line), Some([media, reports])) = (self.lines.last_mut(), transport.server_ports) {
            line.sender = Some((SocketAddr::new(address, media), SocketAddr::new(address, reports)));
        }
    }

    /// Tells the senders how their packets come in. It opens the way through firewalls as well, as does a packet without
    /// content to where the media comes from.
    pub(super) fn report(&mut self, player: &mut Player) {
        for (track, line) in self.lines.iter().enumerate() {
            let Some((media, reports)) = line.sender else { continue };
            let report = player.receiver_report(track, self.ssrc).unwrap_or_default();
            let mut empty = [0; 12];
            empty[0] = 0x80;
            empty[8..].copy_from_slice(&self.ssrc.to_be_bytes());
            // What does not arrive is told again.
            _ = line.reports.send_to(&report, reports);
            _ = line.media.send_to(&empty, media);
        }
    }

    /// The next datagram. Nothing is lost when this is dropped before it is ready.
    pub(super) async fn next(&mut self) -> io::Result<Datagram> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next datagram, if there is one now.
    pub(super) async fn next_now(&mut self) -> io::Result<Option<Datagram>> {
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Datagram>> {
        for (track, line) in self.lines.iter_mut().enumerate() {
            for (socket, is_report) in [(&mut line.media, false), (&mut line.reports, true)] {
                while let Poll::Ready(received) = socket.poll_recv_from(cx, &mut self.buffer) {
                    let (length, from) = match received {
                        Ok(received) => received,
                        // A datagram of ours was refused: the port may open yet.
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                        Err(error) => return Poll::Ready(Err(error)),
                    };
                    if line.sender.is_none_or(|(sender, _)| sender.ip() == from.ip()) {
                        return Poll::Ready(Ok(Datagram { track, is_report, length }));
                    }
                }
            }
        }
        Poll::Pending
    }

    /// Hands a datagram on, in its turn.
    pub(super) fn take(&mut self, datagram: Datagram, at: Duration, player: &mut Player) {
        let Datagram { track, is_report, length } = datagram;
        let (Some(line), Some(bytes)) = (self.lines.get_mut(track), self.buffer.get(..length)) else {
            return;
        };
        if is_report {
            return player.take_report(track, bytes);
        }
        let Some(packet) = Packet::parse(bytes) else { return player.take_media(track, bytes) };
        player.measure(track, &packet);
        match line.order.take(packet.sequence, bytes, (), at) {
            Order::Now => player.take_media(track, bytes),
            Order::Far => {
                for (waited, ()) in line.order.drain() {
                    player.take_media(track, &waited);
                }
                line.order.take(packet.sequence, &[], (), at);
                player.take_media(track, bytes);
            }
            Order::Waits | Order::Old => {}
        }
    }

    /// Hands on what has waited for its turn, or long enough.
    pub(super) fn take_waiting(&mut self, at: Duration, player: &mut Player) {
        for (track, line) in self.lines.iter_mut().enumerate() {
            while let Some((bytes, ())) = line.order.pop(at) {
                player.take_media(track, &bytes);
            }
        }
    }

    /// When a packet has waited long enough for the one before it.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        self.lines.iter().filter_map(|line| line.order.wake_at()).min()
    }
}

/// Two sockets with ports next to each other, the first one even (RFC 3550 §11).
fn bind_pair(peer: IpAddr) -> io::Result<(TickedDatagrams, TickedDatagrams, u16)> {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    for _ in 0..PAIR_TRIES {
        let first = UdpSocket::bind((any, 0))?;
        let port = first.local_addr()?.port();
        if port % 2 == 0
            && let Ok(second) = UdpSocket::bind((any, port + 1))
        {
            return Ok((TickedDatagrams::new(first)?, TickedDatagrams::new(second)?, port));
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
