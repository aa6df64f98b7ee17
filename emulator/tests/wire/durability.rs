//! `kill -9` of the real binary.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{Clients, Folder, Upload, cluster, head};

/// The binary as a process; killed when dropped.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    async fn start(data: &Path) -> Self {
        let addresses = data.join("addresses.json");
        let _ = fs::remove_file(&addresses);
        let child = Command::new(env!("CARGO_BIN_EXE_streamfleet-emulator"))
            .args(["--listen", "127.0.0.1:0", "--persist-delay", "0..20", "--state-delay", "0", "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self { child, url: String::new() };
        let begun = Instant::now();
        while process.url.is_empty() {
            if let Ok(text) = fs::read_to_string(&addresses) {
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                process.url = format!("http://{}", json["http"].as_str().unwrap());
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process
    }

    /// SIGKILL: `std` sends no other.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_was_persisted_survives_a_kill_in_the_middle_of_an_upload() {
    let folder = Folder::new();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut time = 1000;
    let mut process = Process::start(&folder.0).await;
    let arn = Clients::new(&process.url).create("cam", 1).await;
    for round in 0..5 {
        let clients = Clients::new(&process.url);
        let mut upload = Upload::open(&clients, "cam").await;
        assert_eq!(upload.status, 200, "{}", upload.head);
        upload.send(&head(&[1])).await;
        // Fragments go on arriving while the kill comes; each round is killed at another moment.
        let mut persisted = 0;
        while persisted < 3 + round {
            upload.send(&cluster(time)).await;
            time += 1000;
            let received = time - 2000;
            if received >= 1000 && upload_has(&mut upload, &mut acknowledged).await {
                persisted += 1;
            }
        }
        process.kill();
        process = Process::start(&folder.0).await;
        let clients = Clients::new(&process.url);
        let stored: Vec<String> =
            clients.stored("cam").await.into_iter().filter_map(|one| one.fragment_number).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|number| !stored.contains(number)).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        let numbers_are_unique = stored.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(numbers_are_unique, "{stored:?}");
    }
    assert!(acknowledged.is_sorted(), "numbers grow over restarts: {acknowledged:?}");
    let described = Clients::new(&process.url).control().describe_stream().stream_name("cam").send().await;
    assert_eq!(described.unwrap().stream_info.unwrap().stream_arn, Some(arn));
}

/// Reads acknowledgements up to the next BUFFERING or PERSISTED; whether it was PERSISTED, whose number is noted.
async fn upload_has(upload: &mut Upload, acknowledged: &mut Vec<String>) -> bool {
    loop {
        let ack = upload.ack().await.expect("the session goes on");
        match ack["EventType"].as_str() {
            Some("PERSISTED") => {
                acknowledged.push(ack["FragmentNumber"].as_str().unwrap().to_owned());
                return true;
            }
            Some("BUFFERING") => return false,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_change_that_was_answered_survives_a_kill() {
    let folder = Folder::new();
    let mut process = Process::start(&folder.0).await;
    let clients = Clients::new(&process.url);
    let kept = clients.create("kept", 3).await;
    let deleted = clients.create("deleted", 3).await;
    clients.control().tag_stream().stream_arn(&kept).tags("a", "b").send().await.unwrap();
    clients.control().delete_stream().stream_arn(&deleted).send().await.unwrap();
    process.kill();
    let process = Process::start(&folder.0).await;
    let kvs = Clients::new(&process.url).control();
    let listed = kvs.list_streams().send().await.unwrap().stream_info_list.unwrap();
    assert_eq!(listed.iter().filter_map(|info| info.stream_arn()).collect::<Vec<_>>(), [kept.as_str()]);
    let tags = kvs.list_tags_for_stream().stream_arn(&kept).send().await.unwrap().tags.unwrap();
    assert_eq!(tags.get("a").map(String::as_str), Some("b"));
}

#[tokio::test]
async fn two_emulators_do_not_share_a_folder() {
    let folder = Folder::new();
    let _process = Process::start(&folder.0).await;
    let output = Command::new(env!("CARGO_BIN_EXE_streamfleet-emulator"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(&folder.0)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use by another emulator"), "{output:?}");
}
