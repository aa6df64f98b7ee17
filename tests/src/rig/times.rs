//! Whether pictures are stored with the time that they were taken at.

use anyhow::{Result, bail, ensure};

use crate::journal::{ArchivedPicture, Entry};

/// How far a stored picture's time may be from when the camera took it: of most pictures, and of any on a busy machine.
const CLOCK_ERROR_MS_USUAL: i64 = 250;
const CLOCK_ERROR_MS_MAX: i64 = 2_000;

/// Numbers rise with the producer's time, and each picture's time is near the moment that the camera took it at. Gives
/// the largest distance, in milliseconds.
pub fn check_times(journal: &[Entry], archive: &[ArchivedPicture]) -> Result<i64> {
    let Some(Entry::Start { unix_ms, picture_micros }) = journal.first() else {
        bail!("the journal does not begin with the camera's start")
    };
    ensure!(!archive.is_empty(), "nothing is stored");
    let mut by_time: Vec<&ArchivedPicture> = archive.iter().collect();
    by_time.sort_by_key(|picture| (picture.unix_ms, picture.number));
    for pair in by_time.windows(2) {
        ensure!(pair[0].number <= pair[1].number, "order and time differ: {:?} {:?}", pair[0], pair[1]);
    }
    let taken = |number: u64| unix_ms + (number * picture_micros / 1000) as i64;
    let mut distances: Vec<i64> =
        archive.iter().map(|picture| (picture.unix_ms - taken(picture.number)).abs()).collect();
    distances.sort_unstable();
    let (usual, distance) = (distances[distances.len() / 2], distances[distances.len() - 1]);
    ensure!(usual <= CLOCK_ERROR_MS_USUAL, "half of the pictures' times are {usual} ms off, or more");
    ensure!(distance <= CLOCK_ERROR_MS_MAX, "a picture's time is {distance} ms off");
    Ok(distance)
}
