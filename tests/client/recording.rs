//! Recordings of real publishers: what is stored, reported and announced.

use super::whole::TestServer;
use super::{DEADLINE, Joined};
use greenroom::app::{event_log, outbox, participants, sessions, stages, storage_configurations};
use greenroom::config::Url;
use serde_json::{Value, json};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Calls an operation with JSON, as the API does.
macro_rules! call_api {
    ($server:expr, $operation:path, $input:tt) => {{
        let input = serde_json::from_value(json!($input)).unwrap();
        serde_json::to_value($operation($server.call.clone(), input).await.unwrap()).unwrap()
    }};
}

/// A folder that is removed at the end.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("greenroom-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TempFolder(path)
    }

    fn flag(&self) -> String {
        format!("--storage=folder:{}", self.0.display())
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sets how the server's stage records.
async fn record(server: &TestServer, more: Value) {
    let made = call_api!(server, storage_configurations::create, {"s3": {"bucketName": "films"}});
    let mut recording = json!({"storageConfigurationArn": made["storageConfiguration"]["arn"]});
    recording.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    call_api!(server, stages::update, {"arn": server.stage, "autoParticipantRecordingConfiguration": recording});
}

/// Waits until the recording of a participant has a state; returns the participant.
async fn until(server: &TestServer, participant: &str, state: &str) -> Value {
    let mut changes = server.call.app.notifier().subscribe();
    let reached = async {
        loop {
            let sessions = call_api!(server, sessions::list, {"stageArn": server.stage});
            let session = &sessions["stageSessions"][0]["sessionId"];
            let found = call_api!(server, participants::get, {
                "stageArn": server.stage, "sessionId": session, "participantId": participant,
            });
            let found = found["participant"].clone();
            if found["recordingState"] == state {
                return found;
            }
            changes.changed().await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("the recording is not {state}"))
}

/// Details of the events of recordings.
async fn announced(server: &TestServer) -> Vec<Value> {
    outbox::relay(&server.call.app).await.unwrap();
    let all = event_log::page(&server.call.app, 0, 1000).await.unwrap();
    let bodies = all.into_iter().map(|row| serde_json::from_str::<Value>(&row.body).unwrap());
    let of_recordings = bodies.filter(|body| body["detail-type"] == "IVS Participant Recording State Change");
    of_recordings.map(|body| body["detail"].clone()).collect()
}

/// A process that is killed at the end of the test, at the latest.
struct Killed(std::process::Child);

impl Killed {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

fn file(root: &Path, participant: &Value, path: &str) -> PathBuf {
    root.join("films").join(participant["recordingS3Prefix"].as_str().unwrap()).join(path)
}

fn text(root: &Path, participant: &Value, path: &str) -> String {
    let file = file(root, participant, path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn metadata(root: &Path, participant: &Value, path: &str) -> Value {
    serde_json::from_str(&text(root, participant, path)).unwrap()
}

/// Publishes until a number of frames is sent.
async fn publish(token: &str, frames: u64) -> Joined {
    let publisher = Joined::start(token, &["--publish", "test-pattern"]);
    publisher.figures("publish", None, |figures| figures["sent"]["frames"].as_u64() >= Some(frames)).await;
    publisher
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_is_recorded_into_a_folder() {
    let folder = TempFolder::new("recorded");
    let server = TestServer::start(&[&folder.flag()]).await;
    record(&server, json!({"hlsConfiguration": {"targetSegmentDurationSeconds": 2}})).await;
    let (alice, token) = server.token(&["PUBLISH"]).await;
    let publisher = publish(&token, 90).await;
    let active = until(&server, &alice, "ACTIVE").await;
    assert_eq!(active["recordingS3BucketName"], "films");
    let session = server.session().await;
    let stage = server.stage.rsplit('/').next().unwrap();
    let prefix = active["recordingS3Prefix"].as_str().unwrap();
    assert!(prefix.starts_with(&format!("{stage}/{session}/{alice}/20")), "{prefix}");
    let started = metadata(&folder.0, &active, "events/recording-started.json");
    assert_eq!(
        (&started["recording_status"], &started["participant_id"]),
        (&json!("RECORDING_STARTED"), &json!(alice))
    );
    publisher.stop().await.0.unwrap();
    let stopped = until(&server, &alice, "STOPPED").await;
    let playlist = text(&folder.0, &stopped, "media/hls/high/playlist.m3u8");
    assert!(playlist.contains("#EXT-X-PLAYLIST-TYPE:VOD") && playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
    for line in playlist.lines().filter(|line| line.ends_with(".mp4")) {
        let segment = file(&folder.0, &stopped, &format!("media/hls/high/{line}"));
        assert!(segment.metadata().unwrap().len() > 1000, "{line}");
    }
    text(&folder.0, &stopped, "media/hls/multivariant.m3u8");
    let ended = metadata(&folder.0, &stopped, "events/recording-ended.json");
    let events = announced(&server).await;
    let names: Vec<_> = events.iter().map(|event| event["event_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Recording Start", "Recording End"]);
    assert_eq!(events[1]["recording_duration_ms"], ended["media"]["hls"]["duration_ms"]);
    assert!(events[1]["recording_duration_ms"].as_i64() >= Some(2500), "{}", events[1]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_reconnects_continues_its_recording() {
    let folder = TempFolder::new("reconnected");
    let server = TestServer::start(&[&folder.flag()]).await;
    record(
        &server,
        json!({"recordingReconnectWindowSeconds": 5, "hlsConfiguration": {"targetSegmentDurationSeconds": 2}}),
    )
    .await;
    let (alice, token) = server.token(&["PUBLISH"]).await;
    let publisher = publish(&token, 60).await;
    let first = until(&server, &alice, "ACTIVE").await;
    publisher.stop().await.0.unwrap();
    until(&server, &alice, "STOPPING").await;
    let publisher = publish(&token, 60).await;
    let second = until(&server, &alice, "ACTIVE").await;
    assert_eq!(first["recordingS3Prefix"], second["recordingS3Prefix"]);
    publisher.stop().await.0.unwrap();
    let stopped = until(&server, &alice, "STOPPED").await;
    let playlist = text(&folder.0, &stopped, "media/hls/high/playlist.m3u8");
    assert!(playlist.contains("#EXT-X-DISCONTINUITY\n"), "{playlist}");
    assert_eq!(playlist.matches("#EXT-X-ENDLIST").count(), 1, "{playlist}");
    let events = announced(&server).await;
    let names: Vec<_> = events.iter().map(|event| event["event_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Recording Start", "Recording End"]);
    assert!(events[1]["recording_duration_ms"].as_i64() >= Some(3000), "{}", events[1]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bucket_the_recording_fails_and_the_publication_goes_on() {
    let folder = TempFolder::new("refused");
    let server = TestServer::start(&[&folder.flag(), "--storage-create-buckets=off"]).await;
    record(&server, json!({})).await;
    let (alice, token) = server.token(&["PUBLISH"]).await;
    let publisher = publish(&token, 30).await;
    until(&server, &alice, "FAILED").await;
    let events = announced(&server).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["event_name"], &events[0]["error_code"]),
        (&json!("Recording Start Failure"), &json!("NoSuchBucket"))
    );
    publisher.figures("publish", None, |figures| figures["sent"]["frames"].as_u64() >= Some(60)).await;
    assert_eq!(server.participant(&alice).await["state"], "CONNECTED");
    publisher.stop().await.0.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_completes_its_recordings_after_its_restart() {
    let folder = TempFolder::new("killed");
    let database = folder.0.join("store.db");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, storage) = (format!("127.0.0.1:{port}"), folder.flag());
    let flags = [storage.as_str()];
    let start = || TestServer::start_on(&listen, Url::File(database.clone()), &flags);
    let server = start().await;
    record(&server, json!({"hlsConfiguration": {"targetSegmentDurationSeconds": 2}})).await;
    let (alice, token) = server.token(&["PUBLISH"]).await;
    let stage = server.stage.clone();
    server.stop().await;
    let url = format!("--database-url=sqlite://{}", database.display());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_greenroom"));
    command.args(["serve", "--listen", &listen, &url, &storage]);
    let mut killed = Killed(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let output = killed.0.stdout.take().unwrap();
    // The first line is printed once the server listens.
    let first = tokio::task::spawn_blocking(move || std::io::BufReader::new(output).lines().next());
    tokio::time::timeout(DEADLINE, first).await.unwrap().unwrap().unwrap().unwrap();
    let publisher = publish(&token, 200).await;
    killed.kill();
    let mut server = start().await;
    server.stage = stage;
    let stopped = until(&server, &alice, "STOPPED").await;
    let playlist = text(&folder.0, &stopped, "media/hls/high/playlist.m3u8");
    assert!(playlist.contains("\n0.mp4") && playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
    let ended = metadata(&folder.0, &stopped, "events/recording-ended.json");
    let events = announced(&server).await;
    let names: Vec<_> = events.iter().map(|event| event["event_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Recording Start", "Recording End"]);
    assert_eq!(events[1]["recording_duration_ms"], ended["media"]["hls"]["duration_ms"]);
    server.stop().await;
    let _ = tokio::time::timeout(Duration::from_secs(1), publisher.stop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_completes_its_recordings() {
    let folder = TempFolder::new("stopped");
    let server = TestServer::start(&[&folder.flag()]).await;
    record(&server, json!({})).await;
    let (alice, token) = server.token(&["PUBLISH"]).await;
    let publisher = publish(&token, 45).await;
    let active = until(&server, &alice, "ACTIVE").await;
    server.stop().await;
    let ended = metadata(&folder.0, &active, "events/recording-ended.json");
    assert!(ended["media"]["hls"]["duration_ms"].as_i64() >= Some(1000), "{ended}");
    assert!(text(&folder.0, &active, "media/hls/high/playlist.m3u8").contains("#EXT-X-ENDLIST"));
    let _ = tokio::time::timeout(Duration::from_secs(1), publisher.stop()).await;
}
