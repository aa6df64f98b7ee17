//! ARNs of streams and channels: `arn:{partition}:kinesisvideo:{region}:{account}:{kind}/{name}/{creation ms}`.

/// The parts of an ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    /// Region.
    pub region: &'a str,
    /// Account id.
    pub account: &'a str,
    /// `stream` or `channel`.
    pub kind: &'a str,
    /// The name.
    pub name: &'a str,
    /// Creation time in milliseconds since the epoch.
    pub created_ms: u64,
}

/// Takes an ARN apart; `None` when it is none.
pub fn parse(arn: &str) -> Option<Arn<'_>> {
    let mut parts = arn.splitn(6, ':');
    let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let mut path = resource.splitn(3, '/');
    let (kind, name, created) = (path.next()?, path.next()?, path.next()?);
    let holds = arn == "arn"
        && partition.starts_with("aws")
        && service == "kinesisvideo"
        && !region.is_empty()
        && !account.is_empty()
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && created.bytes().all(|byte| byte.is_ascii_digit());
    let created_ms = created.parse().ok().filter(|_| holds)?;
    Some(Arn { region, account, kind, name, created_ms })
}

/// The name in the ARN of a stream.
pub fn stream_name(arn: &str) -> Option<&str> {
    parse(arn).filter(|arn| arn.kind == "stream").map(|arn| arn.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_taken_apart() {
        let arn = "arn:aws:kinesisvideo:eu-central-1:123456789012:stream/cam-1/1732012345678";
        let parts = parse(arn).unwrap();
        assert_eq!((parts.region, parts.account, parts.kind), ("eu-central-1", "123456789012", "stream"));
        assert_eq!((parts.name, parts.created_ms), ("cam-1", 1_732_012_345_678));
        assert_eq!(stream_name("arn:aws:kinesisvideo:r:1:channel/c/1"), None);
        assert_eq!(parse("cam-1"), None);
        assert_eq!(parse("arn:aws:kinesisvideo:r:1:stream/c/x"), None);
    }
}
