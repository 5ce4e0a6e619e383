use crate::IngestError;
use greenroom_codecs::opus::OpusEncoder;
use std::sync::Arc;

/// Bit/s of Opus for each channel.
const BITRATE: u32 = 64_000;

/// Encodes any number of samples at 48 kHz to packets.
pub(super) struct Encoder {
    opus: OpusEncoder,
    channels: usize,
    /// Interleaved samples that are not encoded yet.
    pcm: Vec<i16>,
}

impl Encoder {
    pub(super) fn new(channels: usize) -> Result<Encoder, IngestError> {
        let opus = OpusEncoder::new(channels, BITRATE * channels as u32);
        let opus = opus.map_err(|_| IngestError::Invalid("no Opus encoder for it"))?;
        Ok(Encoder { opus, channels, pcm: Vec::new() })
    }

    /// An encoder that continues with another number of channels.
    pub(super) fn with_channels(self, channels: usize) -> Result<Encoder, IngestError> {
        if channels == self.channels {
            return Ok(self);
        }
        let mut encoder = Encoder::new(channels)?;
        let count = self.channels as i32;
        let average = |frame: &[i16]| (frame.iter().map(|sample| i32::from(*sample)).sum::<i32>() / count) as i16;
        let mono = self.pcm.chunks_exact(self.channels).map(average);
        encoder.pcm = mono.flat_map(|sample| std::iter::repeat_n(sample, channels)).collect();
        Ok(encoder)
    }

    /// Samples per channel by which decoded audio is later than the input.
    pub(super) fn delay_samples(&self) -> usize {
        self.opus.delay_samples()
    }

    /// Samples per channel that are not encoded yet.
    pub(super) fn samples(&self) -> usize {
        self.pcm.len() / self.channels
    }

    /// Where samples are appended.
    pub(super) fn input(&mut self) -> &mut Vec<i16> {
        &mut self.pcm
    }

    pub(super) fn push_silence(&mut self, samples: usize) {
        self.pcm.resize(self.pcm.len() + samples * self.channels, 0);
    }

    /// Encodes all that fills packets; `None` for one that the encoder failed to make, which has then started afresh.
    pub(super) fn encode(&mut self, mut emit: impl FnMut(Option<Arc<[u8]>>)) {
        let mut packets = self.pcm.chunks_exact(OpusEncoder::PACKET_SAMPLES * self.channels);
        for pcm in &mut packets {
            emit(self.opus.encode(pcm).ok().map(Arc::from));
        }
        let rest = packets.remainder().len();
        self.pcm.drain(..self.pcm.len() - rest);
    }
}
