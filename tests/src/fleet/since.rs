//! What an operator has called, said and told since a moment.

use std::fs;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::site::Site;
use crate::e2e::emulator::Call;
use crate::e2e::operator::loud_lines;

/// Events that are read at a time.
const PAGE: u32 = 500;

/// A moment.
#[derive(Debug)]
pub struct Since {
    call: u64,
    said: usize,
    at: Timestamp,
}

impl Since {
    /// Now.
    pub async fn now(site: &Site) -> Result<Self> {
        let call = site.world.emulator.last_call().await?;
        let said = fs::read(site.world.operator_log())?.len();
        Ok(Self { call, said, at: Timestamp::now() })
    }

    /// All calls to AWS since then.
    pub async fn calls(&self, site: &Site) -> Result<Vec<Call>> {
        site.world.emulator.calls(self.call).await
    }

    /// How many warnings and errors are in the log since then.
    pub fn loud_lines(&self, site: &Site) -> Result<usize> {
        let log = fs::read(site.world.operator_log())?;
        Ok(loud_lines(&String::from_utf8_lossy(log.get(self.said..).unwrap_or_default())))
    }

    /// The names of the objects that events have been about since then, and their reasons, one for each event.
    pub async fn events(&self, site: &Site) -> Result<Vec<(String, String)>> {
        let api: Api<Event> = site.world.api(&site.namespace);
        let mut told = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&params).await?;
            let newer = page
                .items
                .into_iter()
                .filter(|event| event.event_time.as_ref().is_some_and(|time| time.0 >= self.at));
            told.extend(newer.map(|event| {
                let name = event.regarding.and_then(|about| about.name).unwrap_or_default();
                (name, event.reason.unwrap_or_default())
            }));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(told),
            }
        }
    }
}
