//! What the producer costs beside others that carry the same video, on this machine and in one run: `make bench-producer`.
//!
//! Cameras are ours, real-time, one write for each packet. Ours uploads over TLS to the emulator and gets its
//! acknowledgements; ffmpeg posts over TLS to the emulator's `/discard`; GStreamer ends in nothing. Windows of the three
//! alternate, and what is compared are neighbours, since a machine does not stay the same. A window in which a camera or
//! what is measured falls behind real time is an error, not a figure.

mod backlog;
mod held;
mod latency;
mod load;
mod peers;
mod reader;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::camera::{Order, Recipe};
use crate::figures::{Figure, median};
use crate::rig::Plan;
use crate::steps::Steps;
use crate::tools::{Tools, need_program};

use backlog::Backlog;
use load::{Load, Window};

pub use reader::read;

/// What was asked of the producer, with the numbers of streams of the published comparison.
const FULL_HD_FEEDS: [usize; 3] = [1, 10, 50];
const SMALL_FEEDS: usize = 100;
/// More than is held while everything goes well, with a reserve for a busy machine.
const MEMORY: u64 = 512 << 20;
/// What waits from the beginning until all else is measured: 4 Mbit/s for 50 minutes, where that takes half as long.
const BACKLOG_MEMORY: u64 = 3 << 29;
/// How long an idle process settles before it is looked at.
const SETTLE: Duration = Duration::from_secs(8);

/// How long is measured, from the environment.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// `BENCH_WINDOW_SECONDS`: one window at 50 feeds, where there is a figure to hold.
    window: Duration,
    /// `BENCH_SHORT_WINDOW_SECONDS`: one window at the other numbers of feeds, and of GStreamer.
    short_window: Duration,
    /// `BENCH_WINDOWS`: how many of each, at each number of feeds.
    windows: usize,
    /// `BENCH_BACKLOG_SECONDS`: how much video waits before it is caught up.
    backlog: Duration,
}

impl Settings {
    fn from_environment() -> Self {
        let number = |name: &str, default: u64| {
            std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
        };
        Self {
            window: Duration::from_secs(number("BENCH_WINDOW_SECONDS", 20)),
            short_window: Duration::from_secs(number("BENCH_SHORT_WINDOW_SECONDS", 10)),
            windows: number("BENCH_WINDOWS", 5) as usize,
            backlog: Duration::from_secs(number("BENCH_BACKLOG_SECONDS", 600)),
        }
    }
}

/// Measures all figures of the producer.
pub async fn producer(steps: &Steps) -> Result<Vec<Figure>> {
    need_program("ffmpeg", "apt-get install ffmpeg")?;
    Tools::ensure_packages(steps, &["gstreamer1.0-tools"])?;
    let settings = Settings::from_environment();
    steps.say("clips, cameras and service");
    let backlog = Backlog::start(BACKLOG_MEMORY).await?;
    let plan = Plan { proxied: false, ..Plan::new("bench", Recipe::full_hd()) }.memory(MEMORY);
    let mut load = Load::start(plan.feeds(50), steps).await?;
    let mut figures = vec![idle(&mut load).await?];
    for feeds in FULL_HD_FEEDS {
        figures.extend(compare(&mut load, feeds, "4mbit", &settings, steps).await?);
    }
    figures.extend(load.memory_figures());
    figures.extend(load.latency_figures());
    load.stop().await?;
    let plan = Plan { proxied: false, journals: false, ..Plan::new("bench-small", Recipe::small()) };
    let mut small = Load::start(plan.memory(MEMORY).feeds(SMALL_FEEDS), steps).await?;
    figures.extend(compare(&mut small, SMALL_FEEDS, "1mbit", &settings, steps).await?);
    small.stop().await?;
    figures.extend(backlog.catch_up(settings.backlog, steps).await?);
    Ok(figures)
}

/// The process with one feed whose camera sends nothing.
async fn idle(load: &mut Load) -> Result<Figure> {
    load.rig.order(Order::SilenceOn).await?;
    load.configure(1)?;
    let producer = load.rig.produce().await?;
    tokio::time::sleep(SETTLE).await;
    let memory = producer.memory()?;
    producer.terminate(Duration::from_secs(30)).await?;
    load.rig.order(Order::SilenceOff).await?;
    let note = format!("anonymous {:.1} MiB", mib(memory.anonymous));
    Ok(Figure::new("resident_one_idle_feed", mib(memory.resident), "MiB").at_most(12.0).aim(8.0).note(note))
}

/// Windows of ours, of ffmpeg and of GStreamer, by turns.
async fn compare(
    load: &mut Load,
    feeds: usize,
    kind: &str,
    settings: &Settings,
    steps: &Steps,
) -> Result<Vec<Figure>> {
    let window = if feeds == 50 { settings.window } else { settings.short_window };
    load.check_cameras(feeds, window.min(Duration::from_secs(10)), steps).await?;
    let mut rounds = Vec::new();
    for round in 1..=settings.windows {
        let of = Round {
            ours: load.ours(feeds, window).await?,
            ffmpeg: load.ffmpeg(feeds, window).await?,
            gstreamer: load.gstreamer(feeds, settings.short_window).await?,
        };
        let [ours, ffmpeg, gstreamer] = [of.ours, of.ffmpeg, of.gstreamer].map(|window| window.cpu_percent);
        steps.say(format!(
            "{feeds} feeds, round {round} of {}: ours {ours:.3} %, ffmpeg {ffmpeg:.3} %, GStreamer {gstreamer:.3} % of a \
             core for each",
            settings.windows
        ));
        rounds.push(of);
    }
    Ok(figures_of(feeds, kind, &rounds))
}

/// Windows that were measured one after the other.
#[derive(Debug, Clone, Copy)]
struct Round {
    ours: Window,
    ffmpeg: Window,
    gstreamer: Window,
}

type OfRound = fn(&Round) -> &Window;

fn figures_of(feeds: usize, kind: &str, rounds: &[Round]) -> Vec<Figure> {
    let name = |what: &str| format!("{what}_{feeds}x{kind}");
    let ratio_to = |peer: OfRound, peer_name: &str| {
        let ratios: Vec<f64> =
            rounds.iter().map(|round| round.ours.cpu_percent / peer(round).cpu_percent).collect();
        let spread = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect::<Vec<_>>().join(" ");
        Figure::new(name(&format!("cpu_ratio_ours_{peer_name}")), median(&ratios), "ratio").note(spread)
    };
    let to_ffmpeg = ratio_to(|round| &round.ffmpeg, "ffmpeg");
    let to_ffmpeg = if feeds == 50 { to_ffmpeg.at_most(0.45).aim(0.12) } else { to_ffmpeg };
    let mut figures = vec![to_ffmpeg, ratio_to(|round| &round.gstreamer, "gstreamer")];
    let all: [(&str, OfRound); 3] = [
        ("ours", |round| &round.ours),
        ("ffmpeg", |round| &round.ffmpeg),
        ("gstreamer", |round| &round.gstreamer),
    ];
    for (who, window) in all {
        let of = |value: fn(&Window) -> f64| {
            median(&rounds.iter().map(|round| value(window(round))).collect::<Vec<_>>())
        };
        let cpu = of(|window| window.cpu_percent);
        figures.push(Figure::new(name(&format!("cpu_{who}")), cpu, "% of a core per stream"));
        let memory = of(|window| mib(window.memory.anonymous));
        let each = memory.map(|memory| memory / feeds as f64);
        let resident = of(|window| mib(window.memory.resident)).unwrap_or_default();
        let note = format!("resident in all {resident:.1} MiB; media that waits is in it");
        figures.push(Figure::new(name(&format!("anonymous_{who}")), each, "MiB per stream").note(note));
    }
    figures
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// An error when a part is more than so much less than the whole.
fn ensure_real_time(what: &str, got: u64, wanted: f64) -> Result<()> {
    /// What may be on its way at either end of a window.
    const PART: f64 = 0.97;
    let got = got as f64;
    ensure!(
        got >= wanted * PART,
        "{what} is behind real time: {got:.0} of {wanted:.0}: the measurement is void"
    );
    Ok(())
}
