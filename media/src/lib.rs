//! The media library: everything that Streamfleet knows about the bytes of Kinesis Video Streams.
//!
//! It reads and writes Matroska as the service speaks it ([`ebml`], [`mkv`]), understands the acknowledgements of
//! `PutMedia` ([`ack`]) and the fragments of `GetMedia` ([`fragment`]), joins fragments to one playable file ([`merge`]),
//! looks into H.264 and H.265 ([`h264`], [`h265`], [`nal`], [`picture`]), AAC and G.711 ([`aac`], [`g711`]),
//! takes media out of RTP ([`rtp`]), says what flows
//! from source to store ([`track`]) and when it was ([`timeline`]), and names the service's limits ([`limits`]).
//!
//! Everything here is pure: bytes and values in, bytes and values out. No I/O, no clock, no threads. Readers are
//! push/pull state machines whose memory is bounded, and no input makes them panic.

pub mod aac;
pub mod ack;
pub mod annexb;
pub mod block;
pub mod container;
pub mod ebml;
pub mod fragment;
pub mod g711;
pub mod h264;
pub mod h265;
pub mod limits;
pub mod merge;
pub mod mkv;
pub mod mp4;
pub mod nal;
pub mod pattern;
pub mod picture;
pub mod rtp;
pub mod spool;
pub mod timeline;
pub mod track;
pub mod ts;
