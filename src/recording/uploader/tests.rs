//! Uploads to a server of S3 in this process, on a clock that the tests move.

use super::*;
use crate::domain::faults::{Criteria, Effect, NewRule};
use crate::recording::spool::SpoolSettings;
use crate::storage::fake_s3::{FakeS3, Mode};
use greenroom_recording::layout;
use std::path::PathBuf;

const PREFIX: &str = "st-1/s/p/2026-01-01T00-00-00Z";
const RETRY: Duration = Duration::from_secs(86_400);

/// A node with its spool in a folder that is removed with it.
struct Node {
    folder: PathBuf,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Node {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("greenroom-uploads-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Node { folder, clock: Clock::manual(Timestamp(1_000_000)), metrics: Arc::default() }
    }

    async fn spool(&self, limit: u64) -> Spool {
        let folder = self.folder.join("spool");
        let settings = SpoolSettings { folder, limit: Some(limit), is_chosen: false, is_temporary: false };
        Spool::open(settings).await.unwrap()
    }

    async fn uploader_with(&self, storage: Storage, limit: u64) -> Uploader {
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        Uploader::new(storage, self.spool(limit).await, clock, Ids::Random, metrics, None, RETRY)
    }

    async fn uploader(&self, server: &FakeS3) -> Uploader {
        self.uploader_with(server.storage().await, 64 << 20).await
    }

    /// The files of a recording in the spool.
    fn files(&self, recording: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("spool").join(recording)).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn has_metric(&self, line: &str) -> bool {
        self.metrics.page(crate::metrics::Format::Prometheus).lines().any(|given| given == line)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn of_account(account: &str, bucket: &str) -> Destination {
    Destination { account: account.into(), region: "r".into(), bucket: bucket.into(), prefix: PREFIX.into() }
}

fn to(bucket: &str) -> Destination {
    of_account("1", bucket)
}

fn segment(number: u32) -> Object {
    let contents = format!("segment {number}").into_bytes();
    Object { path: layout::segment(number), content_type: layout::SEGMENT_TYPE, contents }
}

fn playlist(segments: u32) -> Object {
    let contents = format!("{segments} segments").into_bytes();
    Object { path: layout::PLAYLIST.into(), content_type: layout::PLAYLIST_TYPE, contents }
}

fn key(path: &str) -> String {
    format!("/bucket/{PREFIX}/{path}")
}

/// Waits for a number of failed attempts.
async fn has_failed(upload: &Upload, failures: u64) {
    upload.0.status.subscribe().wait_for(|status| status.failures >= failures).await.unwrap();
}

/// Lets time pass until everything is stored: an attempt may fail, and be due again, after the storage has come back.
async fn finished(node: &Node, upload: &Upload) {
    let mut finish = std::pin::pin!(upload.finish());
    loop {
        tokio::select! {
            biased;
            done = &mut finish => return done.unwrap(),
            () = tokio::task::yield_now() => {
                node.clock.advance(Duration::from_secs(1));
                upload.wake();
            }
        }
    }
}

#[tokio::test]
async fn everything_is_stored_a_playlist_after_its_segments_and_the_spool_is_empty() {
    let (node, server) = (Node::new("order"), FakeS3::start().await);
    let uploader = node.uploader(&server).await;
    let upload = uploader.open("rec", to("bucket"), false).unwrap();
    for n in 0..5 {
        upload.add(segment(n)).unwrap();
        upload.add(playlist(n + 1)).unwrap();
    }
    upload.first_confirmed().await.unwrap();
    upload.drained().await.unwrap();
    let puts = server.puts();
    for (at, _) in puts.iter().enumerate().filter(|(_, put)| **put == key(layout::PLAYLIST)) {
        let stored = String::from_utf8(server.objects()[&key(layout::PLAYLIST)].clone()).unwrap();
        assert_eq!(stored, "5 segments", "the last version is what remains");
        assert!(puts[..at].iter().any(|put| *put == key(&layout::segment(0))), "{puts:?}");
    }
    assert_eq!(puts.last(), Some(&key(layout::PLAYLIST)));
    assert_eq!(server.objects().len(), 6);
    upload.finish().await.unwrap();
    assert_eq!(uploader.spool().usage().0, 0);
    assert!(!node.folder.join("spool/rec").exists());
    assert!(node.has_metric(&format!("greenroom_recording_uploaded_objects_total {}", puts.len())));
}

#[tokio::test]
async fn an_outage_of_ten_minutes_loses_nothing() {
    let (node, server) = (Node::new("outage"), FakeS3::start().await);
    let uploader = node.uploader(&server).await;
    let upload = uploader.open("rec", to("bucket"), false).unwrap();
    upload.add(segment(0)).unwrap();
    upload.drained().await.unwrap();
    server.set("", Mode::IsGone);
    let (start, mut made, mut failures) = (node.clock.now(), 1, 0);
    while node.clock.now() < start.plus(Duration::from_secs(600)) {
        upload.add(segment(made)).unwrap();
        upload.add(playlist(made + 1)).unwrap();
        made += 1;
        failures += 1;
        has_failed(&upload, failures).await;
        node.clock.advance(Duration::from_secs(30));
        upload.wake();
    }
    has_failed(&upload, failures + 1).await;
    assert!(upload.failure().is_none() && upload.status().failing.is_some());
    assert_eq!(server.objects().len(), 1);
    server.set("", Mode::Works);
    finished(&node, &upload).await;
    assert_eq!(server.objects().len(), made as usize + 1);
    assert_eq!(server.objects()[&key(layout::PLAYLIST)], playlist(made).contents);
    assert_eq!(uploader.spool().usage().0, 0);
    assert!(upload.status().failing.is_none());
}

#[tokio::test]
async fn a_bucket_that_refuses_the_first_object_fails_the_start_at_once() {
    for (status, code) in [(404, "NoSuchBucket"), (403, "AccessDenied"), (400, "KMS.DisabledException")] {
        let (node, server) = (Node::new(code), FakeS3::start().await);
        server.set("", Mode::Fails(status, code));
        let uploader = node.uploader(&server).await;
        let upload = uploader.open("rec", to("bucket"), false).unwrap();
        upload.add(segment(0)).unwrap();
        assert_eq!(upload.first_confirmed().await.unwrap_err().code, code);
        assert!(matches!(upload.add(segment(1)), Err(AddError::Failed(error)) if error.code == code));
        assert_eq!(upload.finish().await.unwrap_err().code, code);
        assert_eq!(server.requests().len(), 1);
        assert!(node.files("rec").contains(&"failed".to_owned()), "kept for the operator: {:?}", node.files("rec"));
        assert!(node.has_metric(&format!("greenroom_recording_upload_failures_total{{code=\"{code}\"}} 1")));
    }
}

#[tokio::test]
async fn a_refusal_later_is_retried_for_minutes_and_then_fails() {
    let (node, server) = (Node::new("late"), FakeS3::start().await);
    let upload = node.uploader(&server).await.open("rec", to("bucket"), false).unwrap();
    upload.add(segment(0)).unwrap();
    upload.drained().await.unwrap();
    server.set("", Mode::Fails(403, "AccessDenied"));
    upload.add(segment(1)).unwrap();
    for failures in 1..11 {
        has_failed(&upload, failures).await;
        assert!(upload.failure().is_none());
        node.clock.advance(Duration::from_secs(30));
        upload.wake();
    }
    assert_eq!(upload.drained().await.unwrap_err().code, "AccessDenied");
}

#[tokio::test]
async fn a_full_spool_refuses_segments_and_takes_the_end_of_the_recording() {
    let (node, server) = (Node::new("full"), FakeS3::start().await);
    server.set("", Mode::Fails(503, "SlowDown"));
    let uploader = node.uploader_with(server.storage().await, 1 << 20).await;
    let upload = uploader.open("rec", to("bucket"), true).unwrap();
    let big = |number| Object { contents: vec![0; 400 << 10], ..segment(number) };
    upload.add(big(0)).unwrap();
    upload.add(big(1)).unwrap();
    assert_eq!(upload.add(big(2)), Err(AddError::Full(SpoolFull::Disk)));
    upload.add(playlist(2)).unwrap();
    assert!(node.has_metric("greenroom_recording_objects_dropped_total{reason=\"spool_full\"} 1"));
    has_failed(&upload, 1).await;
    server.set("", Mode::Works);
    finished(&node, &upload).await;
    assert_eq!(server.objects().len(), 3);
}

#[tokio::test]
async fn an_account_whose_store_is_away_leaves_room_in_the_spool_for_others() {
    let (node, server) = (Node::new("share"), FakeS3::start().await);
    server.set("away", Mode::Fails(503, "SlowDown"));
    let uploader = node.uploader_with(server.storage().await, 10 << 20).await;
    let upload = uploader.open("rec", to("away"), true).unwrap();
    let big = |number| Object { contents: vec![0; 1 << 20], ..segment(number) };
    (0..8).for_each(|number| upload.add(big(number)).unwrap());
    assert_eq!(upload.add(big(8)), Err(AddError::Full(SpoolFull::Account)));
    upload.add(playlist(8)).unwrap();
    assert!(node.has_metric("greenroom_recording_objects_dropped_total{reason=\"account_share\"} 1"));
    let other = uploader.open("other", of_account("2", "bucket"), false).unwrap();
    other.add(big(0)).unwrap();
    other.drained().await.unwrap();
    assert_eq!(server.objects().len(), 1);
    server.set("away", Mode::Works);
    finished(&node, &upload).await;
    assert_eq!(server.objects().len(), 10);
}

#[tokio::test]
async fn what_a_former_process_left_is_uploaded_first() {
    let (node, server) = (Node::new("crash"), FakeS3::start().await);
    server.set("", Mode::Fails(503, "SlowDown"));
    let uploader = node.uploader(&server).await;
    let upload = uploader.open("rec", to("bucket"), false).unwrap();
    (0..3).for_each(|number| upload.add(segment(number)).unwrap());
    upload.add(playlist(3)).unwrap();
    // In the spool, as the fourth is the last to be written.
    while node.files("rec").len() < 5 {
        tokio::task::yield_now().await;
    }
    uploader.stop();
    assert_eq!(upload.drained().await.unwrap_err().code, "ServiceUnavailable");
    drop((upload, uploader));
    let spool = loop {
        // The former process ends with its tasks.
        let folder = node.folder.join("spool");
        let settings = SpoolSettings { folder, limit: Some(1 << 20), is_chosen: true, is_temporary: false };
        match Spool::open(settings).await {
            Ok(spool) => break spool,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let leftovers = spool.leftovers();
    assert_eq!((leftovers.len(), leftovers[0].objects), (1, 4));
    assert_eq!(leftovers[0].destination, to("bucket"));
    server.set("", Mode::Works);
    let before = server.puts().len();
    let clock = node.clock.clone();
    let storage = server.storage().await;
    let uploader = Uploader::new(storage, spool, clock, Ids::Random, node.metrics.clone(), None, RETRY);
    let upload = uploader.open("rec", to("bucket"), true).unwrap();
    upload.add(playlist(4)).unwrap();
    upload.finish().await.unwrap();
    let puts = &server.puts()[before..];
    assert_eq!(puts[3..], [key(layout::PLAYLIST), key(layout::PLAYLIST)]);
    assert_eq!(server.objects()[&key(layout::PLAYLIST)], playlist(4).contents);
    assert_eq!(uploader.spool().usage().0, 0);
}

#[tokio::test]
async fn with_a_failing_spool_objects_are_uploaded_from_memory() {
    let (node, server) = (Node::new("disk"), FakeS3::start().await);
    // A file where the folder should be.
    std::fs::create_dir_all(&node.folder).unwrap();
    let uploader = node.uploader(&server).await;
    std::fs::write(node.folder.join("spool"), "").unwrap();
    let upload = uploader.open("rec", to("bucket"), false).unwrap();
    (0..3).for_each(|number| upload.add(segment(number)).unwrap());
    upload.add(playlist(3)).unwrap();
    upload.drained().await.unwrap();
    assert_eq!(server.objects().len(), 4);
    assert_eq!(uploader.spool().usage().0, 0);
}

#[tokio::test]
async fn a_bucket_that_hangs_does_not_delay_others() {
    let (node, server) = (Node::new("hang"), FakeS3::start().await);
    server.set("hanging", Mode::Hangs);
    let uploader = node.uploader(&server).await;
    for recording in 0..20 {
        let upload = uploader.open(&format!("rec-{recording}"), to("hanging"), false).unwrap();
        (0..4).for_each(|number| upload.add(segment(number)).unwrap());
    }
    server.received(MAX_UPLOADS_PER_BUCKET).await;
    let upload = uploader.open("rec", to("bucket"), false).unwrap();
    upload.add(segment(0)).unwrap();
    upload.drained().await.unwrap();
    let hanging = server.puts().iter().filter(|put| put.starts_with("/hanging/")).count();
    assert_eq!(hanging, MAX_UPLOADS_PER_BUCKET);
}

/// Controls with a fault of uploads of the account 1, under the id `fault`.
fn controls_with(node: &Node, fault: StorageFault) -> Arc<TestControls> {
    let controls = TestControls::new(node.metrics.clone());
    let rule = NewRule {
        id: "fault".into(),
        scope: Some(to("bucket").scope()),
        criteria: Criteria { bucket: Some("bucket".into()), ..Criteria::default() },
        effect: Effect::Storage(fault),
        skip: 0,
        count: None,
        expires_at: controls.faults.now().plus(Duration::from_secs(3600)),
        seed: 1,
        source: serde_json::Value::Null,
    };
    controls.faults.add(rule).unwrap();
    Arc::new(controls)
}

async fn uploader_with_fault(node: &Node, server: &FakeS3, controls: Arc<TestControls>) -> Uploader {
    let (storage, spool) = (server.storage().await, node.spool(64 << 20).await);
    let (clock, metrics) = (node.clock.clone(), node.metrics.clone());
    Uploader::new(storage, spool, clock, Ids::Random, metrics, Some(controls), RETRY)
}

#[tokio::test]
async fn a_fault_refuses_the_uploads_of_one_account() {
    let (node, server) = (Node::new("fault-refuse"), FakeS3::start().await);
    let controls = controls_with(&node, StorageFault::Refuse);
    let uploader = uploader_with_fault(&node, &server, controls).await;
    let refused = uploader.open("refused", to("bucket"), false).unwrap();
    refused.add(segment(0)).unwrap();
    assert_eq!(refused.first_confirmed().await.unwrap_err().code, "AccessDenied");
    for (recording, destination) in [("other-account", of_account("2", "bucket")), ("other-bucket", to("another"))] {
        let upload = uploader.open(recording, destination, false).unwrap();
        upload.add(segment(0)).unwrap();
        upload.drained().await.unwrap();
    }
    assert_eq!(server.puts().len(), 2);
    assert!(node.has_metric("greenroom_faults_injected_total{effect=\"storage\"} 1"));
}

#[tokio::test]
async fn uploads_that_a_fault_lets_hang_hold_no_permit_and_are_repeated_after_it() {
    let (node, server) = (Node::new("fault-hang"), FakeS3::start().await);
    let controls = controls_with(&node, StorageFault::Hang);
    let uploader = uploader_with_fault(&node, &server, controls.clone()).await;
    let hanging: Vec<_> = (0..20)
        .map(|recording| {
            let upload = uploader.open(&format!("rec-{recording}"), to("bucket"), false).unwrap();
            (0..4).for_each(|number| upload.add(segment(number)).unwrap());
            upload
        })
        .collect();
    let of_rule = || controls.faults.find(None, "fault", |rule| rule.applied).unwrap();
    while of_rule() < 80 {
        tokio::task::yield_now().await;
    }
    let upload = uploader.open("other", of_account("2", "bucket"), false).unwrap();
    upload.add(segment(0)).unwrap();
    upload.drained().await.unwrap();
    assert_eq!(server.puts().len(), 1);
    controls.faults.remove(None, Some("fault"));
    for upload in &hanging {
        has_failed(upload, 1).await;
        assert_eq!(upload.status().failing.unwrap().code, "RequestTimeout");
    }
    for upload in &hanging {
        finished(&node, upload).await;
    }
    assert_eq!(server.puts().len(), 81);
}

#[tokio::test]
async fn an_upload_is_opened_once_and_can_be_abandoned() {
    let (node, server) = (Node::new("open"), FakeS3::start().await);
    server.set("", Mode::Hangs);
    let uploader = node.uploader(&server).await;
    let upload = uploader.open("rec", to("bucket"), false).unwrap();
    let again = uploader.open("rec", to("bucket"), false).unwrap();
    again.add(segment(0)).unwrap();
    assert_eq!(upload.status().pending, 1);
    server.received(1).await;
    upload.abandon(StorageError::new("InternalError", "given up", false)).await;
    assert_eq!(again.failure().unwrap().reason, "given up");
    assert!(uploader.open("../rec", to("bucket"), false).is_err());
    let fresh = uploader.open("rec", to("bucket"), false).unwrap();
    assert!(fresh.failure().is_none(), "a new upload");
}
