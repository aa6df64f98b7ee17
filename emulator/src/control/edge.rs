//! Edge configurations of streams. Nobody records at an edge here: what is set is in sync after a while.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Answer, At, Control, EdgeRecord, Selection, StreamRecord, name_from_token,
    requests::{ListEdge, StartEdgeUpdate},
    streams::{check_active, names_after},
};
use crate::{clock::seconds, error::ServiceError};

/// Configurations on one page of `ListEdgeAgentConfigurations` that asks for no number.
const LIST_DEFAULT: usize = 5;

impl Control {
    pub(super) fn describe_edge(&self, at: &At<'_>, request: &Selection) -> Answer {
        let record = self.find_stream(at, request)?;
        edge_info(&record, at.now).ok_or_else(ServiceError::no_edge_configuration)
    }

    pub(super) fn start_edge_update(&mut self, at: &At<'_>, request: StartEdgeUpdate) -> Answer {
        let record = self.find_stream(at, &request.stream)?;
        check_active(&record.phases, &format!("stream {}", record.name), at.now)?;
        if record.retention_hours == 0 {
            return Err(ServiceError::no_data_retention());
        }
        let config = request.edge_config;
        let present = record.edge.as_ref().filter(|edge| edge.sync_status(at.now).is_some());
        if let Some(edge) = present {
            if edge.sync_status(at.now) != Some("IN_SYNC") {
                return Err(ServiceError::in_use("The edge configuration is being synced."));
            }
            if edge.config["HubDeviceArn"] != config["HubDeviceArn"] {
                let message = "an edge configuration is moved to another device by deleting it first";
                return Err(ServiceError::invalid_argument(message));
            }
        }
        let edge = EdgeRecord {
            config,
            created_ms: present.map_or(at.now, |edge| edge.created_ms),
            updated_ms: at.now,
            in_sync_at_ms: at.now + self.options.updating_ms,
            gone_at_ms: None,
        };
        let record = StreamRecord { edge: Some(edge), ..StreamRecord::clone(&record) };
        let record = self.put_stream(record, Some(at.now));
        edge_info(&record, at.now).ok_or_else(ServiceError::no_edge_configuration)
    }

    pub(super) fn delete_edge(&mut self, at: &At<'_>, request: &Selection) -> Answer {
        let mut record = StreamRecord::clone(&*self.find_stream(at, request)?);
        let present = record.edge.as_mut().filter(|edge| edge.sync_status(at.now).is_some());
        let edge = present.ok_or_else(ServiceError::no_edge_configuration)?;
        edge.updated_ms = at.now;
        edge.gone_at_ms = edge.gone_at_ms.or(Some(at.now + self.options.deleting_ms));
        self.put_stream(record, Some(at.now));
        Ok(json!({}))
    }

    pub(super) fn list_edge(&self, at: &At<'_>, request: &ListEdge) -> Answer {
        let after = request.next_token.as_deref().map(name_from_token).transpose()?;
        let is_of_hub = |record: &&Arc<StreamRecord>| {
            let hub = record.edge.as_ref().and_then(|edge| edge.config["HubDeviceArn"].as_str());
            hub == Some(request.hub_device_arn.as_str())
        };
        let mut found = names_after(&self.streams, at.scope, "", after.as_deref())
            .filter(is_of_hub)
            .filter_map(|record| Some((record, edge_info(record, at.now)?)));
        let page: Vec<_> = found.by_ref().take(request.max_results.unwrap_or(LIST_DEFAULT)).collect();
        let token = page.last().filter(|_| found.next().is_some()).map(|(last, _)| hex::encode(&last.name));
        let configs: Vec<Value> = page.into_iter().map(|(_, info)| info).collect();
        let mut answer = json!({ "EdgeConfigs": configs });
        if let Some(token) = token {
            answer["NextToken"] = token.into();
        }
        Ok(answer)
    }
}

fn edge_info(record: &StreamRecord, now: u64) -> Option<Value> {
    let edge = record.edge.as_ref()?;
    Some(json!({
        "StreamName": record.name,
        "StreamARN": record.arn(),
        "CreationTime": seconds(edge.created_ms),
        "LastUpdatedTime": seconds(edge.updated_ms),
        "SyncStatus": edge.sync_status(now)?,
        "EdgeConfig": edge.config,
    }))
}
