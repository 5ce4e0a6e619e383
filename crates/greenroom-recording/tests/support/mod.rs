//! Recordings in memory, read from the folder of fixtures.

#![allow(dead_code, reason = "each test program uses a part")]

use greenroom_recording::verify::{Source, SourceError};
use std::collections::BTreeMap;
use std::path::Path;

/// The objects of a recording, which tests damage.
#[derive(Clone, Debug)]
pub struct Objects(pub BTreeMap<String, Vec<u8>>);

impl Objects {
    /// Reads a recording of `tests/recordings`.
    pub fn fixture(name: &str) -> Objects {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name);
        let (mut objects, mut folders) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    objects.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        Objects(objects)
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.0[path].clone()).unwrap()
    }

    /// Replaces text in an object; it must be there.
    pub fn replace(mut self, path: &str, old: &str, new: &str) -> Objects {
        let text = self.text(path);
        assert!(text.contains(old), "{path} has no {old}: {text}");
        self.0.insert(path.to_owned(), text.replacen(old, new, 1).into_bytes());
        self
    }

    pub fn without(mut self, path: &str) -> Objects {
        self.0.remove(path).unwrap();
        self
    }

    pub fn with(mut self, path: &str, contents: &[u8]) -> Objects {
        self.0.insert(path.to_owned(), contents.to_vec());
        self
    }

    /// Changes the bytes of an object.
    pub fn edit(mut self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Objects {
        edit(self.0.get_mut(path).unwrap());
        self
    }
}

impl Source for Objects {
    fn list(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(self.0.keys().cloned().collect())
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        match self.0.get(path) {
            Some(contents) if contents.len() > limit => Err(SourceError(format!("more than {limit} bytes"))),
            found => Ok(found.cloned()),
        }
    }
}

/// Offset of the body of the first box of a kind, searched for by its name.
pub fn body_of(bytes: &[u8], kind: &[u8; 4]) -> usize {
    bytes.windows(4).position(|window| window == kind).unwrap() + 4
}
