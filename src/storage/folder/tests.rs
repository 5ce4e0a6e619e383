use super::*;
use std::os::unix::fs::MetadataExt as _;

/// A folder for a test, which is removed with it.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("greenroom-folder-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Temporary(path)
    }

    fn folder(&self, create: bool) -> Folder {
        Folder::new(FolderSettings { path: self.0.join("recordings"), create })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bytes(text: &'static str) -> Contents {
    Contents::Bytes(Bytes::from_static(text.as_bytes()))
}

fn keys(folder: &Folder, prefix: &str) -> Vec<String> {
    folder.list("bucket", prefix).unwrap().into_iter().map(|object| object.key).collect()
}

#[test]
fn objects_are_written_replaced_read_and_listed() {
    let place = Temporary::new("objects");
    let folder = place.folder(true);
    folder.put("bucket", &["a", "1.mp4"], &bytes("one")).unwrap();
    folder.put("bucket", &["a", "b", "2.mp4"], &bytes("two")).unwrap();
    folder.put("bucket", &["ab"], &bytes("x")).unwrap();
    folder.put("bucket", &["a", "1.mp4"], &bytes("three")).unwrap();
    assert_eq!(folder.get("bucket", &["a", "1.mp4"]).unwrap(), "three");
    assert_eq!(keys(&folder, ""), ["a/1.mp4", "a/b/2.mp4", "ab"]);
    assert_eq!(keys(&folder, "a/"), ["a/1.mp4", "a/b/2.mp4"]);
    assert_eq!(keys(&folder, "a/b"), ["a/b/2.mp4"]);
    assert_eq!(keys(&folder, "c/d"), [""; 0]);
    assert_eq!(folder.get("bucket", &["a", "9.mp4"]).unwrap_err().code, "NoSuchKey");
    assert_eq!(folder.get("bucket", &["a"]).unwrap_err().code, "NoSuchKey", "a folder is no object");
    let names: Vec<_> = std::fs::read_dir(place.0.join("recordings/bucket/a")).unwrap().collect();
    assert_eq!(names.len(), 2, "no temporary file remains: {names:?}");
}

#[test]
fn a_file_is_moved() {
    let place = Temporary::new("moved");
    let file = place.0.join("spooled");
    std::fs::write(&file, "segment").unwrap();
    let inode = std::fs::metadata(&file).unwrap().ino();
    let contents = Contents::File(file.clone());
    place.folder(true).put("bucket", &["0.mp4"], &contents).unwrap();
    assert!(!file.exists());
    assert_eq!(std::fs::metadata(place.0.join("recordings/bucket/0.mp4")).unwrap().ino(), inode, "not copied");
    assert_eq!(place.folder(true).get("bucket", &["0.mp4"]).unwrap(), "segment");
    place.folder(true).put("bucket", &["0.mp4"], &contents).expect("an earlier attempt has moved it");
    let missing = place.folder(true).put("bucket", &["1.mp4"], &contents);
    assert_eq!(missing.unwrap_err().code, "NoSuchKey");
}

#[test]
fn a_file_of_another_file_system_is_copied() {
    let shm = Path::new("/dev/shm");
    let other = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let (place, file) = (Temporary::new("copied"), other.join(format!("greenroom-copied-{}", std::process::id())));
    std::fs::write(&file, "segment").unwrap();
    let stored = place.folder(true).put("bucket", &["0.mp4"], &Contents::File(file.clone()));
    let _ = std::fs::remove_file(&file);
    stored.unwrap();
    assert_eq!(place.folder(true).get("bucket", &["0.mp4"]).unwrap(), "segment");
}

#[test]
fn a_bucket_without_a_folder_is_created_only_if_the_settings_say_so() {
    let place = Temporary::new("buckets");
    assert_eq!(place.folder(false).check("bucket").unwrap_err().code, "NoSuchBucket");
    assert_eq!(place.folder(false).put("bucket", &["a"], &bytes("a")).unwrap_err().code, "NoSuchBucket");
    assert_eq!(place.folder(false).list("bucket", "").unwrap_err().code, "NoSuchBucket");
    place.folder(true).check("bucket").unwrap();
    assert_eq!(place.folder(false).check("bucket").unwrap_err().code, "NoSuchBucket", "a check creates nothing");
    place.folder(true).put("bucket", &["a"], &bytes("a")).unwrap();
    place.folder(false).check("bucket").unwrap();
    assert_eq!(keys(&place.folder(false), ""), ["a"], "a check leaves nothing behind");
}

#[test]
fn symbolic_links_are_not_followed() {
    let place = Temporary::new("links");
    let folder = place.folder(true);
    folder.put("bucket", &["a"], &bytes("a")).unwrap();
    let (outside, bucket) = (place.0.join("outside"), place.0.join("recordings/bucket"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(&outside, bucket.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), bucket.join("file")).unwrap();
    std::os::unix::fs::symlink(&outside, place.0.join("recordings/linked")).unwrap();
    assert_eq!(folder.get("bucket", &["link", "secret"]).unwrap_err().code, "AccessDenied");
    assert_eq!(folder.get("bucket", &["file"]).unwrap_err().code, "AccessDenied");
    assert_eq!(folder.put("bucket", &["link", "new"], &bytes("x")).unwrap_err().code, "AccessDenied");
    assert_eq!(folder.put("linked", &["new"], &bytes("x")).unwrap_err().code, "AccessDenied");
    assert_eq!(keys(&folder, ""), ["a"]);
    folder.put("bucket", &["file"], &bytes("x")).expect("a link is replaced, and not written through");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let place = Temporary::new("pipe");
    let folder = place.folder(true);
    folder.put("bucket", &["a"], &bytes("a")).unwrap();
    let pipe = place.0.join("recordings/bucket/pipe");
    rustix::fs::mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(folder.get("bucket", &["pipe"]).unwrap_err().code, "NoSuchKey");
    std::fs::write(place.0.join("recordings/occupied"), "").unwrap();
    assert_eq!(folder.put("occupied", &["a"], &bytes("a")).unwrap_err().code, "AccessDenied");
}
