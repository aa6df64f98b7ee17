//! The configuration files and command lines of the cluster's parts. Pure: text from a layout.

use std::path::Path;

use super::layout::Layout;

/// The zone in which cameras have names.
pub const CAMERA_ZONE: &str = "cameras.example";

/// Cluster DNS: cameras from a hosts file that is read again within a second, Kubernetes names from the API.
pub fn corefile(layout: Layout, hosts: &Path) -> String {
    let (hosts, state) = (hosts.display(), layout.state_dir());
    let kubeconfig = state.join("admin.kubeconfig");
    format!(
        ".:53 {{
  errors
  hosts {hosts} {CAMERA_ZONE} {{
    ttl 1
    reload 1s
  }}
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {}
    ttl 1
  }}
}}
",
        kubeconfig.display()
    )
}

/// The arguments of kube-apiserver.
pub fn apiserver(layout: Layout) -> Vec<String> {
    let certs = layout.state_dir().join("certs");
    let file = |name: &str| certs.join(name).display().to_string();
    vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={}", layout.control_plane()),
        "--secure-port=6443".to_owned(),
        format!("--service-cluster-ip-range={}", layout.service_cidr()),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
    ]
}

/// The arguments of etcd. Its data need not survive the machine: no fsync.
pub fn etcd(layout: Layout) -> Vec<String> {
    let data = layout.state_dir().join("etcd").display().to_string();
    [
        "--data-dir",
        &data,
        "--listen-client-urls",
        "http://127.0.0.1:2379",
        "--advertise-client-urls",
        "http://127.0.0.1:2379",
        "--listen-peer-urls",
        "http://127.0.0.1:2380",
        "--unsafe-no-fsync",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The arguments of kube-controller-manager. A lost node is noticed after 10 s.
pub fn controller_manager(layout: Layout) -> Vec<String> {
    let state = layout.state_dir();
    let certs = state.join("certs");
    let mut args = kubeconfig_args(&state.join("kcm.kubeconfig"));
    args.extend([
        format!("--service-account-private-key-file={}", certs.join("sa.key").display()),
        format!("--root-ca-file={}", certs.join("ca.crt").display()),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
        format!("--cert-dir={}", state.join("kcm").display()),
        "--node-monitor-period=1s".to_owned(),
        "--node-monitor-grace-period=10s".to_owned(),
    ]);
    args
}

/// The arguments of kube-scheduler.
pub fn scheduler(layout: Layout) -> Vec<String> {
    let state = layout.state_dir();
    let mut args = kubeconfig_args(&state.join("scheduler.kubeconfig"));
    args.extend([
        "--leader-elect=false".to_owned(),
        format!("--cert-dir={}", state.join("scheduler").display()),
    ]);
    args
}

fn kubeconfig_args(path: &Path) -> Vec<String> {
    let path = path.display();
    ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
        .map(|flag| format!("--{flag}={path}"))
        .to_vec()
}

/// The configuration of a node's containerd.
///
/// `restrict_oom_score_adj`: root here may lack `CAP_SYS_RESOURCE`; without it runc ends with "can't get final child's
/// PID from pipe". The snapshotter is `native` where the disk is itself an overlay, which cannot be stacked.
pub fn containerd(layout: Layout, number: u8, snapshotter: &str) -> String {
    let node = layout.node_dir(number);
    let node = node.display();
    format!(
        "version = 2
root = \"{node}/root\"
state = \"{node}/state\"
[grpc]
  address = \"{node}/containerd.sock\"
[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"localhost/pause:1\"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.\"io.containerd.grpc.v1.cri\".containerd]
    snapshotter = \"{snapshotter}\"
  [plugins.\"io.containerd.grpc.v1.cri\".cni]
    bin_dir = \"/usr/lib/cni\"
    conf_dir = \"{node}/cni\"
"
    )
}

/// The network plugins of a node's pods.
pub fn cni(layout: Layout, number: u8) -> String {
    let ipam = layout.node_dir(number).join("ipam").display().to_string();
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "local",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": ipam,
                    "ranges": [[{ "subnet": layout.node_pod_cidr(number) }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
    .to_string()
}

/// The configuration of a node's kubelet. Two settings spare tests minutes of waiting: containers that crash are started
/// again after a second at most, and mounted Secrets that come late are found after ten seconds instead of sixty.
pub fn kubelet(layout: Layout, number: u8) -> String {
    let authority = layout.state_dir().join("certs/ca.crt").display().to_string();
    let socket = layout.node_dir(number).join("containerd.sock").display().to_string();
    serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{socket}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", layout.node_scope(number)),
        "failSwapOn": false,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": authority },
        },
        "authorization": { "mode": "Webhook" },
        "clusterDNS": [layout.control_plane().to_string()],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        "evictionHard": { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 110,
        "syncFrequency": "10s",
        "featureGates": { "KubeletCrashLoopBackOffMax": true },
        "crashLoopBackOff": { "maxContainerRestartPeriod": "1s" },
    })
    .to_string()
}

/// The configuration of a node's kube-proxy. It may not set conntrack's sysctls here.
pub fn proxy(layout: Layout, number: u8) -> String {
    serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": { "kubeconfig": layout.state_dir().join("proxy.kubeconfig") },
        "clusterCIDR": layout.pod_cidr(),
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
        "hostnameOverride": layout.node_name(number),
    })
    .to_string()
}
