//! Values of a Camera, but for those of its template, which are the stream's.

use serde_json::{Value, json};

use super::{Change, Row, long, members};

/// Everything that is refused in a Camera.
pub fn rows() -> Vec<Row> {
    let mut rows = streams();
    rows.extend(rtsp());
    rows.extend(files_and_patterns());
    rows.extend(containers());
    rows.extend(environment());
    rows
}

fn streams() -> Vec<Row> {
    let template = json!({ "spec": { "streamClassName": "standard" } });
    let one = "set exactly one of spec.streamRef";
    let (name, secret) = ("spec.streamRef.name", "spec.credentialsRef.name");
    let (stream_form, secret_form) = ("must be the name of a VideoStream", "must be the name of a Secret");
    let login = |name: Value| {
        json!({ "source": { "testPattern": null, "rtsp": { "url": "rtsp://door.example/live" } },
        "credentialsRef": { "name": name } })
    };
    let seconds = |seconds: i32| json!({ "offlineAfterSeconds": seconds });
    let target = |seconds: i32| json!({ "fragment": { "targetSeconds": seconds } });
    vec![
        (json!({ "streamRef": null }), "spec", one),
        (json!({ "streamTemplate": template }), "spec", one),
        (json!({ "streamRef": null, "streamTemplate": {} }), "spec.streamTemplate.spec", "Required value"),
        (json!({ "streamRef": { "name": null } }), name, "Required value"),
        (json!({ "streamRef": { "name": "" } }), name, stream_form),
        (json!({ "streamRef": { "name": "the yard" } }), name, stream_form),
        (json!({ "streamRef": { "name": long(254) } }), name, "may not be more than 253"),
        (login(json!(null)), secret, "Required value"),
        (login(json!("Door Login")), secret, secret_form),
        (login(json!(long(254))), secret, "may not be more than 253"),
        (
            json!({ "credentialsRef": { "name": "login" } }),
            "spec.credentialsRef",
            "is for cameras that are read over RTSP",
        ),
        (json!({ "audio": "Aac" }), "spec.audio", "\"Auto\", \"None\", \"All\""),
        (seconds(4), "spec.offlineAfterSeconds", "must be 5 to 3600"),
        (seconds(3601), "spec.offlineAfterSeconds", "must be 5 to 3600"),
        (target(0), "spec.fragment.targetSeconds", "must be 1 to 20"),
        (target(21), "spec.fragment.targetSeconds", "must be 1 to 20"),
    ]
}

/// An RTSP camera with `more` beside its URL.
fn camera(url: &str, more: &Value) -> Value {
    let mut rtsp = json!({ "url": url });
    streamfleet_tests::e2e::manifests::merge(&mut rtsp, more);
    json!({ "source": { "testPattern": null, "rtsp": rtsp } })
}

fn rtsp() -> Vec<Row> {
    let (source, url) = ("spec.source", "spec.source.rtsp.url");
    let (one, form) = ("must name exactly one kind of source", "must be of the form rtsp://HOST[:PORT]/PATH");
    let (good, secure) = ("rtsp://door.example/live", "rtsps://door.example/live");
    let bundle = json!({ "tls": { "caBundle": long(65_537) } });
    let both = json!({ "tls": { "caBundle": "PEM", "insecureSkipVerify": true } });
    vec![
        (camera(secure, &both), "spec.source.rtsp.tls", "set one of them"),
        (json!({ "source": { "testPattern": null } }), source, one),
        (json!({ "source": { "rtsp": { "url": good } } }), source, one),
        (camera(good, &json!({ "url": null })), url, "Required value"),
        (camera("", &json!({})), source, form),
        (camera("http://door.example/live", &json!({})), source, form),
        (camera("rtsp:///live", &json!({})), source, form),
        (camera("rtsp://door.example:port/live", &json!({})), source, form),
        (
            camera("rtsp://me:word@door.example/live", &json!({})),
            source,
            "must not hold a user name or password",
        ),
        (camera(&format!("{good}{}", long(2048)), &json!({})), url, "may not be more than 2048"),
        (
            camera(good, &json!({ "transport": "Multicast" })),
            "spec.source.rtsp.transport",
            "\"Tcp\", \"Udp\"",
        ),
        (camera(secure, &json!({ "transport": "Udp" })), source, "cannot be Udp for an rtsps URL"),
        (camera(good, &json!({ "tls": {} })), source, "spec.source.rtsp.tls is for rtsps URLs"),
        (camera(secure, &bundle), "spec.source.rtsp.tls.caBundle", "may not be more than 65536"),
    ]
}

fn files_and_patterns() -> Vec<Row> {
    let file = |claim: Value, path: Value| json!({ "source": { "testPattern": null, "file": { "claimName": claim, "path": path } } });
    let pattern = |pattern: Value| json!({ "source": { "testPattern": pattern } });
    let (claim, path) = ("spec.source.file.claimName", "spec.source.file.path");
    let (claim_form, path_form) =
        ("must be the name of a PersistentVolumeClaim", "must be a path on the volume without ..");
    let (width, height, rate) = (
        "spec.source.testPattern.width",
        "spec.source.testPattern.height",
        "spec.source.testPattern.frameRate",
    );
    let (width_form, height_form) = ("a multiple of 16 from 160 to 1920", "a multiple of 16 from 96 to 1088");
    vec![
        (file(json!(null), json!("door.mp4")), claim, "Required value"),
        (file(json!("My Clips"), json!("door.mp4")), claim, claim_form),
        (file(json!(long(254)), json!("door.mp4")), claim, "may not be more than 253"),
        (file(json!("clips"), json!(null)), path, "Required value"),
        (file(json!("clips"), json!("")), path, path_form),
        (file(json!("clips"), json!("/etc/passwd")), path, path_form),
        (file(json!("clips"), json!("a/../../b")), path, path_form),
        (file(json!("clips"), json!(long(1025))), path, "may not be more than 1024"),
        (pattern(json!({ "width": 144 })), width, width_form),
        (pattern(json!({ "width": 641 })), width, width_form),
        (pattern(json!({ "width": 1936 })), width, width_form),
        (pattern(json!({ "height": 80 })), height, height_form),
        (pattern(json!({ "height": 100 })), height, height_form),
        (pattern(json!({ "height": 1104 })), height, height_form),
        (pattern(json!({ "frameRate": 0 })), rate, "must be 1 to 60"),
        (pattern(json!({ "frameRate": 61 })), rate, "must be 1 to 60"),
    ]
}

/// A container with `more` beside its image.
fn container(more: &Value) -> Value {
    let mut container = json!({ "image": "registry.example/ffmpeg:7" });
    streamfleet_tests::e2e::manifests::merge(&mut container, more);
    json!({ "source": { "testPattern": null, "container": container } })
}

fn containers() -> Vec<Row> {
    let resources = |resources: Value| container(&json!({ "resources": resources }));
    let (image, form) = ("spec.source.container.image", "must be the name of an image without spaces");
    let (requests, limits) =
        ("spec.source.container.resources.requests", "spec.source.container.resources.limits");
    let (memory, memory_limit) =
        ("spec.source.container.resources.requests.memory", "spec.source.container.resources.limits.memory");
    let quantity = "must hold quantities, for example";
    let (command, args, env) =
        ("spec.source.container.command", "spec.source.container.args", "spec.source.container.env");
    vec![
        (container(&json!({ "image": null })), image, "Required value"),
        (container(&json!({ "image": "" })), image, form),
        (container(&json!({ "image": "ffmpeg 7" })), image, form),
        (container(&json!({ "image": long(1025) })), image, "may not be more than 1024"),
        (container(&json!({ "command": vec!["a"; 65] })), command, "must have at most 64 items"),
        (
            container(&json!({ "command": [long(4097)] })),
            "spec.source.container.command[0]",
            "more than 4096",
        ),
        (container(&json!({ "args": vec!["a"; 257] })), args, "must have at most 256 items"),
        (container(&json!({ "args": [long(4097)] })), "spec.source.container.args[0]", "more than 4096"),
        (container(&json!({ "env": vec![json!({ "name": "A" }); 65] })), env, "must have at most 64 items"),
        (resources(json!({ "requests": { "cpu": "1 core" } })), requests, quantity),
        (resources(json!({ "requests": { "memory": long(33) } })), memory, "more than 32"),
        (resources(json!({ "requests": members(17, &json!("1")) })), requests, "must have at most 16 items"),
        (resources(json!({ "limits": { "memory": "lots" } })), limits, quantity),
        (resources(json!({ "limits": { "memory": long(33) } })), memory_limit, "more than 32"),
        (resources(json!({ "limits": members(17, &json!("1")) })), limits, "must have at most 16 items"),
    ]
}

/// Environment variables without what they need.
fn environment() -> Vec<Row> {
    macro_rules! needed {
        ($($source:literal: $($field:literal),+;)+) => {
            vec![$($((
                container(&json!({ "env": [{ "name": "A", "valueFrom": { $source: {} } }] })),
                concat!("spec.source.container.env[0].valueFrom.", $source, ".", $field),
                "Required value",
            )),+),+]
        };
    }
    let mut rows: Vec<Row> = needed! {
        "configMapKeyRef": "key", "name";
        "fieldRef": "fieldPath";
        "fileKeyRef": "key", "path", "volumeName";
        "resourceFieldRef": "resource";
        "secretKeyRef": "key", "name";
    };
    let nameless = container(&json!({ "env": [{ "value": "a" }] }));
    rows.push((nameless, "spec.source.container.env[0].name", "Required value"));
    rows
}

/// Changes that are refused.
pub fn changes() -> Vec<Change> {
    let template =
        json!({ "streamRef": null, "streamTemplate": { "spec": { "streamClassName": "standard" } } });
    let says = "spec.streamRef and spec.streamTemplate cannot be exchanged for each other";
    vec![(json!({}), template.clone(), "spec", says), (template, json!({}), "spec", says)]
}

/// Values at the edge that are taken.
pub fn accepted() -> Vec<Value> {
    vec![
        camera("rtsp://door.example:554/live?channel=1", &json!({})),
        camera("rtsps://[2001:db8::1]:322/live", &json!({ "tls": { "insecureSkipVerify": true } })),
        json!({ "offlineAfterSeconds": 5, "fragment": { "targetSeconds": 20 } }),
        json!({ "source": { "testPattern": { "width": 1920, "height": 1088, "frameRate": 60 } } }),
        json!({ "source": { "testPattern": null, "file": { "claimName": "clips", "path": "a/b..mp4" } } }),
        container(
            &json!({ "env": [{ "name": "A", "value": "b" }], "resources": { "limits": { "memory": "1Gi" } } }),
        ),
    ]
}
