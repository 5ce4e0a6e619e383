//! Decodes a stream, for scripts/codec-conformance, or says how fast.
//!
//! `decode opus|h264|vp8 < packets`, each packet after its length in four bytes. Of video a line for each picture, `width height
//! adler32`; of Opus stereo PCM; each error as a line on standard error. `decode -t …` writes only the processor time to standard error.

use greenroom_codecs::picture::Picture;
use greenroom_codecs::{CodecError, h264::H264Decoder, opus::OpusDecoder, vp8::Vp8Decoder};
use std::io::{Read, Write};
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let timed = arguments.first().is_some_and(|argument| argument == "-t");
    arguments.drain(..usize::from(timed));
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let mut output = Vec::new();
    let start = Instant::now();
    let packets = packets(&input);
    let count = packets.len();
    match arguments.first().map(String::as_str) {
        Some("opus") => decode_opus(packets, &mut output)?,
        Some("h264") => {
            let mut decoder = H264Decoder::new();
            decode_video(packets, |unit| decoder.decode(unit), timed, &mut output)?;
        }
        Some("vp8") => {
            let mut decoder = Vp8Decoder::new();
            decode_video(packets, |frame| decoder.decode(frame), timed, &mut output)?;
        }
        _ => eprintln!("usage: decode [-t] opus|h264|vp8 < packets"),
    }
    if timed {
        eprintln!("{count} packets in {:.3} s", start.elapsed().as_secs_f64());
        return Ok(());
    }
    std::io::stdout().write_all(&output)
}

fn packets(mut input: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let (packet, after) = rest.split_at(rest.len().min(u32::from_be_bytes(*length) as usize));
        packets.push(packet);
        input = after;
    }
    packets
}

fn decode_opus(packets: Vec<&[u8]>, output: &mut Vec<u8>) -> std::io::Result<()> {
    let mut decoder = OpusDecoder::new(2).map_err(std::io::Error::other)?;
    let mut pcm = Vec::new();
    for packet in packets {
        pcm.clear();
        if let Err(error) = decoder.decode(packet, &mut pcm) {
            eprintln!("{error}");
        }
        output.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
    }
    Ok(())
}

fn decode_video(
    packets: Vec<&[u8]>,
    mut decode: impl FnMut(&[u8]) -> Result<Option<Picture>, CodecError>,
    timed: bool,
    output: &mut Vec<u8>,
) -> std::io::Result<()> {
    for packet in packets {
        match decode(packet) {
            Ok(Some(picture)) if !timed => {
                writeln!(output, "{} {} {}", picture.width(), picture.height(), adler32(&picture))?;
            }
            Ok(_) => {}
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(())
}

fn adler32(picture: &Picture) -> u32 {
    let (mut low, mut high) = (1u32, 0u32);
    for sample in picture.y().iter().chain(picture.u()).chain(picture.v()) {
        low = (low + u32::from(*sample)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}
