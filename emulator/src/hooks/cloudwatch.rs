//! Hooks on CloudWatch: what alarms have told, calls beyond the rates, values of metrics.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Query, order};
use crate::{control::Scope, service::Service};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallsOrder {
    /// That of keys which name none, when absent.
    account: Option<String>,
    region: String,
    calls: Vec<OneCall>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneCall {
    operation: String,
    input: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricOrder {
    account: Option<String>,
    region: String,
    stream: String,
    metric: String,
    value: f64,
}

/// Answers a request for one of them.
pub fn answer(
    service: &Service,
    method: &Method,
    segments: &[&str],
    query: &str,
    body: &[u8],
) -> Result<Value, String> {
    match (method.as_str(), segments) {
        ("GET", ["notifications"]) => {
            let (since, limit) = Query::of(query).range()?;
            let told = service.cloudwatch.notifications(since, limit);
            serde_json::to_value(told).map_err(|error| error.to_string())
        }
        ("POST", ["cloudwatch"]) => {
            let CallsOrder { account, region, calls } = order(body)?;
            let scope = scope(service, account, region);
            let answers: Vec<Value> = calls.iter().map(|call| carry_out(service, &scope, call)).collect();
            Ok(json!({ "answers": answers }))
        }
        ("POST", ["metrics"]) => {
            let MetricOrder { account, region, stream, metric, value } = order(body)?;
            service.cloudwatch.record(&scope(service, account, region), &metric, &stream, value);
            Ok(json!({}))
        }
        _ => Err("no such hook".to_owned()),
    }
}

fn scope(service: &Service, account: Option<String>, region: String) -> Scope {
    Scope::new(account.unwrap_or_else(|| service.options.account.clone()), region)
}

fn carry_out(service: &Service, scope: &Scope, call: &OneCall) -> Value {
    match service.cloudwatch.call(scope, &call.operation, &call.input, true) {
        Ok(answer) => json!({ "answer": answer }),
        Err(error) => json!({"error": error.code, "message": error.message}),
    }
}
