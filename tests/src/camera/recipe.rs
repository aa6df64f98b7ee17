//! How the clips that the camera shows are made: by ffmpeg and x264, once, into a cache folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;

/// A moving test picture with key frames at even distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures in a second.
    pub rate: u32,
    /// From one key frame to the next, in pictures.
    pub key_interval: u32,
    /// How long one round is.
    pub seconds: u32,
    /// Into how many slices each picture is cut.
    pub slices: u32,
    /// Bits a second, in thousands, held over each second; as many as a good picture takes when absent. The picture has
    /// noise then, so that all of them are used.
    pub kbps: Option<u32>,
}

impl Recipe {
    /// What most cameras of buildings send: 1920×1080, 25 pictures a second, 4 Mbit/s, a key frame every two seconds.
    pub fn full_hd() -> Self {
        Self { width: 1920, height: 1080, rate: 25, key_interval: 50, kbps: Some(4_000), ..Self::default() }
    }

    /// A side channel: 640×360, 15 pictures a second, 1 Mbit/s, a key frame every two seconds.
    pub fn small() -> Self {
        Self { rate: 15, key_interval: 30, kbps: Some(1_000), ..Self::default() }
    }

    /// Just enough to see something: 320×180, 10 pictures a second, 300 kbit/s, a key frame every two seconds.
    pub fn tiny() -> Self {
        Self { width: 320, height: 180, rate: 10, key_interval: 20, kbps: Some(300), ..Self::default() }
    }

    /// From one picture to the next.
    pub fn picture_period(&self) -> Duration {
        Duration::from_secs(1) / self.rate
    }
}

impl Default for Recipe {
    /// 640×360, 25 pictures and one key frame a second, rounds of ten seconds: about 1 Mbit/s.
    fn default() -> Self {
        Self { width: 640, height: 360, rate: 25, key_interval: 25, seconds: 10, slices: 1, kbps: None }
    }
}

/// Why a clip could not be made.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// ffmpeg is not there.
    #[error("failed to run ffmpeg: install it with `apt-get install ffmpeg`")]
    Run(#[source] std::io::Error),
    /// ffmpeg gave up.
    #[error("failed to make {path:?}: ffmpeg said {message:?}")]
    Encode {
        /// The file that was to be made.
        path: PathBuf,
        /// The end of what ffmpeg said.
        message: String,
    },
    /// The folder cannot be written.
    #[error("failed to put a clip into {path:?}")]
    Keep {
        /// The folder or file.
        path: PathBuf,
        /// Why it could not be written.
        source: std::io::Error,
    },
}

impl Recipe {
    /// The clip's file in `folder`, which is made when it is not there yet.
    pub async fn make(&self, folder: &Path) -> Result<PathBuf, RecipeError> {
        let path = folder.join(self.file_name());
        if path.exists() {
            return Ok(path);
        }
        let keep = |source| RecipeError::Keep { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(keep)?;
        // Renamed when whole, so that neither an abort nor a second maker leaves half a clip.
        let unfinished = folder.join(format!("{}.{:016x}.part", self.file_name(), fastrand::u64(..)));
        let output = Command::new("ffmpeg")
            .args(self.arguments())
            .arg(&unfinished)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(RecipeError::Run)?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(RecipeError::Encode { path, message });
        }
        std::fs::rename(&unfinished, &path).map_err(keep)?;
        Ok(path)
    }

    /// Names all that the clip depends on; the number at the end goes up when the encoder's settings change.
    fn file_name(&self) -> String {
        let Self { width, height, rate, key_interval, seconds, slices, kbps } = self;
        let kbps = kbps.map(|kbps| format!("-{kbps}kbps")).unwrap_or_default();
        format!(
            "testsrc-{width}x{height}-{rate}fps-key{key_interval}-{seconds}s-{slices}slices{kbps}-v1.h264"
        )
    }

    fn arguments(&self) -> Vec<String> {
        let Self { width, height, rate, key_interval, seconds, slices, kbps } = self;
        // No B slices: the camera sends in the order of the file. One thread: the same bytes on every machine.
        let x264 = format!(
            "keyint={key_interval}:min-keyint={key_interval}:scenecut=0:bframes=0:sliced-threads=0:slices={slices}:threads=1"
        );
        let noise = if kbps.is_some() { ",noise=alls=16:allf=t:all_seed=1" } else { "" };
        let source = format!("testsrc2=size={width}x{height}:rate={rate}:duration={seconds}{noise}");
        let amount: Vec<String> = match kbps {
            Some(kbps) => {
                let [rate, half] = [format!("{kbps}k"), format!("{}k", kbps / 2)];
                ["-preset", "veryfast", "-b:v", &rate, "-maxrate", &rate, "-bufsize", &half]
                    .map(str::to_owned)
                    .to_vec()
            }
            None => ["-crf", "23"].map(str::to_owned).to_vec(),
        };
        let words =
            ["-hide_banner", "-loglevel", "error", "-y", "-f", "lavfi", "-i", &source, "-c:v", "libx264"];
        let encoder = ["-profile:v", "main", "-pix_fmt", "yuv420p", "-x264-params", &x264, "-f", "h264"];
        let words = words.map(str::to_owned).into_iter().chain(amount);
        words.chain(encoder.map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::clip::Clip;
    use super::*;

    #[tokio::test]
    async fn a_made_clip_has_its_pictures_and_key_frames() {
        let folder = std::env::temp_dir().join(format!("streamfleet-recipe-{}", std::process::id()));
        let recipe =
            Recipe { width: 64, height: 48, rate: 10, key_interval: 5, seconds: 2, slices: 2, kbps: None };
        let path = recipe.make(&folder).await.unwrap();
        let clip = Clip::read(&path).unwrap();
        let keys: Vec<usize> =
            clip.pictures.iter().enumerate().filter(|(_, p)| p.key).map(|(i, _)| i).collect();
        assert_eq!((clip.len(), keys), (20, vec![0, 5, 10, 15]));
        // Two slices each, behind the parameter sets of key frames.
        assert!(clip.pictures.iter().all(|p| p.nals.len() == if p.key { 4 } else { 2 }));
        assert_eq!(recipe.make(&folder).await.unwrap(), path);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_bitrate_is_kept_to() {
        let folder = std::env::temp_dir().join(format!("streamfleet-bitrate-{}", std::process::id()));
        let recipe = Recipe { seconds: 8, ..Recipe::tiny() };
        let clip = Clip::read(&recipe.make(&folder).await.unwrap()).unwrap();
        let kbps = clip.bytes() * 8 / 1000 / 8;
        assert!((285..=315).contains(&kbps), "{kbps} instead of 300 kbit/s");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
