//! Which of a source's tracks are stored.

use streamfleet_contract::Audio;
use streamfleet_media::track::Codec;

/// The tracks that are stored, by their index among those that the source has announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Selection {
    pub(super) video: Option<usize>,
    pub(super) audio: Option<usize>,
}

impl Selection {
    /// The first video track; and the first AAC track, or else, where all sound is wanted, the first of G.711. One audio
    /// track at most: no player of the service plays a second.
    pub(super) fn of(tracks: &[Codec], audio: Audio) -> Self {
        let first = |wanted: fn(&Codec) -> bool| tracks.iter().position(wanted);
        let aac = || first(|codec| *codec == Codec::Aac);
        let audio = match audio {
            Audio::None => None,
            Audio::Auto => aac(),
            Audio::All => aac().or_else(|| first(|codec| !codec.is_video())),
        };
        Self { video: first(|codec| codec.is_video()), audio }
    }

    /// The track whose clock the others follow.
    pub(super) fn lead(self) -> usize {
        self.video.or(self.audio).unwrap_or(0)
    }

    /// The codec of the sound that is stored, where the service's HLS cannot play it (kvs-facts §3.3: HLS plays AAC only).
    pub(super) fn unplayable(self, tracks: &[Codec]) -> Option<Codec> {
        self.audio.and_then(|index| tracks.get(index)).copied().filter(|codec| *codec != Codec::Aac)
    }
}

#[cfg(test)]
mod tests {
    use Codec::{Aac, H264, H265, PcmAlaw, PcmMulaw};

    use super::*;

    #[test]
    fn sound_is_chosen_as_the_settings_say() {
        let table = [
            (&[H264, Aac][..], Audio::Auto, Some(0), Some(1)),
            (&[Aac, H265], Audio::Auto, Some(1), Some(0)),
            (&[H264, PcmAlaw], Audio::Auto, Some(0), None),
            (&[H264, PcmAlaw], Audio::All, Some(0), Some(1)),
            (&[H264, PcmMulaw, Aac], Audio::All, Some(0), Some(2)),
            (&[H264, Aac], Audio::None, Some(0), None),
            (&[Aac], Audio::Auto, None, Some(0)),
            (&[H264, H265, Aac, Aac], Audio::All, Some(0), Some(2)),
            (&[], Audio::All, None, None),
        ];
        for (tracks, audio, video, sound) in table {
            let selection = Selection::of(tracks, audio);
            assert_eq!((selection.video, selection.audio), (video, sound), "{tracks:?} {audio:?}");
        }
    }

    #[test]
    fn the_sound_that_hls_cannot_play_is_named() {
        let of = |tracks: &[Codec]| Selection::of(tracks, Audio::All).unplayable(tracks);
        assert_eq!(of(&[H264, PcmMulaw]), Some(PcmMulaw));
        assert_eq!(of(&[H264, Aac]), None);
        assert_eq!(of(&[H264]), None);
    }
}
