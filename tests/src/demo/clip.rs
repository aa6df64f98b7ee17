//! A clip that came back from the archive: what the plugin says of it, and what ffmpeg's programs find in it.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};

/// How long a stretch may be missing where a pod was replaced.
pub const GAP_LIMIT: SignedDuration = SignedDuration::from_secs(30);

/// The longest gap that `kubectl kvs clip` names of those that end after `since`, where something was done; zero where
/// there is none. What is still on its way is no gap, nor is the time before the camera's first picture.
pub fn gap_after(said: &str, since: Timestamp) -> Result<SignedDuration> {
    let gaps = said.lines().filter_map(|line| line.trim().strip_prefix("not stored: "));
    let gaps: Vec<_> = gaps.map(gap).collect::<Result<_>>()?;
    let after = gaps.into_iter().filter(|(_, to)| *to > since);
    Ok(after.map(|(from, to)| to.duration_since(from)).max().unwrap_or_default())
}

/// The ends of `FROM to TO (LENGTH)`.
fn gap(text: &str) -> Result<(Timestamp, Timestamp)> {
    let mut words = text.split(' ');
    let (from, to) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
    let time = |word: &str| word.parse().with_context(|| format!("no gap: {text}"));
    Ok((time(from)?, time(to)?))
}

/// What ffprobe says of a file's video, in one line.
pub fn probe(file: &str) -> Result<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries"]);
    command.args(["stream=codec_name,profile,width,height,nb_read_packets:format=format_name,duration"]);
    command.args(["-of", "compact=nokey=0", file]);
    Ok(without_complaint(&mut command)?.trim().replace('\n', "  "))
}

/// Decodes all of a file, with the times that it has: by default ffmpeg rounds them to whole pictures of the rate that it guesses, and
/// finds fault where two become one, as after minutes of a camera whose clock is some parts in a thousand off.
pub fn decode(file: &str) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-xerror", "-i", file, "-enc_time_base", "-1", "-f", "null", "-"]);
    without_complaint(&mut command).map(drop)
}

/// `nb_read_packets` of a line of [`probe`].
pub fn packets(line: &str) -> u64 {
    let after = line.split("nb_read_packets=").nth(1).unwrap_or_default();
    let digits = after.split(|character: char| !character.is_ascii_digit()).next();
    digits.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The output of a program that must succeed and say nothing on standard error: with `-v error`, that is every fault.
fn without_complaint(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("failed to run {name}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed ({}): {}", output.status, complaint.trim());
    ensure!(complaint.trim().is_empty(), "{name} finds fault with the clip: {}", complaint.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_from_the_line() {
        assert_eq!(packets("stream|codec_name=h264|nb_read_packets=1500  format|duration=60"), 1500);
        assert_eq!(packets("stream|codec_name=h264"), 0);
    }

    #[test]
    fn the_gap_across_a_moment_is_read_from_what_the_plugin_says() {
        let longest = |said: &str, since: &str| gap_after(said, since.parse().unwrap());
        let said = "door.mkv: 48.0s of door, 2 fragments, 2 gaps\n  \
                    not stored: 2026-11-23T09:59:10.000Z to 2026-11-23T09:59:20.500Z (10.5s)\n  \
                    not stored: 2026-11-23T09:59:30.000Z to 2026-11-23T09:59:32.000Z (2.0s)\n  \
                    not stored yet: 2026-11-23T09:59:57.460Z to 2026-11-23T10:59:57.460Z (1h)\n";
        let (begin, between) = ("2026-11-23T09:59:11Z", "2026-11-23T09:59:31Z");
        assert_eq!(longest(said, begin).unwrap(), SignedDuration::from_millis(10_500));
        assert_eq!(longest(said, between).unwrap(), SignedDuration::from_secs(2));
        assert_eq!(longest("door.mkv: 60.0s of door, no gaps\n", begin).unwrap(), SignedDuration::ZERO);
        assert!(longest("  not stored: sometimes\n", begin).is_err());
    }

    #[test]
    fn a_complaint_is_an_error_even_of_a_program_that_succeeds() {
        let shell = |script: &str| without_complaint(Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo fine").unwrap(), "fine\n");
        assert!(shell("echo broken >&2").unwrap_err().to_string().contains("broken"));
        assert!(shell("exit 1").is_err());
    }
}
