//! Orders to a running camera: by call, or as lines of text through its control port. Each line is answered with `ok`
//! or `error: REASON`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A fault, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `cut reset`: ends all connections at once; what is under way is lost.
    CutReset,
    /// `cut close`: ends all connections; clients get all that was sent, then the end.
    CutClose,
    /// `vanish`: as `cut reset`, and nobody listens any more.
    Vanish,
    /// `return`: listens again.
    Return,
    /// `silence on`: connections stay, pictures are not sent.
    SilenceOn,
    /// `silence off`: sends again, from the next key frame on.
    SilenceOff,
    /// `reports on`: sender reports are sent. So it is at first.
    ReportsOn,
    /// `reports off`: no sender reports.
    ReportsOff,
    /// `marker picture`: the marker bit ends a picture. So it is at first.
    MarkerPicture,
    /// `marker slice`: the marker bit ends each slice, against the standard.
    MarkerSlice,
    /// `timestamp-jump MS`: RTP timestamps jump by so many milliseconds, once.
    TimestampJump(i64),
    /// `clock-shift MS`: the wall clock in sender reports is off by so many milliseconds from now on.
    ClockShift(i64),
    /// `clip INDEX`: shows another clip, counted from 0. That changes the parameter sets.
    Clip(usize),
}

/// A line is not an order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "unknown order {0:?}, have: cut reset|close, vanish, return, silence on|off, reports on|off, marker picture|slice, \
     timestamp-jump MS, clock-shift MS, clip INDEX"
)]
pub struct UnknownOrder(String);

impl FromStr for Order {
    type Err = UnknownOrder;

    fn from_str(line: &str) -> Result<Self, UnknownOrder> {
        let unknown = || UnknownOrder(line.to_owned());
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["cut", "reset"] => Ok(Self::CutReset),
            ["cut", "close"] => Ok(Self::CutClose),
            ["vanish"] => Ok(Self::Vanish),
            ["return"] => Ok(Self::Return),
            ["silence", "on"] => Ok(Self::SilenceOn),
            ["silence", "off"] => Ok(Self::SilenceOff),
            ["reports", "on"] => Ok(Self::ReportsOn),
            ["reports", "off"] => Ok(Self::ReportsOff),
            ["marker", "picture"] => Ok(Self::MarkerPicture),
            ["marker", "slice"] => Ok(Self::MarkerSlice),
            ["timestamp-jump", ms] => ms.parse().map(Self::TimestampJump).map_err(|_| unknown()),
            ["clock-shift", ms] => ms.parse().map(Self::ClockShift).map_err(|_| unknown()),
            ["clip", index] => index.parse().map(Self::Clip).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutReset => f.write_str("cut reset"),
            Self::CutClose => f.write_str("cut close"),
            Self::Vanish => f.write_str("vanish"),
            Self::Return => f.write_str("return"),
            Self::SilenceOn => f.write_str("silence on"),
            Self::SilenceOff => f.write_str("silence off"),
            Self::ReportsOn => f.write_str("reports on"),
            Self::ReportsOff => f.write_str("reports off"),
            Self::MarkerPicture => f.write_str("marker picture"),
            Self::MarkerSlice => f.write_str("marker slice"),
            Self::TimestampJump(ms) => write!(f, "timestamp-jump {ms}"),
            Self::ClockShift(ms) => write!(f, "clock-shift {ms}"),
            Self::Clip(index) => write!(f, "clip {index}"),
        }
    }
}

/// Why an order did not reach a camera, or was refused.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The control port cannot be spoken to.
    #[error("failed to reach the camera's control port {address}")]
    Unreachable {
        /// The control port.
        address: SocketAddr,
        /// Why it could not be spoken to.
        source: std::io::Error,
    },
    /// The camera says no.
    #[error("the camera refused {order}: {answer}")]
    Refused {
        /// What was ordered.
        order: Order,
        /// What the camera said.
        answer: String,
    },
}

/// Gives an order through a camera's control port. It is in force when this returns.
pub async fn send_order(address: SocketAddr, order: Order) -> Result<(), ControlError> {
    let answer = ask(address, order).await.map_err(|source| ControlError::Unreachable { address, source })?;
    if answer == "ok" { Ok(()) } else { Err(ControlError::Refused { order, answer }) }
}

async fn ask(address: SocketAddr, order: Order) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{order}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}

/// Takes orders from one client until it leaves.
pub(super) async fn serve<E: fmt::Display>(
    mut stream: TcpStream,
    obey: impl AsyncFn(Order) -> Result<(), E>,
) {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.parse::<Order>() {
            Ok(order) => match obey(order).await {
                Ok(()) => "ok\n".to_owned(),
                Err(error) => format!("error: {error}\n"),
            },
            Err(error) => format!("error: {error}\n"),
        };
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let all = [
            Order::CutReset,
            Order::CutClose,
            Order::Vanish,
            Order::Return,
            Order::SilenceOn,
            Order::SilenceOff,
            Order::ReportsOn,
            Order::ReportsOff,
            Order::MarkerPicture,
            Order::MarkerSlice,
            Order::TimestampJump(-500),
            Order::ClockShift(-3_600_000),
            Order::Clip(1),
        ];
        for order in all {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for line in ["", "cut", "clip -1", "silence", "vanish now"] {
            assert_eq!(line.parse::<Order>(), Err(UnknownOrder(line.to_owned())));
        }
    }
}
