//! What a Camera and its class say about source, sound and buffer, as the producer's configuration says it.

use streamfleet_contract as contract;
use streamfleet_crds as crds;

use super::BuildError;
use super::deployment::{CONFIG_FOLDER, FEED_SOCKET, INPUT_FOLDER, SPOOL_FOLDER};

/// The file with the certificate authorities of an `rtsps` camera.
pub const CAMERA_CA_FILE: &str = "camera-ca.crt";

/// The source.
pub fn source(source: &crds::Source) -> Result<contract::Source, BuildError> {
    if let Some(rtsp) = &source.rtsp {
        return Ok(contract::Source::Rtsp(self::rtsp(rtsp)));
    }
    if let Some(file) = &source.file {
        return Ok(contract::Source::File(contract::FileSource {
            path: format!("{INPUT_FOLDER}/{}", file.path),
            container: contract::Container::Auto,
            repeat: file.repeat,
            frame_rate: None,
        }));
    }
    if source.container.is_some() {
        return Ok(contract::Source::Socket(contract::PipeSource {
            path: FEED_SOCKET.to_owned(),
            container: contract::Container::Auto,
            frame_rate: None,
        }));
    }
    let pattern = source.test_pattern.as_ref().ok_or(BuildError::NoSource)?;
    let pixels = |value: i32| u32::try_from(value).unwrap_or(0);
    Ok(contract::Source::TestPattern(contract::TestPattern {
        width: pixels(pattern.width),
        height: pixels(pattern.height),
        frame_rate: pixels(pattern.frame_rate),
    }))
}

fn rtsp(rtsp: &crds::RtspSource) -> contract::RtspSource {
    let mut made = contract::RtspSource::new(rtsp.url.clone());
    made.transport = match rtsp.transport {
        crds::RtspTransport::Tcp => contract::RtspTransport::Tcp,
        crds::RtspTransport::Udp => contract::RtspTransport::Udp,
    };
    made.tls = rtsp.tls.as_ref().map(|tls| contract::RtspTls {
        ca_file: tls.ca_bundle.as_ref().map(|_| format!("{CONFIG_FOLDER}/{CAMERA_CA_FILE}")),
        insecure_skip_verify: tls.insecure_skip_verify,
    });
    made
}

/// The certificate authorities that the Camera itself names.
pub fn camera_ca(source: &crds::Source) -> Option<&str> {
    source.rtsp.as_ref()?.tls.as_ref()?.ca_bundle.as_deref()
}

/// Which sound is stored.
pub fn audio(audio: crds::Audio) -> contract::Audio {
    match audio {
        crds::Audio::Auto => contract::Audio::Auto,
        crds::Audio::None => contract::Audio::None,
        crds::Audio::All => contract::Audio::All,
    }
}

/// The settings of the process. Sizes that the class's rules refuse are left at their defaults.
pub fn process(buffer: &crds::Buffer) -> contract::Process {
    let mut process = contract::Process::default();
    if let Some(bytes) = bytes(&buffer.memory) {
        process.memory_budget_bytes = bytes;
    }
    process.spool = buffer.spool.as_ref().and_then(|spool| {
        Some(contract::Spool {
            path: SPOOL_FOLDER.to_owned(),
            max_bytes: bytes(&spool.size)?,
            mode: match spool.mode {
                crds::SpoolMode::Overflow => contract::SpoolMode::Overflow,
                crds::SpoolMode::Journal => contract::SpoolMode::Journal,
            },
        })
    });
    process
}

/// A whole number of `Mi` or `Gi`, in bytes.
pub fn bytes(size: &str) -> Option<u64> {
    let (number, unit) = match (size.strip_suffix("Mi"), size.strip_suffix("Gi")) {
        (Some(number), _) => (number, 1 << 20),
        (_, Some(number)) => (number, 1 << 30),
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
