//! The operator: controllers that turn `StreamClass`, `VideoStream` and Camera objects into KVS streams and producer pods.
//!
//! A reconcile is gather (effects) → validate (pure) → plan and build (pure) → apply (effects) → status (one write, none when
//! nothing changed). Each kind has a folder; what they share is beside them. [`aws`] holds the few calls and the view of the
//! fleet, `watch` the caches of the cluster, `feeds` what the producers say.
//!
//! RBAC, all of it: `streamclasses`, `videostreams`: get, list, watch, patch; `cameras`: get, list, watch; their `/status`: patch;
//! `videostreams`: also create; their `/finalizers`: update. `namespaces`: get, list, watch. `configmaps`: create, patch.
//! `deployments`: create, patch, delete, get, list, watch. `pods`: get, list, watch, patch. `events.k8s.io/events`: create, patch.
//! `customresourcedefinitions`, ours alone: get. `leases`, in the operator's own namespace: get, create, update. No Secrets.

mod admin;
mod alarms;
mod apply;
pub mod args;
pub mod aws;
mod backoff;
pub mod camera;
mod conditions;
mod context;
mod controller;
mod definitions;
mod events;
mod feeds;
pub mod labels;
pub mod leader;
pub mod metrics;
mod pulse;
mod queue;
pub mod run;
pub mod scope;
mod stream_class;
mod sweeps;
pub mod telemetry;
mod told;
mod video_stream;
mod watch;
