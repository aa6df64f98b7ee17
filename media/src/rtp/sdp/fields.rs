//! The inner form of attributes, and of the URLs that media are controlled by.

/// The lines that describe media. All others may be as they like: the parser would refuse the whole for one of them.
pub(super) fn essential_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut has_version = false;
    for line in text.split(['\r', '\n', '\0']).map(str::trim) {
        let is_version = line.starts_with("v=");
        if is_version && !has_version || has_version && (line.starts_with("m=") || line.starts_with("a=")) {
            has_version = true;
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out
}

/// What follows a payload type, where it is this one: `96 H264/90000`.
pub(super) fn numbered(line: &str, payload_type: u8) -> Option<&str> {
    let (number, rest) = line.split_once(' ')?;
    (number.trim().parse() == Ok(payload_type)).then(|| rest.trim())
}

/// An encoding in lower case, its clock's rate, its channels (RFC 8866 §6.6).
pub(super) fn rtpmap(map: &str) -> Option<(String, u32, u16)> {
    let mut parts = map.split('/').map(str::trim);
    let encoding = parts.next()?.to_ascii_lowercase();
    let rate = parts.next()?.parse().ok().filter(|rate| *rate > 0)?;
    let channels = parts.next().and_then(|channels| channels.parse().ok()).filter(|channels| *channels > 0);
    Some((encoding, rate, channels.unwrap_or(1)))
}

/// Names in lower case, and values, of a list with semicolons.
pub(super) fn parameters(list: &str) -> Vec<(String, String)> {
    let pairs = list.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect()
}

/// The URL that `control` means, from the URL that the description has as its base.
///
/// Relative ones are put behind the base, as all clients do and cameras expect, against RFC 3986: a base of
/// `rtsp://h/cam?channel=1` and `trackID=0` are `rtsp://h/cam?channel=1/trackID=0`.
pub fn resolve(base: &str, control: Option<&str>) -> String {
    match control.map(str::trim) {
        None | Some("" | "*") => base.to_owned(),
        Some(control) if is_absolute(control) => control.to_owned(),
        Some(control) => {
            let slash = if base.ends_with('/') || control.starts_with('/') { "" } else { "/" };
            let control = if base.ends_with('/') { control.trim_start_matches('/') } else { control };
            format!("{base}{slash}{control}")
        }
    }
}

fn is_absolute(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| matches!(scheme.to_ascii_lowercase().as_str(), "rtsp" | "rtsps" | "rtspu"))
}
