//! The development tool: tools, images, the local cluster and the demo. `make` calls it; so can you.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use streamfleet_tests::cluster::layout::{INDEX_MAX, Layout};
use streamfleet_tests::cluster::{self, Cluster};
use streamfleet_tests::steps::Steps;
use streamfleet_tests::tools::{Tools, need_program};
use streamfleet_tests::{demo, images};

/// Tools, images, local cluster and demo of Streamfleet.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Install and build what cluster and demo need.
    Tools {
        /// Only this one (`helm`), and print its path as the last line.
        #[arg(long)]
        only: Option<String>,
    },
    /// Build the images, and say where they are.
    Images {
        /// Import them into this cluster.
        #[arg(long)]
        index: Option<u8>,
        /// The folder with the built binaries (default: the one this program lies in).
        #[arg(long)]
        binaries: Option<PathBuf>,
    },
    /// The local cluster.
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// The whole way from YAML to stored video and back, then stay up.
    Demo,
    /// Take the demo down; the emulator's data stay.
    DemoDown,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Bring it up, with images.
    Up {
        /// Which cluster, 0 to 9. The demo is 0, the tests are 1.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=i64::from(INDEX_MAX)))]
        index: u8,
        /// How many nodes.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
        nodes: u8,
    },
    /// Take it down and leave nothing behind.
    Down {
        /// Which cluster.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=i64::from(INDEX_MAX)))]
        index: u8,
    },
    /// Print the variables that a shell or a test needs.
    Env {
        /// Which cluster.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=i64::from(INDEX_MAX)))]
        index: u8,
    },
    /// List everything of it that is on this machine; fails when there is something.
    Leftovers {
        /// Which cluster.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=i64::from(INDEX_MAX)))]
        index: u8,
    },
}

fn main() -> ExitCode {
    let steps = Steps::start();
    match run(&steps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            steps.say(format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(steps: &Steps) -> Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let tools = Tools::default();
    match Args::parse().command {
        Subject::Tools { only: Some(name) } => {
            steps.text(tools.ensure_only(&name, steps)?.display().to_string());
        }
        Subject::Tools { only: None } => {
            tools.ensure(steps)?;
            steps.done("all tools are there");
        }
        Subject::Images { index, binaries } => build_images(index, binaries, steps)?,
        Subject::Cluster { command } => run_cluster(&command, &tools, steps)?,
        Subject::Demo => demo::up(steps)?,
        Subject::DemoDown => demo::down(steps)?,
    }
    Ok(())
}

fn run_cluster(command: &ClusterCommand, tools: &Tools, steps: &Steps) -> Result<()> {
    match *command {
        ClusterCommand::Up { index, nodes } => {
            let layout = Layout { index, nodes };
            cluster::need_root("the local cluster")?;
            tools.ensure(steps)?;
            cluster::up(layout, tools, steps)?;
            build_images(Some(index), None, steps)?;
            print_env(index, steps)?;
        }
        ClusterCommand::Down { index } => {
            cluster::down(layout_or_default(index))?;
            steps.done(format!("cluster {index} is down, nothing is left of it"));
        }
        ClusterCommand::Env { index } => print_env(index, steps)?,
        ClusterCommand::Leftovers { index } => {
            let left = cluster::leftovers(layout_or_default(index));
            anyhow::ensure!(left.is_empty(), "left of cluster {index}:\n    {}", left.join("\n    "));
            steps.text(format!("nothing is left of cluster {index}"));
        }
    }
    Ok(())
}

/// A cluster without its state file is found by its index; how many nodes it had does not matter for that.
fn layout_or_default(index: u8) -> Layout {
    cluster::load(index).unwrap_or(Layout { index, nodes: 2 })
}

fn build_images(index: Option<u8>, binaries: Option<PathBuf>, steps: &Steps) -> Result<()> {
    need_program("buildah", "as root, `streamfleet-dev tools` or `apt-get install buildah`")?;
    let binaries = match binaries {
        Some(folder) => folder,
        None => images::own_folder()?,
    };
    let built = images::build_all(&binaries)?;
    if let Some(index) = index {
        let cluster = Cluster::open(index)?;
        for image in &built {
            cluster.import_image(&image.archive)?;
        }
        steps.done(format!("{} images are on every node of cluster {index}", built.len()));
        return Ok(());
    }
    steps.done("the images are built, as OCI archives:");
    // Clusters bring their own pause image.
    for image in built.iter().filter(|image| !image.name.contains("pause")) {
        steps.text(format!("  {}  {}", image.name, image.archive.display()));
    }
    steps.text("To push one: buildah pull oci-archive:FILE && buildah push NAME docker://YOUR-REGISTRY/streamfleet-operator:TAG");
    Ok(())
}

fn print_env(index: u8, steps: &Steps) -> Result<()> {
    let cluster = Cluster::open(index)?;
    let tools = cluster.tools();
    let folders = [tools.kubernetes("kubectl"), tools.helm()];
    let path: Vec<_> =
        folders.iter().filter_map(|file| file.parent()).map(|folder| folder.display().to_string()).collect();
    steps.text(format!("export STREAMFLEET_CLUSTER={}", cluster.layout().state_dir().display()));
    steps.text(format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
    steps.text(format!("export PATH={}:$PATH", path.join(":")));
    Ok(())
}
