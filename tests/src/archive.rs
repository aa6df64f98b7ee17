//! Reads a stream's archive without our consumer, for counting what is lost: with the plain SDK, all fragments, those
//! too that a newer one supersedes.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_kinesisvideo::config::SharedCredentialsProvider;
use aws_sdk_kinesisvideo::types::ApiName;
use aws_sdk_kinesisvideoarchivedmedia::Client as ArchiveClient;
use aws_sdk_kinesisvideoarchivedmedia::types::{
    Fragment as ListedFragment, FragmentSelector, FragmentSelectorType, TimestampRange,
};
use bytes::Bytes;
use streamfleet_media::fragment::{Fragment, FragmentNumber, FragmentReader};
use streamfleet_media::h264::{AvcConfiguration, nals_avcc, sei};
use streamfleet_media::mkv::Frame;
use url::Url;

use crate::camera::picture_digest;
use crate::journal::ArchivedPicture;

/// The region that everything local is in.
pub const REGION: &str = "eu-west-1";
/// What the emulator knows as access key and secret by default.
pub const KEY: &str = "streamfleet";

/// As many fragments as one recall may hold without coming near the quota of 500 a second.
const RECALL_AT_ONCE: usize = 100;

/// Configuration for SDK clients of a local service at `endpoint`, over plain HTTP.
pub async fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(KEY, KEY, None, None, "local");
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(endpoint)
        .load()
        .await
}

/// Makes a stream that keeps its video for a day, and gives its ARN.
pub async fn create_stream(config: &SdkConfig, name: &str) -> Result<String> {
    let client = aws_sdk_kinesisvideo::Client::new(config);
    client.create_stream().stream_name(name).data_retention_in_hours(24).send().await?;
    loop {
        let described = client.describe_stream().stream_name(name).send().await?;
        let stream = described.stream_info().context("the answer has no stream")?;
        if stream.status().is_some_and(|status| status.as_str() == "ACTIVE") {
            return Ok(stream.stream_arn().context("the stream has no ARN")?.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All pictures of a stream, in the order of their fragments' numbers. Each of them must bear the camera's mark.
pub async fn pictures(config: &SdkConfig, stream: &str) -> Result<Vec<ArchivedPicture>> {
    let mut pictures = Vec::new();
    for fragment in &recording(config, stream).await? {
        pictures.extend(pictures_of(fragment)?);
    }
    Ok(pictures)
}

/// All fragments of a stream, in the order of their numbers.
pub async fn recording(config: &SdkConfig, stream: &str) -> Result<Vec<Fragment>> {
    let list = archive_client(config, stream, ApiName::ListFragments).await?;
    let media = archive_client(config, stream, ApiName::GetMediaForFragmentList).await?;
    let mut recording = Vec::new();
    for numbers in fragment_numbers(&list, stream).await?.chunks(RECALL_AT_ONCE) {
        let fragments = recall(&media, stream, numbers).await?;
        ensure!(fragments.len() == numbers.len(), "{} of {} fragments came", fragments.len(), numbers.len());
        recording.extend(fragments);
    }
    Ok(recording)
}

/// How many bytes of fragments a stream has stored.
pub async fn stored_bytes(config: &SdkConfig, stream: &str) -> Result<u64> {
    let list = archive_client(config, stream, ApiName::ListFragments).await?;
    let fragments = fragments(&list, stream).await?;
    Ok(fragments.iter().map(|fragment| fragment.fragment_size_in_bytes.max(0) as u64).sum())
}

/// How many fragments a stream has stored.
pub async fn stored_fragments(config: &SdkConfig, stream: &str) -> Result<usize> {
    let list = archive_client(config, stream, ApiName::ListFragments).await?;
    Ok(fragments(&list, stream).await?.len())
}

/// Each fragment of a stream by itself, in the order of their numbers, as the service gives it.
pub async fn media(config: &SdkConfig, stream: &str) -> Result<Vec<Bytes>> {
    let list = archive_client(config, stream, ApiName::ListFragments).await?;
    let media = archive_client(config, stream, ApiName::GetMediaForFragmentList).await?;
    let mut all = Vec::new();
    for number in fragment_numbers(&list, stream).await? {
        let call = media.get_media_for_fragment_list().stream_name(stream).fragments(number);
        all.push(call.send().await?.payload.collect().await?.into_bytes());
    }
    Ok(all)
}

/// A client for the endpoint that an API of a stream has. Its host is the one of `config`, whatever the service
/// advertises: producers may go through a proxy that is in the way here.
async fn archive_client(config: &SdkConfig, stream: &str, api: ApiName) -> Result<ArchiveClient> {
    let control = aws_sdk_kinesisvideo::Client::new(config);
    let answer = control.get_data_endpoint().stream_name(stream).api_name(api).send().await?;
    let advertised = Url::parse(answer.data_endpoint().context("the answer names no endpoint")?)?;
    let own = Url::parse(config.endpoint_url().context("the configuration names no endpoint")?)?;
    let endpoint = own.join(advertised.path())?;
    let builder = aws_sdk_kinesisvideoarchivedmedia::config::Builder::from(config).endpoint_url(endpoint);
    Ok(ArchiveClient::from_conf(builder.build()))
}

/// The numbers of all fragments, in their order.
async fn fragment_numbers(client: &ArchiveClient, stream: &str) -> Result<Vec<String>> {
    let mut numbers: Vec<FragmentNumber> = Vec::new();
    for fragment in fragments(client, stream).await? {
        numbers.push(fragment.fragment_number().context("a fragment has no number")?.parse()?);
    }
    numbers.sort();
    Ok(numbers.iter().map(ToString::to_string).collect())
}

/// What the service lists of a stream, all of it.
async fn fragments(client: &ArchiveClient, stream: &str) -> Result<Vec<ListedFragment>> {
    let until = SystemTime::now() + Duration::from_hours(1);
    let range = TimestampRange::builder()
        .start_timestamp(SystemTime::UNIX_EPOCH.into())
        .end_timestamp(until.into())
        .build()?;
    let selector = FragmentSelector::builder()
        .fragment_selector_type(FragmentSelectorType::ServerTimestamp)
        .timestamp_range(range)
        .build()?;
    let mut all = Vec::new();
    let mut pages =
        client.list_fragments().stream_name(stream).fragment_selector(selector).into_paginator().send();
    while let Some(page) = pages.try_next().await? {
        all.extend(page.fragments.unwrap_or_default());
    }
    Ok(all)
}

async fn recall(client: &ArchiveClient, stream: &str, numbers: &[String]) -> Result<Vec<Fragment>> {
    let call = client.get_media_for_fragment_list().stream_name(stream).set_fragments(Some(numbers.to_vec()));
    let body = call.send().await?.payload.collect().await?;
    let mut reader = FragmentReader::new();
    reader.push(body.into_bytes());
    reader.finish();
    let mut fragments = Vec::new();
    while let Some(fragment) = reader.next()? {
        ensure!(!fragment.metadata.is_error(), "the archive says {:?}", fragment.metadata);
        fragments.push(fragment);
    }
    Ok(fragments)
}

/// The pictures in a fragment, by their marks.
pub fn pictures_of(fragment: &Fragment) -> Result<Vec<ArchivedPicture>> {
    let name = fragment.metadata.number.as_ref().context("a fragment has no number")?.to_string();
    let producer = fragment.metadata.producer_timestamp.context("a fragment has no producer time")? as i64;
    let began = fragment.timecode.with_context(|| format!("fragment {name} has no cluster"))?;
    ensure!(fragment.header.timecode_scale == 1_000_000, "fragment {name} does not count in milliseconds");
    let track = fragment.header.tracks.first().with_context(|| format!("fragment {name} has no track"))?;
    let sps = AvcConfiguration::parse(&track.codec_private)?.sps.first().cloned().unwrap_or_default();
    let picture = |frame: &Frame| {
        let number = sei::picture_number(&frame.payload);
        Ok(ArchivedPicture {
            number: number.with_context(|| format!("a picture of fragment {name} has no mark"))?,
            digest: picture_digest(&sps, nals_avcc(&frame.payload)),
            key: frame.key,
            unix_ms: producer + frame.timecode - began,
            fragment: name.clone(),
        })
    };
    fragment.frames.iter().map(picture).collect()
}
