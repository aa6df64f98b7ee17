use http::{HeaderName, HeaderValue};

use super::*;

/// The example of the AWS signature test suite.
const SUITE_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SUITE_TIME: &str = "2015-08-30T12:36:00Z";

fn keys(json: &str) -> (Credentials, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("emulator-keys-{:016x}.json", fastrand::u64(..)));
    std::fs::write(&path, json).unwrap();
    (Credentials::load(Some(path.clone())).unwrap(), path)
}

fn suite_keys() -> Credentials {
    let json = format!(r#"{{"keys":[{{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"{SUITE_SECRET}"}}]}}"#);
    let (keys, path) = keys(&json);
    std::fs::remove_file(path).unwrap();
    keys
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, \
         Signature={signature}"
    )
}

fn check(
    method: &Method,
    uri: &str,
    headers: &HeaderMap,
    body: &[u8],
    at: &str,
) -> Result<Caller, AuthError> {
    let request =
        SignedRequest { method, uri: &uri.parse().unwrap(), headers, body: Some(body), service: "service" };
    verify(&request, &suite_keys(), "123456789012", at.parse().unwrap())
}

fn vanilla(signature: &str) -> HeaderMap {
    headers(&[
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", &authorization("host;x-amz-date", signature)),
    ])
}

/// `get-vanilla` of the suite.
const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

#[test]
fn the_suites_vanilla_request_is_believed() {
    let caller = check(&Method::GET, "/", &vanilla(VANILLA), b"", SUITE_TIME).unwrap();
    assert_eq!((caller.account.as_str(), caller.region.as_str()), ("123456789012", "us-east-1"));
    assert_eq!(caller.arn(), "arn:aws:iam::123456789012:user/AKIDEXAMPLE");
}

#[test]
fn the_suites_query_order_is_canonical() {
    // `get-vanilla-query-order-key-case` of the suite.
    let signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
    let uri = "/?Param2=value2&Param1=value1";
    assert!(check(&Method::GET, uri, &vanilla(signature), b"", SUITE_TIME).is_ok());
}

#[test]
fn anything_signed_that_differs_is_noticed() {
    let good = vanilla(VANILLA);
    assert_eq!(check(&Method::POST, "/", &good, b"", SUITE_TIME), Err(AuthError::Mismatch));
    assert_eq!(check(&Method::GET, "/other", &good, b"", SUITE_TIME), Err(AuthError::Mismatch));
    assert_eq!(check(&Method::GET, "/", &good, b"body", SUITE_TIME), Err(AuthError::Mismatch));
    let mut other_host = good.clone();
    other_host.insert("host", HeaderValue::from_static("evil.example"));
    assert_eq!(check(&Method::GET, "/", &other_host, b"", SUITE_TIME), Err(AuthError::Mismatch));
    let mut no_host = good;
    no_host.remove("host");
    assert_eq!(check(&Method::GET, "/", &no_host, b"", SUITE_TIME), Err(AuthError::Mismatch));
}

#[test]
fn the_clock_may_differ_by_five_minutes() {
    let good = vanilla(VANILLA);
    for at in ["2015-08-30T12:31:00Z", "2015-08-30T12:41:00Z"] {
        assert!(check(&Method::GET, "/", &good, b"", at).is_ok(), "{at}");
    }
    for (at, word) in [("2015-08-30T12:41:01Z", "expired"), ("2015-08-30T12:30:59Z", "not yet current")] {
        let error = check(&Method::GET, "/", &good, b"", at).unwrap_err();
        assert!(matches!(error, AuthError::Clock { what, .. } if what == word), "{at}: {error}");
    }
}

#[test]
fn a_missing_a_strange_and_a_broken_authorization_are_told_apart() {
    let mut headers = vanilla(VANILLA);
    headers.remove("authorization");
    assert_eq!(check(&Method::GET, "/", &headers, b"", SUITE_TIME), Err(AuthError::Missing));
    headers.insert("authorization", HeaderValue::from_static("Basic abc"));
    assert!(matches!(check(&Method::GET, "/", &headers, b"", SUITE_TIME), Err(AuthError::Incomplete(_))));
    let unknown = authorization("host;x-amz-date", VANILLA).replace("AKIDEXAMPLE", "NOBODY");
    headers.insert("authorization", HeaderValue::from_str(&unknown).unwrap());
    assert_eq!(check(&Method::GET, "/", &headers, b"", SUITE_TIME), Err(AuthError::UnknownKey));
    let elsewhere = authorization("host;x-amz-date", VANILLA).replace("/service/", "/s3/");
    headers.insert("authorization", HeaderValue::from_str(&elsewhere).unwrap());
    assert_eq!(check(&Method::GET, "/", &headers, b"", SUITE_TIME), Err(AuthError::WrongService("service")));
}

#[test]
fn an_upload_is_signed_as_if_it_were_empty_or_as_its_header_says() {
    let mut request_headers = headers(&[("x-amz-date", "20150830T123600Z")]);
    let hash = |headers: &HeaderMap, body| {
        let request = SignedRequest {
            method: &Method::POST,
            uri: &"/putMedia".parse().unwrap(),
            headers,
            body,
            service: "service",
        };
        payload_hash(&request)
    };
    let of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hash(&request_headers, None).unwrap(), of_nothing);
    let word = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    request_headers.insert("x-amz-content-sha256", HeaderValue::from_static(word));
    assert_eq!(hash(&request_headers, None).unwrap(), word);
    request_headers.insert("x-amz-content-sha256", HeaderValue::from_static(of_nothing));
    assert_eq!(hash(&request_headers, Some(b"body")), Err(AuthError::Mismatch));
}

#[test]
fn keys_are_read_again_when_their_file_changes() {
    let one = r#"{"keys":[{"accessKeyId":"one","secretAccessKey":"s"}]}"#;
    let (keys, path) = keys(one);
    assert!(keys.find("one").is_some() && keys.find("streamfleet").is_none());
    let two = one.replace("one", "two");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::write(&path, two).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert!(keys.find("one").is_none() && keys.find("two").is_some());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn secrets_do_not_show() {
    let (keys, path) =
        keys(r#"{"keys":[{"accessKeyId":"id","secretAccessKey":"PLANTED-1","sessionToken":"PLANTED-2"}]}"#);
    std::fs::write(&path, r#"{"keys":[{"accessKeyId":"id","secretAccessKey":PLANTED-3}]}"#).unwrap();
    let error = Credentials::load(Some(path.clone())).unwrap_err();
    std::fs::remove_file(path).unwrap();
    let shown = format!("{keys:?} {:?} {error:?} {error}", keys.find("id"));
    assert!(!shown.contains("PLANTED"), "{shown}");
}
