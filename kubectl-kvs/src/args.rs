//! The command line: what can be asked for, with its defaults. Nothing here acts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Says what is recording and what is not, and gets video back out of Kinesis Video Streams.
#[derive(Debug, Parser)]
#[command(name = "kubectl-kvs", bin_name = "kubectl kvs", version, about)]
pub struct Cli {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and where in it.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// The kubeconfig file, where it is not that of `KUBECONFIG` or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, where it is not the current one
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The namespace, where it is not that of the context
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The fleet at a glance: is each camera recording, and if not, why and since when
    ///
    /// LAST PERSISTED comes live from the producer pods, through the API server. Where a pod does not answer, it is what
    /// the Camera's status last said, and is marked with a star. It needs the permission to list cameras, and for live
    /// values to get pods/proxy.
    #[command(verbatim_doc_comment)]
    Status(StatusArgs),
    /// Writes the video of a time range to a file (MKV)
    ///
    /// AWS credentials come from the default chain (environment, profile, identity), never from the cluster. They need the
    /// actions `GetDataEndpoint`, `ListFragments` and `GetMediaForFragmentList` on the stream. Region, endpoint and
    /// certificate authorities come from the camera's `StreamClass`. Whole fragments are written, so that the file begins
    /// up to one fragment before --from.
    #[command(verbatim_doc_comment)]
    Clip(ClipArgs),
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these cameras
    pub cameras: Vec<String>,
    /// All namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// How to write it
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs: a list of objects, with times in RFC 3339
    Json,
}

/// Arguments of `clip`.
#[derive(Debug, Args)]
pub struct ClipArgs {
    /// The Camera whose video it is
    pub camera: String,
    /// Where it begins: RFC 3339, as in 2026-11-23T10:00:00Z, or before now, as in -5m or -1h30m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: String,
    /// Where it ends: as for --from, or `now`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, default_value = "now")]
    pub to: String,
    /// The file to write; one of that name is replaced, once the clip is whole
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// The Kinesis Video Streams endpoint, where it is not that of the StreamClass
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Certificate authorities (PEM) to trust beside the system's, where they are not those of the StreamClass
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn relative_times_are_values_and_not_flags() {
        let cli =
            Cli::parse_from("kubectl-kvs -n shop clip door --from -5m --to -10s -o door.mkv".split(' '));
        let Command::Clip(clip) = cli.command else { panic!("not a clip") };
        assert_eq!((clip.from.as_str(), clip.to.as_str()), ("-5m", "-10s"));
        assert_eq!(cli.cluster.namespace.as_deref(), Some("shop"));
    }

    #[test]
    fn cluster_flags_may_stand_behind_the_command_as_kubectl_allows() {
        let cli = Cli::parse_from("kubectl-kvs status -A --context prod -o json".split(' '));
        assert_eq!(cli.cluster.context.as_deref(), Some("prod"));
        let Command::Status(status) = cli.command else { panic!("not a status") };
        assert!(status.all_namespaces && status.output == Output::Json);
    }
}
