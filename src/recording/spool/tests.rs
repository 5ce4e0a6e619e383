use super::space::MAX_MEMORY;
use super::*;
use bytes::Bytes;

/// The settings of a spool for a test, whose folder is removed with them.
struct Temporary(SpoolSettings);

impl Temporary {
    fn new(name: &str, limit: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("greenroom-spool-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Temporary(SpoolSettings { folder, limit: Some(limit), is_chosen: false, is_temporary: false })
    }

    async fn open(&self) -> Spool {
        Spool::open(self.0.clone()).await.unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0.folder);
    }
}

fn destination() -> Destination {
    Destination {
        account: "1".into(),
        region: "r".into(),
        bucket: "bucket".into(),
        prefix: "st/s/p/2026-01-01T00-00-00Z".into(),
    }
}

async fn write(spool: &Spool, recording: &str, number: u64, path: &str, contents: &'static str) -> String {
    let folder = spool.of_recording(recording, destination()).unwrap();
    let name = files::name(number, "video/mp4", path).unwrap();
    folder.write(name.clone(), Bytes::from_static(contents.as_bytes())).await.unwrap();
    name
}

#[tokio::test]
async fn nothing_is_created_before_there_is_something_to_spool() {
    let place = Temporary::new("lazy", 1 << 20);
    let spool = place.open().await;
    assert!(!place.0.folder.exists());
    write(&spool, "rec", 0, "0.mp4", "x").await;
    assert!(place.0.folder.join("rec").exists());
}

#[tokio::test]
async fn what_a_former_process_left_is_found_in_order_without_half_written_files() {
    let place = Temporary::new("recovery", 1 << 20);
    let spool = place.open().await;
    write(&spool, "rec", 2, "media/hls/high/1.mp4", "two").await;
    write(&spool, "rec", 10, "media/hls/high/playlist.m3u8", "ten").await;
    let confirmed = write(&spool, "rec", 1, "media/hls/high/0.mp4", "one").await;
    spool.of_recording("rec", destination()).unwrap().remove(confirmed).await.unwrap();
    let half = place.0.folder.join("rec/.0000000011_video%2Fmp4_media%2Fhls%2Fhigh%2F2.mp4");
    std::fs::write(&half, "half").unwrap();
    std::fs::create_dir(place.0.folder.join("without-destination")).unwrap();
    drop(spool);

    let spool = place.open().await;
    let leftovers = spool.leftovers();
    let [leftover] = &leftovers[..] else { panic!("{leftovers:?}") };
    assert_eq!((&*leftover.recording, leftover.objects, leftover.bytes), ("rec", 2, 6));
    assert_eq!(leftover.destination, destination());
    assert!(!half.exists());
    assert_eq!(spool.usage(), (2 * BLOCK, 1 << 20));
    assert_eq!(spool.reserve("1", 810 << 10, false).unwrap_err(), SpoolFull::Account, "its account holds them");
    assert!(spool.reserve("2", 810 << 10, false).is_ok());
    let objects = spool.take_leftovers("rec");
    let found: Vec<_> = objects.iter().map(|(object, _)| (object.number, &*object.path)).collect();
    assert_eq!(found, [(2, "media/hls/high/1.mp4"), (10, "media/hls/high/playlist.m3u8")]);
    assert!(spool.leftovers().is_empty());
    drop(objects);
    assert_eq!(spool.usage().0, 0);
}

#[tokio::test]
async fn two_processes_do_not_share_a_spool() {
    let place = Temporary::new("lock", 1 << 20);
    let spool = place.open().await;
    write(&spool, "rec", 0, "0.mp4", "x").await;
    let error = Spool::open(place.0.clone()).await.unwrap_err();
    assert!(matches!(error, SpoolError::InUse(_)), "{error}");
    drop(spool);
    place.open().await;
}

#[tokio::test]
async fn the_bytes_are_bounded_with_a_reserve_for_the_end_of_recordings() {
    let place = Temporary::new("bounded", 2 << 20);
    let spool = place.open().await;
    let (first, memory) = spool.reserve("1", 3 << 19, false).unwrap();
    assert_eq!(spool.reserve("1", 1 << 18, false).unwrap_err(), SpoolFull::Account);
    let second = spool.reserve("2", 3 << 17, false).unwrap();
    assert_eq!(spool.reserve("3", 1 << 18, false).unwrap_err(), SpoolFull::Disk);
    let index = spool.reserve("1", 1 << 18, true).unwrap();
    assert_eq!(spool.usage().0, (2 << 20) + (1 << 17));
    drop((first, memory, second));
    assert!(spool.reserve("1", 1 << 20, false).is_ok());
    drop(index);
    assert_eq!(spool.usage().0, 0);
}

#[tokio::test]
async fn memory_is_bounded_apart_from_the_disk() {
    let place = Temporary::new("memory", 1 << 40);
    let spool = place.open().await;
    let (on_disk, memory) = spool.reserve("1", MAX_MEMORY, false).unwrap();
    assert_eq!(spool.reserve("1", 1, true).unwrap_err(), SpoolFull::Memory);
    drop(memory);
    assert!(spool.reserve("1", MAX_MEMORY, false).is_ok(), "the first object is on the disk");
    drop(on_disk);
}

#[tokio::test]
async fn files_of_failed_recordings_are_kept_until_their_space_is_needed_the_oldest_first() {
    let place = Temporary::new("failed", 4 * BLOCK);
    let spool = place.open().await;
    for id in ["old", "new"] {
        write(&spool, id, 0, "0.mp4", "x").await;
        let (reservation, _) = spool.reserve("1", BLOCK, false).unwrap();
        let folder = spool.of_recording(id, destination()).unwrap();
        folder.keep_failed("AccessDenied: denied".into(), vec![reservation]).await.unwrap();
    }
    assert_eq!(spool.usage().0, 2 * BLOCK);
    let reservation = spool.reserve("1", 3 * BLOCK, false).unwrap();
    assert_eq!(spool.usage().0, 4 * BLOCK, "the older one's space is taken");
    drop((reservation, spool));

    let spool = place.open().await;
    assert!(spool.leftovers().is_empty(), "a failed recording is not resumed");
    assert!(place.0.folder.join("new/failed").exists());
    assert_eq!(std::fs::read_to_string(place.0.folder.join("new/failed")).unwrap(), "AccessDenied: denied");
}

#[tokio::test]
async fn a_chosen_folder_must_be_usable() {
    let place = Temporary::new("chosen", 1 << 20);
    std::fs::write(&place.0.folder, "a file").unwrap();
    let settings = SpoolSettings { is_chosen: true, ..place.0.clone() };
    let error = Spool::open(settings).await.unwrap_err();
    assert!(matches!(error, SpoolError::Unusable { .. }), "{error}");
    std::fs::remove_file(&place.0.folder).unwrap();
}

#[test]
fn the_default_folder_follows_from_the_database() {
    let args = |folder: Option<&str>| SpoolArgs {
        recording_spool: None,
        recording_spool_dir: folder.map(PathBuf::from),
        recording_retry_seconds: 60,
    };
    let settings = |folder, url: &str| SpoolSettings::new(&args(folder), &url.parse().unwrap(), 4600);
    assert_eq!(settings(None, "sqlite:///var/a.db").folder, Path::new("/var/a.db.spool"));
    assert_eq!(settings(None, "postgres://db/green").folder, Path::new("greenroom-4600.spool"));
    assert!(settings(None, "sqlite::memory:").is_temporary);
    let chosen = settings(Some("/spool"), "sqlite::memory:");
    assert!(chosen.is_chosen && !chosen.is_temporary && chosen.folder == Path::new("/spool"));
}
