//! Media segments: movie fragments and the samples that they place.

use super::boxes::{BoxAt, Fields, boxes};
use super::{Init, ReadError};
use std::ops::Range;

/// Maximum samples of a segment: ten seconds have about 1,000, so that more are an attack or damage.
const MAX_SAMPLES: usize = 1 << 17;
/// Maximum movie fragments of a segment.
const MAX_FRAGMENTS: usize = 1 << 14;

/// A media segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub fragments: Vec<Fragment>,
    /// Bytes in `mdat` boxes.
    pub data_bytes: usize,
}

/// A movie fragment.
#[derive(Debug)]
pub(crate) struct Fragment {
    /// Byte offset of its `moof`.
    pub position: usize,
    pub sequence: u32,
    pub runs: Vec<Run>,
}

/// The samples of a track in a fragment.
#[derive(Debug)]
pub(crate) struct Run {
    /// Index in [`Init::tracks`].
    pub track: usize,
    /// Decode time of the first sample, in ticks.
    pub decode_time: u64,
    pub samples: Vec<Sample>,
}

impl Run {
    /// Sum of the samples' durations, in ticks.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Byte offset in the segment.
    pub offset: usize,
    pub size: u32,
    /// In ticks.
    pub duration: u32,
    /// Presentation time less decode time, in ticks.
    pub composition: i64,
    pub is_sync: bool,
}

impl Sample {
    /// Its bytes; samples of a [`Segment`] lie within the bytes that it was read from.
    pub fn data<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        segment.get(self.offset..self.offset + self.size as usize).unwrap_or_default()
    }
}

/// Reads a media segment. All samples lie within its `mdat` boxes.
pub(crate) fn read_segment(bytes: &[u8], init: &Init) -> Result<Segment, ReadError> {
    let (mut fragments, mut data): (Vec<BoxAt<'_>>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    for found in boxes(bytes, 0) {
        let found = found?;
        match &found.kind {
            b"moof" => fragments.push(found),
            b"mdat" => data.push(found.body_start..found.end()),
            b"moov" => return Err(ReadError::new(found.start, "a moov box in a media segment")),
            _ => {}
        }
        if fragments.len().max(data.len()) > MAX_FRAGMENTS {
            return Err(ReadError::new(found.start, format!("more than {MAX_FRAGMENTS} fragments")));
        }
    }
    if fragments.is_empty() {
        return Err(ReadError::new(bytes.len(), "there is no moof box"));
    }
    let mut left = MAX_SAMPLES;
    let data_bytes = data.iter().map(Range::len).sum();
    let mut reader = Reader { init, data: &data, left: &mut left };
    let fragments = fragments.iter().map(|moof| reader.fragment(moof)).collect::<Result<_, _>>()?;
    Ok(Segment { fragments, data_bytes })
}

struct Reader<'a> {
    init: &'a Init,
    data: &'a [Range<usize>],
    /// Samples that may still come.
    left: &'a mut usize,
}

/// Fields of a `tfhd`.
struct Header {
    track: usize,
    duration: u32,
    size: u32,
    flags: u32,
}

impl Reader<'_> {
    fn fragment(&mut self, moof: &BoxAt<'_>) -> Result<Fragment, ReadError> {
        let (mut sequence, mut runs) = (0, Vec::new());
        for child in boxes(moof.body, moof.body_start) {
            let child = child?;
            match &child.kind {
                b"mfhd" => {
                    let mut fields = Fields::new(child.body, child.body_start);
                    fields.full()?;
                    sequence = fields.u32()?;
                }
                b"traf" => runs.push(self.track_fragment(&child, moof.start)?),
                _ => {}
            }
        }
        Ok(Fragment { position: moof.start, sequence, runs })
    }

    fn track_fragment(&mut self, traf: &BoxAt<'_>, moof: usize) -> Result<Run, ReadError> {
        let (mut header, mut decode_time, mut samples) = (None, None, Vec::new());
        // Where a run without an offset begins: behind the one before it.
        let mut next = None;
        for child in boxes(traf.body, traf.body_start) {
            let child = child?;
            match &child.kind {
                b"tfhd" => header = Some(self.header(&child)?),
                b"tfdt" => {
                    let mut fields = Fields::new(child.body, child.body_start);
                    let (version, _) = fields.full()?;
                    decode_time = Some(if version == 0 { u64::from(fields.u32()?) } else { fields.u64()? });
                }
                b"trun" => {
                    let header = header.as_ref().ok_or_else(|| ReadError::new(child.start, "trun before tfhd"))?;
                    self.run(&child, header, moof, &mut next, &mut samples)?;
                }
                _ => {}
            }
        }
        let missing = |name: &str| ReadError::new(traf.start, format!("traf has no {name} box"));
        let header = header.ok_or_else(|| missing("tfhd"))?;
        let decode_time = decode_time.ok_or_else(|| missing("tfdt"))?;
        // A century in nanoseconds: sums with durations stay far from overflow.
        if decode_time > u64::MAX / 4 {
            return Err(ReadError::new(traf.start, format!("the decode time {decode_time} is impossible")));
        }
        Ok(Run { track: header.track, decode_time, samples })
    }

    fn header(&self, tfhd: &BoxAt<'_>) -> Result<Header, ReadError> {
        let mut fields = Fields::new(tfhd.body, tfhd.body_start);
        let (_, flags) = fields.full()?;
        let id = fields.u32()?;
        if flags & 0x1 != 0 {
            let text =
                "tfhd has a base data offset; addresses must be relative to the movie fragment (RFC 8216, section 3.3)";
            return Err(ReadError::new(tfhd.start, text));
        }
        let _description = fields.optional(flags & 0x2 != 0)?;
        let found = self.init.tracks.iter().enumerate().find(|(_, track)| track.id == id);
        let unknown = || ReadError::new(tfhd.start, format!("track {id} is not in the initialization segment"));
        let (track, known) = found.ok_or_else(unknown)?;
        Ok(Header {
            track,
            duration: fields.optional(flags & 0x8 != 0)?.unwrap_or(known.defaults.duration),
            size: fields.optional(flags & 0x10 != 0)?.unwrap_or(known.defaults.size),
            flags: fields.optional(flags & 0x20 != 0)?.unwrap_or(known.defaults.flags),
        })
    }

    fn run(
        &mut self,
        trun: &BoxAt<'_>,
        header: &Header,
        moof: usize,
        next: &mut Option<usize>,
        samples: &mut Vec<Sample>,
    ) -> Result<(), ReadError> {
        let failed = |text: &str| ReadError::new(trun.start, text);
        let mut fields = Fields::new(trun.body, trun.body_start);
        let (version, flags) = fields.full()?;
        let count = fields.u32()? as usize;
        *self.left = self.left.checked_sub(count).ok_or_else(|| failed("the segment has too many samples"))?;
        let offset = fields.optional(flags & 0x1 != 0)?.map(|offset| i64::from(offset.cast_signed()));
        let offset = match (offset, *next) {
            (Some(offset), _) => usize::try_from(moof as i64 + offset).ok(),
            (None, Some(next)) => Some(next),
            (None, None) => return Err(failed("trun has no data offset")),
        };
        let mut offset = offset.ok_or_else(|| failed("the data offset is before the file"))?;
        let first_flags = fields.optional(flags & 0x4 != 0)?;
        for index in 0..count {
            let duration = fields.optional(flags & 0x100 != 0)?.unwrap_or(header.duration);
            let size = fields.optional(flags & 0x200 != 0)?.unwrap_or(header.size);
            let own = fields.optional(flags & 0x400 != 0)?;
            let sample_flags = first_flags.filter(|_| index == 0).or(own).unwrap_or(header.flags);
            let composition = fields.optional(flags & 0x800 != 0)?.unwrap_or(0);
            let composition = if version == 0 { i64::from(composition) } else { i64::from(composition.cast_signed()) };
            let end = offset.checked_add(size as usize);
            let end = end.filter(|end| self.is_data(offset..*end)).ok_or_else(|| {
                ReadError::new(trun.start, format!("sample {index} of {size} bytes at {offset} is outside of mdat"))
            })?;
            samples.push(Sample { offset, size, duration, composition, is_sync: sample_flags & 0x1_0000 == 0 });
            offset = end;
        }
        *next = Some(offset);
        Ok(())
    }

    /// Whether a range lies within one `mdat`.
    fn is_data(&self, range: Range<usize>) -> bool {
        let before = self.data.partition_point(|data| data.start <= range.start);
        before.checked_sub(1).is_some_and(|index| range.end <= self.data[index].end)
    }
}
