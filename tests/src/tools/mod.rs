//! The programs that cluster, images and demo need: Debian packages, and Go programs built once and kept in the cache
//! folder as `tools/NAME-VERSION/`. A second run finds them and does nothing.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{output, tail};
use crate::steps::Steps;

/// The Debian packages, and what each is for.
const PACKAGES: &[(&str, &str)] = &[
    ("containerd", "runs the containers"),
    ("runc", "runs the containers"),
    ("containernetworking-plugins", "the pods' network"),
    ("iptables", "kube-proxy's rules"),
    ("etcd-server", "the API server's store"),
    ("iproute2", "network namespaces, links and routes"),
    ("procps", "sysctl"),
    ("buildah", "makes the images"),
    ("gir1.2-gst-rtsp-server-1.0", "two of the demo's cameras"),
    ("python3-gi", "two of the demo's cameras"),
    ("gstreamer1.0-plugins-base", "two of the demo's cameras"),
    ("gstreamer1.0-plugins-good", "two of the demo's cameras"),
    ("gstreamer1.0-plugins-bad", "two of the demo's cameras"),
    ("gstreamer1.0-plugins-ugly", "x264 for the demo's cameras"),
    ("gstreamer1.0-tools", "gst-launch-1.0, to compare the producer with"),
    ("gstreamer1.0-libav", "AAC for the foreign cameras of the tests"),
    ("glib-networking", "TLS for the foreign cameras of the tests"),
    ("ffmpeg", "test media, and ffprobe"),
    ("python3-venv", "the foreign clients' environment, where python3 is Debian's"),
];

/// Packages that start a service when they are installed, and its name.
const SERVICES: &[(&str, &str)] = &[("containerd", "containerd"), ("etcd-server", "etcd")];

const KUBERNETES: &str = "v1.34.4";
const COREDNS: &str = "v1.15.0";
const HELM: &str = "v3.22.0";

/// A program that is built from a Go module.
struct GoProgram {
    /// Its file name.
    name: &'static str,
    /// Its folder below `tools/`.
    folder: String,
    source: GoSource,
}

enum GoSource {
    /// A package of `k8s.io/kubernetes`, which cannot be installed by version (its go.mod replaces modules by folders):
    /// built in the tool module in `tests/cluster/tools`.
    Kubernetes,
    /// A package with its version, as `go install` takes it.
    Module(String),
}

/// Where the tools are.
#[derive(Debug, Clone)]
pub struct Tools {
    cache: PathBuf,
}

/// The cache folder: `$STREAMFLEET_CACHE`, else `~/.cache/streamfleet`.
pub fn cache_dir() -> PathBuf {
    let home =
        || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/streamfleet");
    env::var_os("STREAMFLEET_CACHE").map_or_else(home, PathBuf::from)
}

/// The root of the checkout that this program was built from.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

impl Default for Tools {
    fn default() -> Self {
        Self { cache: cache_dir() }
    }
}

impl Tools {
    /// The path of a program of Kubernetes (`kubelet`, `kubectl` ...).
    pub fn kubernetes(&self, name: &str) -> PathBuf {
        self.folder(&format!("kubernetes-{KUBERNETES}")).join(name)
    }

    /// The path of `coredns`.
    pub fn coredns(&self) -> PathBuf {
        self.folder(&format!("coredns-{COREDNS}")).join("coredns")
    }

    /// The path of helm.
    pub fn helm(&self) -> PathBuf {
        self.folder(&format!("helm-{HELM}")).join("helm")
    }

    /// The cache folder that the tools are in.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.cache.join("tools").join(name)
    }

    /// Installs and builds what is missing, saying so.
    pub fn ensure(&self, steps: &Steps) -> Result<()> {
        fs::create_dir_all(self.cache.join("tools"))?;
        // Two commands at once would build everything twice on two cores.
        let lock = File::create(self.cache.join("tools/.lock"))?;
        lock.lock().context("failed to lock the tools folder")?;
        let all: Vec<_> = PACKAGES.iter().map(|(name, _)| *name).collect();
        Self::ensure_packages(steps, &all)?;
        self.ensure_go_programs(steps)
    }

    /// Builds one program if it is missing, and gives its path; for those that need neither the packages nor the others.
    pub fn ensure_only(&self, name: &str, steps: &Steps) -> Result<PathBuf> {
        fs::create_dir_all(self.cache.join("tools"))?;
        let lock = File::create(self.cache.join("tools/.lock"))?;
        lock.lock().context("failed to lock the tools folder")?;
        let all: Vec<_> = go_programs().into_iter().filter(|program| program.name == name).collect();
        let Some(program) = all.first() else { bail!("{name} is none of the tools") };
        self.build_missing(&all, steps)?;
        Ok(self.folder(&program.folder).join(program.name))
    }

    /// Installs those of these Debian packages that are missing, as root.
    pub fn ensure_packages(steps: &Steps, packages: &[&'static str]) -> Result<()> {
        let missing: Vec<_> = packages.iter().copied().filter(|name| !is_installed(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        crate::cluster::need_root("installing Debian packages")?;
        steps.say(format!("installing {} Debian packages: {}", missing.len(), missing.join(" ")));
        let log = cache_dir().join("tools/apt.log");
        let mut update = Command::new("apt-get");
        update.args(["update", "-qq"]);
        run_logged(&mut update, &log, "apt-get update", steps)?;
        let mut install = Command::new("apt-get");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
        run_logged(&mut install, &log, "apt-get install", steps)?;
        disable_services(&missing);
        steps.done("installed Debian packages");
        Ok(())
    }

    fn ensure_go_programs(&self, steps: &Steps) -> Result<()> {
        self.build_missing(&go_programs(), steps)
    }

    fn build_missing(&self, all: &[GoProgram], steps: &Steps) -> Result<()> {
        let is_missing = |program: &&GoProgram| !self.folder(&program.folder).join(program.name).exists();
        let missing: Vec<_> = all.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        need_program("go", "install Go 1.24 or newer")?;
        steps.say(format!(
            "building {} of {} cluster tools from Go modules, once; kept in {}",
            missing.len(),
            all.len(),
            self.cache.join("tools").display()
        ));
        for (number, program) in missing.iter().enumerate() {
            let label = format!("{} ({} of {})", program.name, number + 1, missing.len());
            self.build(program, &label, steps)?;
            steps.done(format!("built {label}"));
        }
        Ok(())
    }

    /// Builds into a folder beside, then renames: what has its final name is whole.
    fn build(&self, program: &GoProgram, label: &str, steps: &Steps) -> Result<()> {
        let building = self.folder(".building");
        fs::create_dir_all(&building)?;
        let mut command = Command::new("go");
        command.env("CGO_ENABLED", "0").env_remove("GOFLAGS");
        match &program.source {
            GoSource::Kubernetes => {
                let version = "k8s.io/component-base/version";
                let flags = format!(
                    "-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor=34"
                );
                command.current_dir(repository().join("tests/cluster/tools"));
                command
                    .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
                    .arg(building.join(program.name));
                command.arg(format!("k8s.io/kubernetes/cmd/{}", program.name));
            }
            GoSource::Module(package) => {
                command.env("GOBIN", &building).args(["install", "-trimpath", "-ldflags", "-s -w", package]);
            }
        }
        let log = building.join(format!("{}.log", program.name));
        run_logged(&mut command, &log, label, steps)?;
        let folder = self.folder(&program.folder);
        fs::create_dir_all(&folder)?;
        fs::rename(building.join(program.name), folder.join(program.name))?;
        Ok(())
    }
}

fn go_programs() -> Vec<GoProgram> {
    let kubernetes =
        ["kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"]
            .map(|name| GoProgram {
                name,
                folder: format!("kubernetes-{KUBERNETES}"),
                source: GoSource::Kubernetes,
            });
    let coredns = GoProgram {
        name: "coredns",
        folder: format!("coredns-{COREDNS}"),
        source: GoSource::Module(format!("github.com/coredns/coredns@{COREDNS}")),
    };
    let helm = GoProgram {
        name: "helm",
        folder: format!("helm-{HELM}"),
        source: GoSource::Module(format!("helm.sh/helm/v3/cmd/helm@{HELM}")),
    };
    kubernetes.into_iter().chain([coredns, helm]).collect()
}

/// Packages start services of their own where systemd runs; the cluster brings its own and needs none of them. Those of
/// packages that were there before are somebody else's.
fn disable_services(installed: &[&str]) {
    let services = services_of(installed);
    if !services.is_empty() && Path::new("/run/systemd/system").exists() {
        drop(output(Command::new("systemctl").args(["disable", "--now", "--quiet"]).args(services)));
    }
}

/// The services that these packages bring.
fn services_of(packages: &[&str]) -> Vec<&'static str> {
    SERVICES.iter().filter(|(package, _)| packages.contains(package)).map(|(_, service)| *service).collect()
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Abbrev}", package]);
    output(&mut query).is_ok_and(|status| status.starts_with("ii"))
}

/// An error that says what to install when the program is not on the `PATH`.
pub fn need_program(name: &str, what_to_do: &str) -> Result<()> {
    let mut which = Command::new("sh");
    which.args(["-c", &format!("command -v {name}")]);
    if output(&mut which).is_err() {
        bail!("{name} is missing: {what_to_do}");
    }
    Ok(())
}

/// Runs a long command with its output in a file, saying every 15 s that it goes on.
fn run_logged(command: &mut Command, log: &Path, label: &str, steps: &Steps) -> Result<()> {
    let file = File::create(log)?;
    let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
    let mut child = child.with_context(|| format!("failed to start {label}"))?;
    let status = wait_saying(&mut child, label, steps)?;
    if !status.success() {
        bail!(
            "{label} failed ({status}); the end of {}:\n{}\nWhat to do: check the network and the registry settings \
             (GOPROXY, apt sources), then run the same command again; what is built is kept.",
            log.display(),
            tail(log, 15)
        );
    }
    Ok(())
}

fn wait_saying(child: &mut Child, label: &str, steps: &Steps) -> Result<std::process::ExitStatus> {
    let started = Instant::now();
    let mut next = Duration::from_secs(15);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() >= next {
            steps.say(format!("  {label}: going on for {} s", started.elapsed().as_secs()));
            next += Duration::from_secs(15);
        }
        sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_of_packages_just_installed_are_stopped() {
        assert_eq!(services_of(&["ffmpeg", "etcd-server"]), ["etcd"]);
        assert!(services_of(&["ffmpeg"]).is_empty());
        for (package, _) in SERVICES {
            assert!(PACKAGES.iter().any(|(name, _)| name == package), "{package} is never installed");
        }
    }

    #[test]
    fn every_path_that_is_used_is_also_built() {
        let tools = Tools { cache: PathBuf::from("/c") };
        let built: Vec<_> =
            go_programs().iter().map(|program| tools.folder(&program.folder).join(program.name)).collect();
        for path in [tools.kubernetes("kubelet"), tools.kubernetes("kubectl"), tools.coredns(), tools.helm()]
        {
            assert!(built.contains(&path), "{} is never built", path.display());
        }
    }
}
