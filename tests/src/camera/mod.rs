//! The test camera: an RTSP server that replays a recorded clip as if it were live, and keeps a journal of each picture
//! that has left it. All counts of loss rest on that journal (see [`crate::journal`]), never on what the product says
//! about itself.
//!
//! The source is live: pictures are numbered from the camera's start on, whether or not anybody looks. The number
//! travels in the picture itself, as an SEI message. A client begins at the next key frame after its PLAY; a picture is
//! journalled when the socket has taken its last byte. Each RTP packet is one write, and the writes of a picture are
//! spread over half a picture's time, as cameras do.
//!
//! Spoken: RTSP 1.0 (RFC 2326), RTP over the RTSP connection only (§10.12), H.264 in packetization mode 1 (RFC 6184),
//! sender reports (RFC 3550 §6.4.1), digest authentication without qop (RFC 2617 §3.2).
//! Faults are played by [`Order`], in process or through a control port.

mod clip;
mod connection;
mod control;
mod digest;
mod live;
mod recipe;
mod rtp;
mod rtsp;
mod sdp;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

pub use clip::{Clip, ClipError, Frame, Picture, picture_digest};
pub use control::{ControlError, Order, UnknownOrder, send_order};
pub use digest::Login;
pub use recipe::{Recipe, RecipeError};
pub use server::{Camera, OrderError, Sent};

/// How a camera is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where RTSP is served; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The path of the one stream, with its slash, such as `/live`.
    pub path: String,
    /// What is shown, in a loop. [`Order::Clip`] goes from one to another, which changes the parameter sets.
    pub clips: Vec<Clip>,
    /// From one picture to the next.
    pub picture_period: Duration,
    /// As if the camera had been started so long before it is: cameras that are started together would else show their key
    /// frames together.
    pub head_start: Duration,
    /// Where the journal is appended to; none is kept without, only [`Camera::sent`] counts.
    pub journal: Option<PathBuf>,
    /// What clients must log in with; nothing when absent.
    pub login: Option<Login>,
    /// Where orders are taken as lines of text; port 0 picks a free one.
    pub control: Option<SocketAddr>,
    /// A connection that says nothing for so long is ended, as cameras do whose keep-alive is neglected.
    pub session_timeout: Duration,
}

impl Options {
    /// A camera on a free port of the loopback, with path `/live` and 25 pictures a second, nothing else.
    pub fn on_loopback(clip: Clip) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            path: "/live".to_owned(),
            clips: vec![clip],
            picture_period: Duration::from_millis(40),
            head_start: Duration::ZERO,
            journal: None,
            login: None,
            control: None,
            session_timeout: Duration::from_mins(1),
        }
    }
}

/// Why a camera could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is nothing to show.
    #[error("a camera needs at least one clip")]
    NoClip,
    /// A port is taken, or the address is not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why it could not be had.
        source: std::io::Error,
    },
    /// The journal cannot be written.
    #[error("failed to open the journal {path:?}")]
    OpenJournal {
        /// The journal's file.
        path: PathBuf,
        /// Why it could not be opened.
        source: std::io::Error,
    },
}
