//! What stands around the test: cameras on this machine, classes, and the objects with something wrong in them.

use anyhow::Result;
use serde_json::{Value, json};
use streamfleet_tests::camera::{self, Clip, Login, Recipe};
use streamfleet_tests::e2e::World;
use streamfleet_tests::e2e::emulator::{ACCOUNT, free_port};
use streamfleet_tests::e2e::manifests::{camera, own_stream, secret};
use streamfleet_tests::e2e::other_camera::OtherCamera;
use streamfleet_tests::tools::cache_dir;

use crate::secrets::{CAMERA_PASSWORD, WRONG_CAMERA_PASSWORD};

/// The user that the cameras with a password know.
pub const CAMERA_USER: &str = "viewer";

/// The cameras that stand on this machine.
pub struct Cameras {
    /// One without, one with a password.
    pub ours: Vec<camera::Camera>,
    pub others: Vec<OtherCamera>,
}

impl Cameras {
    pub async fn start(world: &World) -> Result<Self> {
        let clip = Clip::read(&Recipe::default().make(&cache_dir().join("media")).await?)?;
        let mut ours = Vec::new();
        for login in
            [None, Some(Login { user: CAMERA_USER.to_owned(), password: CAMERA_PASSWORD.to_owned() })]
        {
            let mut options = camera::Options::on_loopback(clip.clone());
            options.listen = (world.cluster.bridge_address(), 0).into();
            options.login = login;
            ours.push(camera::Camera::start(options).await?);
        }
        let mut others = Vec::new();
        for codec in ["vp8", "mjpeg"] {
            others.push(OtherCamera::start(&world.folder, world.cluster.bridge_address(), codec).await?);
        }
        Ok(Self { ours, others })
    }
}

/// The names of the classes that are used.
pub struct Classes {
    pub good: String,
    pub closed: String,
    pub other_account: String,
}

pub async fn make_classes(world: &mut World) -> Result<Classes> {
    let other = ACCOUNT.chars().rev().collect::<String>();
    Ok(Classes {
        good: world.class("good", &json!({})).await?,
        closed: world.class("closed", &json!({ "allowedNamespaces": { "from": "None" } })).await?,
        other_account: world.class("other-account", &json!({ "aws": { "accountID": other } })).await?,
    })
}

pub fn with_credentials(class: &str, secret: &str) -> Value {
    let mut more = own_stream(class);
    more["credentialsRef"] = json!({ "name": secret });
    more
}

/// A Camera with a source that is no RTSP camera.
pub fn with_source(name: &str, source: Value, class: &str) -> Value {
    let mut object = camera(name, "", &own_stream(class));
    object["spec"]["source"] = source;
    object
}

/// All objects but those of the healthy camera and of refused AWS credentials.
pub fn broken_objects(world: &World, cameras: &Cameras, classes: &Classes) -> Result<Vec<Value>> {
    let login = cameras.ours[1].url();
    let nobody = free_port(world.cluster.bridge_address())?;
    let good = &classes.good;
    let plain = cameras.ours[0].url();
    let container = json!({ "container": { "image": "registry.example/ffmpeg:7" } });
    Ok(vec![
        with_source("container", container, good),
        secret("half-secret", &[("username", CAMERA_USER)]),
        secret("wrong-secret", &[("username", CAMERA_USER), ("password", WRONG_CAMERA_PASSWORD)]),
        camera("secret-missing", &login, &with_credentials(good, "late-secret")),
        camera("key-missing", &login, &with_credentials(good, "half-secret")),
        camera("wrong-password", &login, &with_credentials(good, "wrong-secret")),
        camera("unreachable", &format!("rtsp://{nobody}/live"), &own_stream(good)),
        camera("unknown-host", "rtsp://nobody.cameras.example/live", &own_stream(good)),
        camera("vp8", &cameras.others[0].url, &own_stream(good)),
        camera("mjpeg", &cameras.others[1].url, &own_stream(good)),
        camera("no-class", &plain, &own_stream("no-such-class")),
        camera("not-admitted", &plain, &own_stream(&classes.closed)),
        camera("other-account", &plain, &own_stream(&classes.other_account)),
    ])
}
