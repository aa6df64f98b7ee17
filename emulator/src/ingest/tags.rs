//! Reads the `Tags` of a producer and keeps them to the service's limits.

use streamfleet_media::{
    ack::ErrorId,
    ebml::Event,
    limits::{
        TAG_END_OF_FRAGMENT, TAG_IMAGE_GENERATION, TAG_IMAGE_PREFIX, TAG_NAME_BYTES_MAX, TAG_NOTIFICATION,
        TAG_RESERVED_PREFIX, TAG_VALUE_BYTES_MAX, TAGS_PER_FRAGMENT_MAX,
    },
    mkv::ids,
};

/// The names beginning with `AWS` that a producer may use.
const AWS_NAMES_ALLOWED: [&str; 4] =
    [TAG_END_OF_FRAGMENT, TAG_IMAGE_GENERATION, TAG_IMAGE_PREFIX, TAG_NOTIFICATION];

/// What one `Tags` element held.
#[derive(Debug, Default)]
pub struct Tags {
    entries: Vec<(String, String)>,
    /// Muxers write tags about the whole file or a track with `Targets`; the producer SDKs' metadata have none.
    has_targets: bool,
}

impl Tags {
    /// Takes note of an event inside the element.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Start(start) if start.id == ids::SIMPLE_TAG => self.entries.push(Default::default()),
            Event::Start(start) if start.id == ids::TARGETS => self.has_targets = true,
            Event::Data(data) if data.id == ids::TAG_NAME => {
                if let Some((name, _)) = self.entries.last_mut() {
                    *name = text(&data.payload);
                }
            }
            Event::Data(data) if data.id == ids::TAG_STRING => {
                if let Some((_, value)) = self.entries.last_mut() {
                    *value = text(&data.payload);
                }
            }
            Event::Start(_) | Event::Data(_) | Event::End(_) => {}
        }
    }

    /// Whether these describe the file rather than a fragment: written by a muxer, copied into every chunk, not counted.
    pub fn are_of_the_file(&self) -> bool {
        self.has_targets
    }

    /// Whether the fragment is closed behind these.
    pub fn end_the_fragment(&self) -> bool {
        self.entries.iter().any(|(name, _)| name == TAG_END_OF_FRAGMENT)
    }

    /// Counts these to the fragment's `count` so far.
    pub fn count_to(&self, count: &mut usize) -> Result<(), ErrorId> {
        for (name, value) in self.entries.iter().filter(|(name, _)| name != TAG_END_OF_FRAGMENT) {
            *count += 1;
            let reserved =
                name.starts_with(TAG_RESERVED_PREFIX) && !AWS_NAMES_ALLOWED.contains(&name.as_str());
            if *count > TAGS_PER_FRAGMENT_MAX
                || name.len() > TAG_NAME_BYTES_MAX
                || value.len() > TAG_VALUE_BYTES_MAX
                || reserved
            {
                return Err(ErrorId::FragmentMetadataLimitReached);
            }
        }
        Ok(())
    }
}

/// Old producer SDKs pad strings with zero bytes.
fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).trim_end_matches('\0').to_owned()
}
