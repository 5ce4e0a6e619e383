//! Sample entries against the codec's own configuration, and samples against both.

use super::Position;
use super::report::Findings;
use crate::fmp4_reader::{Init, Sample, Track};
use shiguredo_mp4::bitstream::h264;
use shiguredo_mp4::boxes::{Avc1Box, Mp4aBox, OpusBox, SampleEntry};

/// Types of NAL units (ITU-T H.264, table 7-1).
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
/// Samples of an AAC-LC access unit.
const AAC_FRAME: u32 = 1024;

/// Checks an initialization segment.
pub(super) fn verify_init(object: &str, init: &Init, findings: &mut Findings) {
    if !init.has_brand {
        findings.warning(object, None, "init", "ftyp has no brand iso6 or later (RFC 8216, section 3.3)");
    }
    for track in &init.tracks {
        if !track.has_no_samples {
            findings.error(
                object,
                None,
                "init",
                format!("track {} has samples in the initialization segment", track.id),
            );
        }
        let checked = match &track.entry {
            SampleEntry::Avc1(entry) => avc(entry),
            SampleEntry::Mp4a(entry) => mp4a(entry, track.timescale),
            SampleEntry::Opus(entry) => opus(entry, track.timescale),
            _ => Err(format!("{} is not a codec of recordings", track.codec)),
        };
        if let Err(text) = checked {
            findings.error(object, None, "init", format!("track {}: {text}", track.id));
        }
    }
}

fn avc(entry: &Avc1Box) -> Result<(), String> {
    let config = &entry.avcc_box;
    if config.length_size_minus_one.get() != 3 {
        return Err(format!("lengths of NAL units have {} bytes", config.length_size_minus_one.get() + 1));
    }
    if config.pps_list.is_empty() {
        return Err("avcC has no picture parameter set".to_owned());
    }
    let sps = config.sps_list.first().ok_or("avcC has no sequence parameter set")?;
    let parsed = h264::parse_sps(sps).map_err(|_| "the sequence parameter set in avcC cannot be read")?;
    let id = parsed.profile_level_id;
    let declared = (config.avc_profile_indication, config.profile_compatibility, config.avc_level_indication);
    if (id.profile_idc, id.profile_iop, id.level_idc) != declared {
        return Err("profile and level in avcC differ from its sequence parameter set".to_owned());
    }
    let (width, height) = (entry.visual.width, entry.visual.height);
    if (parsed.width, parsed.height) != (width, height) {
        return Err(format!("avc1 is {width}x{height}, its sequence parameter set {}x{}", parsed.width, parsed.height));
    }
    Ok(())
}

fn mp4a(entry: &Mp4aBox, timescale: u32) -> Result<(), String> {
    let config = entry.esds_box.es.dec_config_descr.dec_specific_info.as_ref().ok_or("esds has no configuration")?;
    let (rate, channels) =
        audio_specific_config(&config.payload).ok_or("the AudioSpecificConfig is not one of AAC-LC")?;
    // The channel count of mp4a is a template field (ISO/IEC 14496-14, section 5.6.1): writers put 2 for mono, too.
    if !(1..=2).contains(&channels) {
        return Err(format!("AAC with {channels} channels"));
    }
    if rate != u32::from(entry.audio.samplerate.integer) || rate != timescale {
        let (declared, text) = (entry.audio.samplerate.integer, "the AudioSpecificConfig has");
        return Err(format!("mp4a has {declared} Hz, the timescale is {timescale}, {text} {rate} Hz"));
    }
    Ok(())
}

/// Sampling rate and channels of an AudioSpecificConfig of AAC-LC (ISO/IEC 14496-3, section 1.6.2.1).
fn audio_specific_config(bytes: &[u8]) -> Option<(u32, u16)> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let word = u16::from_be_bytes(*bytes.first_chunk()?);
    let (object_type, rate, channels) = (word >> 11, usize::from(word >> 7 & 0xf), word >> 3 & 0xf);
    (object_type == 2).then_some((*RATES.get(rate)?, channels))
}

fn opus(entry: &OpusBox, timescale: u32) -> Result<(), String> {
    if timescale != 48_000 {
        return Err(format!("Opus with a timescale of {timescale} instead of 48000"));
    }
    let (entry, own) = (entry.audio.channelcount, entry.dops_box.output_channel_count);
    if entry != u16::from(own) || !(1..=2).contains(&own) {
        return Err(format!("Opus has {entry} channels, dOps has {own}"));
    }
    Ok(())
}

/// Checks the samples of a track in a segment.
pub(super) fn verify_samples<'a>(
    object: &str,
    bytes: &[u8],
    track: &Track,
    samples: impl Iterator<Item = &'a Sample>,
    findings: &mut Findings,
) {
    let mut samples = samples.enumerate().peekable();
    while let Some((index, sample)) = samples.next() {
        // The last frame of a recording may be shorter.
        let is_short = sample.duration < AAC_FRAME && samples.peek().is_none();
        let found = match &track.entry {
            SampleEntry::Avc1(entry) => picture(&entry.avcc_box.sps_list, sample.data(bytes), sample, index),
            SampleEntry::Mp4a(_) if sample.duration != AAC_FRAME && !is_short => {
                Err(("audio-frame", format!("an AAC frame lasts {} samples instead of {AAC_FRAME}", sample.duration)))
            }
            SampleEntry::Mp4a(_) | SampleEntry::Opus(_) if sample.size == 0 => {
                Err(("audio-frame", "an audio frame is empty".to_owned()))
            }
            _ => Ok(()),
        };
        // One a segment and track: what is wrong with a sample is most often wrong with all.
        if let Err((check, text)) = found {
            return findings.error(object, Some(Position::Byte(sample.offset as u64)), check, text);
        }
    }
}

/// Checks an access unit of H.264: its NAL units fill it, and key frames are where the flags say.
fn picture(sets: &[Vec<u8>], data: &[u8], sample: &Sample, index: usize) -> Result<(), (&'static str, String)> {
    let (mut rest, mut has_idr, mut has_slice) = (data, false, false);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let unit = after.get(..length).filter(|unit| !unit.is_empty());
        let unit = unit.ok_or_else(|| ("nal", format!("a NAL unit of {length} bytes exceeds its sample")))?;
        match unit[0] & 0x1f {
            IDR => has_idr = true,
            SLICE => has_slice = true,
            SPS if !sets.iter().any(|set| set == unit) => {
                return Err(("parameter-sets", "the sequence parameter set differs from avcC".to_owned()));
            }
            _ => {}
        }
        rest = &after[length..];
    }
    if !rest.is_empty() {
        return Err(("nal", "the length of a NAL unit is cut off".to_owned()));
    }
    match (has_idr, has_slice) {
        (false, false) => Err(("nal", "a sample without a picture".to_owned())),
        (true, true) => Err(("nal", "a sample of a key frame and another picture".to_owned())),
        (false, true) if index == 0 => Err(("key-frame", "the segment does not begin with a key frame".to_owned())),
        (is_key, _) if is_key != sample.is_sync => {
            let text =
                if is_key { "a key frame is not flagged as one" } else { "a picture is wrongly flagged as key frame" };
            Err(("key-frame", text.to_owned()))
        }
        _ => Ok(()),
    }
}
