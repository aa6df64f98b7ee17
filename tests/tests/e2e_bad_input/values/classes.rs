//! Values of a `StreamClass`.

use serde_json::{Value, json};

use super::{Change, Row, accepted_alarms, alarm_rows, key_rows, long, members, tag_rows};

/// Everything that is refused in a class.
pub fn rows() -> Vec<Row> {
    let mut rows = account();
    rows.extend(endpoints());
    rows.extend(admission());
    rows.extend(streams());
    rows.extend(producer());
    rows.extend(fleet_alarms());
    rows.extend(alarm_rows());
    rows.extend(key_rows(in_stream, "spec.stream.kmsKeyID"));
    rows.extend(tag_rows(in_stream, "spec.stream.tags", "spec.stream.tags.site"));
    rows
}

#[expect(clippy::needless_pass_by_value, reason = "what is merged is given away, as the rows of streams do")]
fn in_stream(stream: Value) -> Value {
    json!({ "stream": stream })
}

const ROLE: &str = "arn:aws:iam::123456789012:role/streamfleet";

fn account() -> Vec<Row> {
    let aws = |aws: Value| json!({ "aws": aws });
    let (region, account, role) = ("spec.aws.region", "spec.aws.accountID", "spec.aws.roleARN");
    let (digits, role_form) = ("must be the 12 digits of an AWS account", "must be the ARN of an IAM role");
    let (external, external_form) = (json!({ "externalID": "bridge-7" }), "must be 2 to 1224 letters");
    let identified = |id: &str| aws(json!({ "roleARN": ROLE, "externalID": id }));
    let other_account = "arn:aws:iam::210987654321:role/streamfleet";
    vec![
        (json!({ "aws": null }), "spec.aws", "Required value"),
        (aws(json!({ "region": null })), region, "Required value"),
        (aws(json!({ "region": "Frankfurt" })), region, "must be an AWS region, for example eu-west-1"),
        (aws(json!({ "region": "" })), region, "must be an AWS region, for example eu-west-1"),
        (aws(json!({ "region": "eu-west-1a" })), region, "must be an AWS region, for example eu-west-1"),
        (aws(json!({ "region": long(65) })), region, "may not be more than 64"),
        (aws(json!({ "accountID": null })), account, "Required value"),
        (aws(json!({ "accountID": "1234" })), account, digits),
        (aws(json!({ "accountID": "1234-5678-9012" })), account, digits),
        (aws(json!({ "accountID": 123_456_789_012_u64 })), account, "must be of type string"),
        (aws(json!({ "accountID": long(65) })), account, "may not be more than 64"),
        (aws(json!({ "roleARN": "streamfleet" })), role, role_form),
        (aws(json!({ "roleARN": "arn:aws:iam::123456789012:user/me" })), role, role_form),
        (aws(json!({ "roleARN": long(2049) })), role, "may not be more than 2048"),
        (
            aws(json!({ "roleARN": other_account })),
            "spec.aws",
            "must be a role of the account in spec.aws.accountID",
        ),
        (aws(external), "spec.aws", "externalID is for a role that is assumed"),
        (identified("x"), "spec.aws", external_form),
        (identified("two words"), "spec.aws", external_form),
        (identified(&long(1225)), "spec.aws", external_form),
        (identified(&long(4097)), "spec.aws.externalID", "may not be more than 4096"),
        (aws(json!({ "fips": "true" })), "spec.aws.fips", "must be of type boolean"),
        (aws(json!({ "caBundle": long(262_145) })), "spec.aws.caBundle", "may not be more than 262144"),
    ]
}

fn endpoints() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, field) in [
        ("kinesisVideo", "spec.aws.endpoints.kinesisVideo"),
        ("sts", "spec.aws.endpoints.sts"),
        ("cloudWatch", "spec.aws.endpoints.cloudWatch"),
    ] {
        let at = |url: &str| {
            let mut endpoints = serde_json::Map::new();
            endpoints.insert(name.to_owned(), json!(url));
            json!({ "aws": { "endpoints": endpoints } })
        };
        let form = "must be a URL with a host and no path, for example https://";
        rows.extend([
            (at("kvs.example"), field, form),
            (at("https://kvs.example/path"), field, form),
            (at("https://user:word@kvs.example"), field, form),
            (at("ftp://kvs.example"), field, form),
            (at(&long(1025)), field, "may not be more than 1024"),
        ]);
    }
    rows
}

fn admission() -> Vec<Row> {
    let admit = |allowed: Value| json!({ "allowedNamespaces": allowed });
    let chosen = |expression: Value| {
        admit(json!({ "from": "Selector", "selector": { "matchExpressions": [expression] } }))
    };
    let whole = "spec.allowedNamespaces";
    let (operators, values) =
        ("must have the operators In, NotIn, Exists or DoesNotExist", "must have values with the");
    let (key, operator) = (
        "spec.allowedNamespaces.selector.matchExpressions[0].key",
        "spec.allowedNamespaces.selector.matchExpressions[0].operator",
    );
    let limits = |limits: Value| json!({ "limits": limits });
    let (deletion, adoption) = ("spec.limits.deletionPolicies", "spec.limits.adoptionPolicies");
    vec![
        (admit(json!({ "from": "Same" })), "spec.allowedNamespaces.from", "\"None\", \"All\", \"Selector\""),
        (admit(json!({ "from": "Selector" })), whole, "selector is needed where from is Selector"),
        (chosen(json!({ "operator": "Exists" })), key, "Required value"),
        (chosen(json!({ "key": "video" })), operator, "Required value"),
        (chosen(json!({ "key": "video", "operator": "Equals", "values": ["a"] })), whole, operators),
        (chosen(json!({ "key": "video", "operator": "In" })), whole, values),
        (chosen(json!({ "key": "video", "operator": "NotIn", "values": [] })), whole, values),
        (chosen(json!({ "key": "video", "operator": "Exists", "values": ["a"] })), whole, values),
        (
            limits(json!({ "streamNames": "Some" })),
            "spec.limits.streamNames",
            "\"Default\", \"Prefixed\", \"Any\"",
        ),
        (
            limits(json!({ "deletionPolicies": ["Keep"] })),
            "spec.limits.deletionPolicies[0]",
            "\"Retain\", \"Delete\"",
        ),
        (limits(json!({ "deletionPolicies": ["Delete", "Delete"] })), deletion, "write each once"),
        (limits(json!({ "deletionPolicies": vec!["Delete"; 5] })), deletion, "must have at most 4 items"),
        (
            limits(json!({ "adoptionPolicies": ["Always"] })),
            "spec.limits.adoptionPolicies[0]",
            "\"IfUnowned\"",
        ),
        (limits(json!({ "adoptionPolicies": ["Never", "Never"] })), adoption, "write each once"),
        (limits(json!({ "adoptionPolicies": vec!["Never"; 7] })), adoption, "must have at most 6 items"),
    ]
}

fn streams() -> Vec<Row> {
    let (prefix, hours) = ("spec.stream.namePrefix", "spec.stream.retentionHours");
    let elsewhere = "arn:aws:kms:eu-central-1:123456789012:alias/cameras";
    vec![
        (
            in_stream(json!({ "kmsKeyID": elsewhere })),
            "spec.stream.kmsKeyID",
            "must be a key in the region of",
        ),
        (in_stream(json!({ "namePrefix": "a b" })), prefix, "may hold only letters, digits"),
        (in_stream(json!({ "namePrefix": "prod/" })), prefix, "may hold only letters, digits"),
        (in_stream(json!({ "namePrefix": long(65) })), prefix, "may not be more than 64"),
        (in_stream(json!({ "retentionHours": -1 })), hours, "must be 0 to 87600"),
        (in_stream(json!({ "retentionHours": 87_601 })), hours, "must be 0 to 87600"),
        (in_stream(json!({ "storageTier": "Cold" })), "spec.stream.storageTier", "\"Hot\", \"Warm\""),
        (in_stream(json!({ "driftPolicy": "Ask" })), "spec.stream.driftPolicy", "\"Correct\", \"Report\""),
        (
            in_stream(json!({ "adoptionPolicy": "All" })),
            "spec.stream.adoptionPolicy",
            "\"Never\", \"IfOwned\"",
        ),
        (
            in_stream(json!({ "deletionPolicy": "Keep" })),
            "spec.stream.deletionPolicy",
            "\"Retain\", \"Delete\"",
        ),
    ]
}

fn producer() -> Vec<Row> {
    let producer = |producer: Value| json!({ "producer": producer });
    let resources = |resources: Value| json!({ "producer": { "resources": resources } });
    let buffer = |buffer: Value| json!({ "producer": { "buffer": buffer } });
    let (image, role) = ("spec.producer.image", "spec.producer.roleARN");
    let (account, secret) = ("spec.producer.serviceAccountName", "spec.producer.credentialsSecretName");
    let (requests, limits) = ("spec.producer.resources.requests", "spec.producer.resources.limits");
    let (memory, size) = ("spec.producer.buffer.memory", "spec.producer.buffer.spool.size");
    let (quantity, whole) = ("must hold quantities, for example", "must be a whole number of Mi or Gi");
    let spool = |spool: Value| buffer(json!({ "spool": spool }));
    vec![
        (producer(json!({ "image": "" })), image, "must be the name of an image without spaces"),
        (
            producer(json!({ "image": "registry.example/a b" })),
            image,
            "must be the name of an image without spaces",
        ),
        (producer(json!({ "image": long(1025) })), image, "may not be more than 1024"),
        (
            producer(json!({ "serviceAccountName": "My Account" })),
            account,
            "must be the name of a ServiceAccount",
        ),
        (producer(json!({ "serviceAccountName": long(254) })), account, "may not be more than 253"),
        (producer(json!({ "credentialsSecretName": "AWS" })), secret, "must be the name of a Secret"),
        (producer(json!({ "credentialsSecretName": long(254) })), secret, "may not be more than 253"),
        (producer(json!({ "roleARN": "producer" })), role, "must be the ARN of an IAM role"),
        (producer(json!({ "roleARN": long(2049) })), role, "may not be more than 2048"),
        (resources(json!({ "requests": { "cpu": "twenty" } })), requests, quantity),
        (resources(json!({ "requests": { "memory": "-1Mi" } })), requests, quantity),
        (
            resources(json!({ "requests": { "memory": long(33) } })),
            "spec.producer.resources.requests.memory",
            "more than 32",
        ),
        (resources(json!({ "requests": members(17, &json!("1")) })), requests, "must have at most 16 items"),
        (resources(json!({ "limits": { "memory": "128MiB" } })), limits, quantity),
        (resources(json!({ "limits": { "cpu": -1 } })), limits, quantity),
        (
            resources(json!({ "limits": { "memory": long(33) } })),
            "spec.producer.resources.limits.memory",
            "more than 32",
        ),
        (resources(json!({ "limits": members(17, &json!("1")) })), limits, "must have at most 16 items"),
        (buffer(json!({ "memory": "64M" })), memory, whole),
        (buffer(json!({ "memory": "0Mi" })), memory, whole),
        (buffer(json!({ "memory": long(33) })), memory, "may not be more than 32"),
        (spool(json!({})), size, "Required value"),
        (spool(json!({ "size": "2G" })), size, whole),
        (spool(json!({ "size": long(33) })), size, "may not be more than 32"),
        (
            spool(json!({ "size": "2Gi", "mode": "All" })),
            "spec.producer.buffer.spool.mode",
            "\"Overflow\", \"Journal\"",
        ),
    ]
}

fn fleet_alarms() -> Vec<Row> {
    let alarms = |alarms: Value| json!({ "alarms": alarms });
    let (fleet, label) = ("spec.alarms.fleet", "spec.alarms.siteLabel");
    let elsewhere = "arn:aws:sns:eu-central-1:123456789012:cameras";
    vec![
        (
            alarms(json!({ "actionARNs": [elsewhere] })),
            "spec.alarms.actionARNs",
            "must be topics in the region of spec.aws.region",
        ),
        (alarms(json!({ "fleet": ["NoIngest"] })), fleet, "cannot hold NoIngest"),
        (alarms(json!({ "fleet": ["ErrorAcks", "ErrorAcks"] })), fleet, "write each once"),
        (alarms(json!({ "fleet": vec!["ErrorAcks"; 19] })), fleet, "must have at most 18 items"),
        (alarms(json!({ "fleet": ["Errors"] })), "spec.alarms.fleet[0]", "supported values: \"NoIngest\""),
        (alarms(json!({ "siteLabel": "" })), label, "must be the key of a label"),
        (alarms(json!({ "siteLabel": "site of camera" })), label, "must be the key of a label"),
        (alarms(json!({ "siteLabel": "Example.com/site" })), label, "must be the key of a label"),
        (alarms(json!({ "siteLabel": format!("a/{}", long(64)) })), label, "must be the key of a label"),
        (alarms(json!({ "siteLabel": long(1025) })), label, "may not be more than 1024"),
    ]
}

/// Changes that are refused.
pub fn changes() -> Vec<Change> {
    let aws = |key: &str, value: &str| {
        let mut aws = serde_json::Map::new();
        aws.insert(key.to_owned(), json!(value));
        json!({ "aws": aws })
    };
    let prefixed = |prefix: &str| in_stream(json!({ "namePrefix": prefix }));
    let prefix = "spec.stream.namePrefix cannot be changed";
    vec![
        (json!({}), aws("region", "eu-west-2"), "spec.aws.region", "spec.aws.region cannot be changed"),
        (
            json!({}),
            aws("accountID", "210987654321"),
            "spec.aws.accountID",
            "spec.aws.accountID cannot be changed",
        ),
        (prefixed("one-"), prefixed("two-"), "spec.stream", prefix),
        (prefixed("one-"), json!({}), "spec.stream", prefix),
        (json!({}), prefixed("two-"), "spec.stream", prefix),
    ]
}

/// Values at the edge that are taken.
pub fn accepted() -> Vec<Value> {
    let mut all = accepted_alarms();
    all.extend([
        json!({ "aws": { "roleARN": ROLE, "externalID": "a=b,c@d:e/f-1_2.3+4", "fips": true } }),
        json!({ "aws": { "endpoints": { "cloudWatch": "https://monitoring.example:8443/", "sts": "http://10.0.0.1" } } }),
        json!({ "aws": { "region": "us-gov-west-1" } }),
        json!({ "stream": { "kmsKeyID": "alias/cameras", "tags": members(46, &json!("a")), "retentionHours": 0 } }),
        json!({ "stream": { "storageTier": "Warm", "driftPolicy": "Report", "adoptionPolicy": "IfUnowned" } }),
        json!({ "limits": { "deletionPolicies": [], "adoptionPolicies": ["Never", "IfOwned", "IfUnowned"] } }),
        json!({ "alarms": { "fleet": ["ErrorAcks", "PlaybackQuota"], "siteLabel": "example.com/site" } }),
        json!({ "alarms": { "siteLabel": "site" } }),
        json!({ "producer": { "resources": { "requests": { "cpu": 1, "memory": "0.5Gi" }, "limits": { "cpu": "20m" } } } }),
        json!({ "allowedNamespaces": { "from": "Selector", "selector": { "matchExpressions":
            [{ "key": "a", "operator": "Exists" }, { "key": "b", "operator": "In", "values": ["c"] }] } } }),
    ]);
    all
}
