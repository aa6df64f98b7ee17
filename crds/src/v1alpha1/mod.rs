//! Version `v1alpha1`: one file for each kind.

mod camera;
mod stream_class;
mod video_stream;

pub use camera::{
    Camera, CameraSpec, CameraStatus, CredentialsRef, Fragment, ProducerPod, RtspSource, Source, StreamRef,
    StreamTemplate,
};
pub use stream_class::{
    AllowedNamespaces, Aws, ClassLimits, Endpoints, From, ProducerDefaults, Resources, StreamClass,
    StreamClassSpec, StreamClassStatus, StreamDefaults, StreamNames,
};
pub use video_stream::{
    DeletionPolicy, PendingChange, RetentionDecreasePolicy, VideoStream, VideoStreamSpec, VideoStreamStatus,
    Writer,
};
