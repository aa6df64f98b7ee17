//! Version `v1alpha1`: one file for each kind.

mod alarms;
mod camera;
mod settings;
mod stream_class;
mod video_stream;

pub use alarms::{AlarmKind, AlarmState, AlarmStatus, ClassAlarms, MissingData, NoIngestAlarm, StreamAlarms};
pub use camera::{
    Audio, Camera, CameraSpec, CameraStatus, ContainerSource, CredentialsRef, FileSource, Fragment,
    ProducerPod, RtspSource, RtspTls, RtspTransport, Source, StreamRef, StreamTemplate, TestPattern,
};
pub use settings::{
    AdoptionPolicy, DriftPolicy, ImageFormat, ImageGeneration, ImageTimestamp, ManagementPolicy,
    Notification, StorageTier,
};
pub use stream_class::{
    AllowedNamespaces, Aws, Buffer, ClassLimits, Endpoints, From, ProducerDefaults, Resources, Spool,
    SpoolMode, StreamClass, StreamClassSpec, StreamClassStatus, StreamDefaults, StreamNames,
};
pub use video_stream::{
    DeletionPolicy, Drift, PendingChange, PendingWhy, RetentionDecreasePolicy, VideoStream, VideoStreamSpec,
    VideoStreamStatus, Writer,
};
