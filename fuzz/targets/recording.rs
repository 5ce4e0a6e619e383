//! A stored recording, in which everything may be damaged: verification and export end, and what verifies can be exported.
#![no_main]

use greenroom_recording::export::export;
use greenroom_recording::verify::{Source, SourceError, verify};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

/// The objects, in the order in which the input has them: each with a length of two bytes before it.
const PATHS: [&str; 5] = [
    "media/hls/high/init-0.mp4",
    "media/hls/high/0.mp4",
    "media/hls/high/playlist.m3u8",
    "media/hls/multivariant.m3u8",
    "events/recording-ended.json",
];

struct Objects<'a>(Vec<(&'static str, &'a [u8])>);

impl<'a> Objects<'a> {
    fn new(mut input: &'a [u8]) -> Objects<'a> {
        let mut objects = Vec::new();
        for path in PATHS {
            let Some((length, rest)) = input.split_first_chunk() else { break };
            let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
            let (contents, rest) = rest.split_at(length);
            objects.push((path, contents));
            input = rest;
        }
        Objects(objects)
    }
}

impl Source for Objects<'_> {
    fn list(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(self.0.iter().map(|(path, _)| (*path).to_owned()).collect())
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let found = self.0.iter().find(|(known, _)| *known == path);
        Ok(found.map(|(_, contents)| contents[..contents.len().min(limit)].to_vec()))
    }
}

fuzz_target!(|input: &[u8]| {
    let report = verify(&mut Objects::new(input)).expect("the objects can be listed");
    let mut out = Cursor::new(Vec::new());
    let exported = export(&mut Objects::new(input), &mut out);
    if let Ok(exported) = &exported {
        assert_eq!(exported.bytes, out.into_inner().len() as u64);
    }
    assert!(exported.is_ok() || !report.is_good() || report.summary.segments == 0, "{exported:?}");
});
