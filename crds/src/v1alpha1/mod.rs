//! Version `v1alpha1`: one file for each kind.

mod camera;
mod stream_class;
mod video_stream;

pub use camera::{
    Audio, Camera, CameraSpec, CameraStatus, ContainerSource, CredentialsRef, FileSource, Fragment,
    ProducerPod, RtspSource, RtspTls, RtspTransport, Source, StreamRef, StreamTemplate, TestPattern,
};
pub use stream_class::{
    AllowedNamespaces, Aws, Buffer, ClassLimits, Endpoints, From, ProducerDefaults, Resources, Spool,
    SpoolMode, StreamClass, StreamClassSpec, StreamClassStatus, StreamDefaults, StreamNames,
};
pub use video_stream::{
    DeletionPolicy, PendingChange, RetentionDecreasePolicy, VideoStream, VideoStreamSpec, VideoStreamStatus,
    Writer,
};
