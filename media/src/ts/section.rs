//! Tables of a transport stream: which streams there are (ISO/IEC 13818-1 §2.4.4).

use super::packet::Packet;

/// Bytes that a section of these tables may have (§2.4.4.4, §2.4.4.9).
const SECTION_BYTES_MAX: usize = 1_024;

/// Joins the sections of one stream of tables.
#[derive(Debug, Default)]
pub(super) struct Sections {
    held: Vec<u8>,
    /// Whether the beginning of the section that is held is known.
    open: bool,
}

impl Sections {
    /// Takes a packet; gives the newest section in it that is whole and unharmed.
    pub(super) fn push(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let mut payload = packet.payload;
        let mut found = None;
        if packet.starts {
            // pointer_field: so many bytes still belong to the section before.
            let (pointer, rest) = payload.split_first()?;
            let (before, behind) = rest.split_at_checked(usize::from(*pointer))?;
            if self.open {
                self.held.extend_from_slice(before);
                found = self.take();
            }
            self.held.clear();
            self.open = true;
            payload = behind;
        }
        if self.open {
            self.held.extend_from_slice(payload);
            while let Some(section) = self.take() {
                found = Some(section);
            }
        }
        found
    }

    /// The first section that is held, if it is whole.
    fn take(&mut self) -> Option<Vec<u8>> {
        let &[table, high, low, ..] = &self.held[..] else { return None };
        let length = 3 + (usize::from(high & 0x0F) << 8 | usize::from(low));
        // Filled up with 0xFF, which is no table.
        if table == 0xFF || length > SECTION_BYTES_MAX {
            self.held.clear();
            self.open = false;
            return None;
        }
        if self.held.len() < length {
            return None;
        }
        let rest = self.held.split_off(length);
        let section = std::mem::replace(&mut self.held, rest);
        (checksum(&section) == 0).then_some(section)
    }
}

/// CRC-32 of the standard's annex A; 0 over a whole section.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc & 0x8000_0000 == 0 { 0 } else { 0x04C1_1DB7 }
        })
    })
}

/// The stream with the map of the first program (§2.4.4.4); `None` for other tables, and one that does not hold yet.
pub(super) fn program_map(section: &[u8]) -> Option<u16> {
    let entries = content(section, 0, 8)?;
    // Program 0 is the network's.
    let program = entries.chunks_exact(4).find(|entry| entry[..2] != [0, 0])?;
    Some(pid(program[2], program[3]))
}

/// A stream of a program: its type and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamEntry {
    pub(super) kind: u8,
    pub(super) pid: u16,
}

/// The streams of a program (§2.4.4.9); `None` for other tables, and one that does not hold yet.
pub(super) fn streams(section: &[u8]) -> Option<Vec<StreamEntry>> {
    let content = content(section, 2, 8)?;
    let (head, rest) = content.split_at_checked(4)?;
    let mut rest = rest.get(length12(head[2], head[3])..)?;
    let mut streams = Vec::new();
    while let Some((entry, behind)) = rest.split_at_checked(5) {
        streams.push(StreamEntry { kind: entry[0], pid: pid(entry[1], entry[2]) });
        rest = behind.get(length12(entry[3], entry[4])..)?;
    }
    Some(streams)
}

/// What is between head and checksum of a table that holds now.
fn content(section: &[u8], table: u8, head: usize) -> Option<&[u8]> {
    let is_current = section.first() == Some(&table) && section.get(5)? & 1 == 1;
    section.get(head..section.len().checked_sub(4)?).filter(|_| is_current)
}

const fn pid(high: u8, low: u8) -> u16 {
    (high as u16 & 0x1F) << 8 | low as u16
}

const fn length12(high: u8, low: u8) -> usize {
    (high as usize & 0x0F) << 8 | low as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(table: u8, content: &[u8]) -> Vec<u8> {
        let length = (5 + content.len() + 4) as u8;
        let mut section = [&[table, 0xB0, length, 0, 1, 0xC1, 0, 0], content].concat();
        section.extend(checksum(&section).to_be_bytes());
        section
    }

    fn packet(starts: bool, payload: &[u8]) -> Packet<'_> {
        Packet { pid: 0, starts, continuity: 0, discontinuity: false, scrambled: false, payload }
    }

    #[test]
    fn the_first_program_is_found_behind_the_network() {
        let table = section(0, &[0, 0, 0xE0, 0x10, 0, 1, 0xF0, 0x00]);
        assert_eq!(program_map(&table), Some(0x1000));
        assert_eq!(program_map(&section(0, &[0, 0, 0xE0, 0x10])), None);
        assert_eq!(program_map(&section(2, &[0, 1, 0xF0, 0])), None);
    }

    #[test]
    fn streams_are_listed_past_their_descriptors() {
        let table = section(
            2,
            &[
                0xE1, 0, 0xF0, 2, 9, 9, 0x1B, 0xE1, 0, 0xF0, 0, 0x0F, 0xE1, 1, 0xF0, 3, 10, 1, 2, 0x24, 0xE1,
                2, 0xF0, 0,
            ],
        );
        let found = streams(&table).unwrap();
        let expected = [(0x1B, 0x100), (0x0F, 0x101), (0x24, 0x102)];
        assert_eq!(found, expected.map(|(kind, pid)| StreamEntry { kind, pid }));
        for end in 0..table.len() {
            // No panic, whatever is missing.
            _ = (streams(&table[..end]), program_map(&table[..end]));
        }
    }

    #[test]
    fn sections_are_joined_over_packets_and_damaged_ones_left_out() {
        let table = section(2, &[7; 300]);
        // The length has two bytes.
        let mut table = table;
        table.truncate(table.len() - 4);
        let length = table.len() + 4 - 3;
        table[1] = 0xB0 | (length >> 8) as u8;
        table[2] = length as u8;
        table.extend(checksum(&table).to_be_bytes());
        let mut sections = Sections::default();
        let first = [&[0], &table[..183]].concat();
        assert_eq!(sections.push(&packet(true, &first)), None);
        let rest = [&table[183..], &[0xFF; 20]].concat();
        assert_eq!(sections.push(&packet(false, &rest)), Some(table.clone()));
        // A pointer that leads past the end of the one before.
        assert_eq!(sections.push(&packet(true, &first)), None);
        let tail = [&[(table.len() - 183) as u8], &table[183..], &[0xFF; 3]].concat();
        assert_eq!(sections.push(&packet(true, &tail)), Some(table.clone()));
        let mut damaged = first.clone();
        damaged[50] ^= 1;
        assert_eq!(sections.push(&packet(true, &damaged)), None);
        assert_eq!(sections.push(&packet(false, &rest)), None);
    }
}
