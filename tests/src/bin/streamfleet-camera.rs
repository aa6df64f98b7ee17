//! The test camera as a program, for demos and for tries by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use streamfleet_tests::camera::{Camera, Clip, Login, Options, Order, Recipe, send_order};
use tokio::signal::unix::{SignalKind, signal};

/// An RTSP server that replays H.264 as if it were a live camera, numbers each picture, and journals what it has sent.
#[derive(Debug, Parser)]
struct Args {
    /// Where to serve RTSP; port 0 picks a free one. Further cameras take the ports that follow.
    #[arg(long, default_value = "127.0.0.1:8554")]
    listen: SocketAddr,
    /// How many cameras to be. Their pictures are spread over the key frame interval; journals and control ports are
    /// numbered from the second on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// The path of the stream.
    #[arg(long, default_value = "/live")]
    path: String,
    /// What to show: H.264 as Annex B has it, without B slices. Given again: a second clip, for `clip 1`. A moving test
    /// picture is made by ffmpeg when absent.
    #[arg(long)]
    media: Vec<PathBuf>,
    /// Where the test picture is kept; `$XDG_CACHE_HOME/streamfleet/media` or `~/.cache/streamfleet/media` when absent.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Pictures in a second.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=120))]
    rate: u32,
    /// Append a line here for each picture that has been sent.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Take orders here, as lines of text, such as `cut reset`.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Ask for digest authentication: the file's first line is the user's name, its second the password.
    #[arg(long)]
    credentials_file: Option<PathBuf>,
    /// Instead of being a camera: give this order to the one whose control port is --control.
    #[arg(long, requires = "control")]
    order: Option<Order>,
}

// One thread: with many cameras their packets leave in turn, and a hundred of them take a fraction of a core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    if let (Some(order), Some(control)) = (args.order, args.control) {
        return send_order(control, order).await.context("failed to give the order");
    }
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let (rate, count) = (args.rate, args.count);
    let options = options(args).await?;
    let mut cameras = Vec::new();
    for index in 0..count {
        let camera = Camera::start(one_of(&options, index, count, rate)).await;
        cameras.push(camera.with_context(|| format!("failed to start camera {index}"))?);
    }
    cameras.iter().for_each(announce);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    for camera in cameras {
        camera.stop().await;
    }
    Ok(())
}

/// The options of one of several cameras. A test picture has a key frame each second.
fn one_of(options: &Options, index: u16, count: u16, rate: u32) -> Options {
    let follow = |address: SocketAddr| match address.port() {
        0 => address,
        port => SocketAddr::new(address.ip(), port.saturating_add(index)),
    };
    let numbered = |path: PathBuf| match index {
        0 => path,
        _ => PathBuf::from(format!("{}-{}", path.display(), index + 1)),
    };
    let pictures = rate * u32::from(index) / u32::from(count);
    Options {
        listen: follow(options.listen),
        head_start: options.picture_period * pictures,
        journal: options.journal.clone().map(numbered),
        control: options.control.map(follow),
        ..options.clone()
    }
}

async fn options(args: Args) -> anyhow::Result<Options> {
    let media = if args.media.is_empty() {
        let folder =
            args.cache.or_else(default_cache).context("failed to find a cache folder: give --cache")?;
        vec![Recipe { rate: args.rate, key_interval: args.rate, ..Recipe::default() }.make(&folder).await?]
    } else {
        args.media
    };
    let clips = media.iter().map(|path| Clip::read(path)).collect::<Result<_, _>>()?;
    let login = args.credentials_file.map(|path| {
        Login::read(&path).with_context(|| format!("failed to read the credentials file {}", path.display()))
    });
    Ok(Options {
        listen: args.listen,
        path: format!("/{}", args.path.trim_start_matches('/')),
        clips,
        picture_period: Duration::from_secs(1) / args.rate,
        head_start: Duration::ZERO,
        journal: args.journal,
        login: login.transpose()?,
        control: args.control,
        session_timeout: Duration::from_mins(1),
    })
}

fn default_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("streamfleet/media"))
}

/// The one line on standard output: whoever starts the camera waits for it.
#[expect(clippy::print_stdout, reason = "the line is the program's interface")]
fn announce(camera: &Camera) {
    match camera.control_address() {
        Some(control) => println!("ready {} control {control}", camera.url()),
        None => println!("ready {}", camera.url()),
    }
}
