//! Hooks on the control plane and on who may call: options, a dump of the streams, roles, revoked accounts.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::order;
use crate::{auth::Revocation, clock::now_ms, roles::RoleOrder, service::Service};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeOrder {
    account: String,
    /// `access-denied` when absent.
    r#as: Option<Revocation>,
}

/// Answers a request for one of them.
pub fn answer(service: &Service, method: &Method, segments: &[&str], body: &[u8]) -> Result<Value, String> {
    match (method.as_str(), segments) {
        ("GET", ["options"]) => json(service.catalog.options()),
        ("POST", ["options"]) => {
            let options = service.catalog.options().with(&order::<Value>(body)?)?;
            service.catalog.set_options(options);
            json(service.catalog.options())
        }
        ("GET", ["streams"]) => streams(service),
        ("GET", ["roles"]) => json(service.roles.order()),
        ("POST", ["roles"]) => {
            service.roles.set(order::<RoleOrder>(body)?);
            Ok(json!({}))
        }
        ("GET", ["revoked"]) => json(service.revoked.list()),
        ("POST", ["revoked"]) => {
            let RevokeOrder { account, r#as } = order(body)?;
            service.revoked.revoke(account, r#as.unwrap_or(Revocation::AccessDenied));
            Ok(json!({}))
        }
        ("DELETE", ["revoked", account]) => Ok(json!({"restored": service.revoked.restore(account)})),
        _ => Err("no such hook".to_owned()),
    }
}

fn json(value: impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Every stream of every account and region with its record, ARN and status.
fn streams(service: &Service) -> Result<Value, String> {
    let now = now_ms();
    let described = |stream: std::sync::Arc<crate::store::Stream>| {
        let record = stream.record();
        let mut value = json(&*record)?;
        value["arn"] = record.arn().into();
        value["status"] = json(record.status(now))?;
        Ok(value)
    };
    service.catalog.all().into_iter().map(described).collect()
}
