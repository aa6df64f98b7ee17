//! Media over RTP (RFC 3550) as RTSP servers send it: from packets to whole pictures and pieces of sound.
//!
//! Owns the packets' and reports' form ([`packet`], [`rtcp`]), their order ([`sequence`], [`reorder`]), the media clock
//! ([`clock`]), what an SDP offers ([`sdp`]), RTSP messages and packets within one connection ([`framing`],
//! [`message`]), and the payload formats of H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640) and G.711 (RFC 3551).
//! A [`Receiver`] is one track of one connection. Sockets, requests and time belong to the producer.
//!
//! No input makes anything here panic, and everything that is kept has a bound.

mod aac;
mod assembler;
pub mod clock;
pub mod framing;
mod h264;
mod h265;
pub mod message;
pub mod packet;
mod receiver;
pub mod reorder;
pub mod rtcp;
pub mod sdp;
pub mod sequence;

#[cfg(test)]
mod assembler_tests;
#[cfg(test)]
mod receiver_tests;

pub use packet::Packet;
pub use receiver::{Received, Receiver, UnsupportedPayload};
