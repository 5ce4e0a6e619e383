use super::{
    CODEC, IDR_SLICE, PICTURE_PARAMETERS, SEQUENCE_PARAMETERS, SLICE, SequenceParameters, bits::Bits, nal_units,
};
use crate::{CodecError, error::guarded, picture::Picture};
use std::collections::BTreeMap;

/// Bytes of the largest access unit.
const MAX_UNIT: usize = 8 * 1_024 * 1_024;

/// Bytes of the longest parameter set: twice what all scaling lists take.
const MAX_PARAMETER_SET: usize = 2_048;

/// Decoder of Constrained Baseline, Main and High profile, 8-bit 4:2:0, without interlaced pictures.
///
/// It returns the picture of each access unit at once, in decoding order: with bidirectional prediction the caller puts pictures
/// into the order of their timestamps.
pub struct H264Decoder {
    decoder: rusty_h264_decoder::Decoder,
    /// Sequence parameter sets by id, at most 32.
    sequences: BTreeMap<u8, (SequenceParameters, Vec<u8>)>,
    /// Picture parameter sets by id, at most 256, with the id of the sequence parameter set.
    pictures: BTreeMap<u8, (u8, Vec<u8>)>,
    /// An access unit was lost or damaged: what refers to it is not decoded.
    damaged: bool,
    buffer: Vec<u8>,
}

impl Default for H264Decoder {
    fn default() -> Self {
        H264Decoder::new()
    }
}

impl H264Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> H264Decoder {
        H264Decoder {
            decoder: rusty_h264_decoder::Decoder::new(),
            sequences: BTreeMap::new(),
            pictures: BTreeMap::new(),
            damaged: false,
            buffer: Vec::new(),
        }
    }

    /// Decodes an access unit; `None` if it has no picture. After an error, access units are refused until one has an IDR
    /// picture.
    pub fn decode(&mut self, unit: &[u8]) -> Result<Option<Picture>, CodecError> {
        if unit.len() > MAX_UNIT {
            self.damaged = true;
            return Err(CodecError::LimitExceeded { codec: CODEC, limit: "bytes of an access unit" });
        }
        let result = self.decode_unit(unit);
        self.damaged |= result.is_err();
        result
    }

    /// Says that access units were lost: those that follow are refused until one has an IDR picture.
    pub fn lost(&mut self) {
        self.damaged = true;
    }

    fn decode_unit(&mut self, unit: &[u8]) -> Result<Option<Picture>, CodecError> {
        let mut active = None;
        let mut refreshes = false;
        for nal in nal_units(unit) {
            match nal[0] & 0x1f {
                SEQUENCE_PARAMETERS | PICTURE_PARAMETERS => self.store(nal)?,
                kind @ (SLICE | IDR_SLICE) => {
                    refreshes |= kind == IDR_SLICE;
                    active = Some(self.parameters_of(nal)?);
                }
                _ => {}
            }
        }
        if self.damaged && active.is_some() && !refreshes {
            return Err(CodecError::invalid(CODEC, "waiting for a key frame after an error"));
        }
        self.damaged &= !refreshes;
        self.fill_buffer(unit, refreshes);
        let frame = self.call()?;
        let (Some(frame), Some(parameters)) = (frame, active) else {
            return Ok(None);
        };
        let picture = Picture::new(frame.width, frame.height, [frame.y, frame.u, frame.v])?;
        picture.with_full_range(parameters.full_range).without_margin(parameters.left, parameters.top).map(Some)
    }

    /// Keeps a parameter set.
    fn store(&mut self, nal: &[u8]) -> Result<(), CodecError> {
        if nal.len() > MAX_PARAMETER_SET {
            return Err(CodecError::LimitExceeded { codec: CODEC, limit: "bytes of a parameter set" });
        }
        if nal[0] & 0x1f == SEQUENCE_PARAMETERS {
            let parameters = SequenceParameters::parse(nal)?;
            self.sequences.insert(parameters.id, (parameters, nal.to_vec()));
        } else {
            let (picture, sequence) = parse_ids(nal)?;
            self.pictures.insert(picture, (sequence, nal.to_vec()));
        }
        Ok(())
    }

    /// What the library is given: slices and parameter sets. An IDR picture refers to nothing before it, so the library begins
    /// there anew, with all parameter sets: whatever damage it has seen does not last.
    fn fill_buffer(&mut self, unit: &[u8], refreshes: bool) {
        self.buffer.clear();
        let mut append = |nal: &[u8]| {
            self.buffer.extend_from_slice(&[0, 0, 0, 1]);
            self.buffer.extend_from_slice(nal);
        };
        if refreshes {
            self.decoder = rusty_h264_decoder::Decoder::new();
            self.sequences.values().for_each(|(_, nal)| append(nal));
            self.pictures.values().for_each(|(_, nal)| append(nal));
        }
        for nal in nal_units(unit) {
            let kind = nal[0] & 0x1f;
            if matches!(kind, SLICE | IDR_SLICE)
                || !refreshes && matches!(kind, SEQUENCE_PARAMETERS | PICTURE_PARAMETERS)
            {
                append(nal);
            }
        }
    }

    /// The sequence parameters that a slice refers to (sections 7.3.3 and 7.4.1.2.1).
    fn parameters_of(&self, slice: &[u8]) -> Result<SequenceParameters, CodecError> {
        let mut bits = Bits::new(slice);
        let picture = bits.golomb().and_then(|_| bits.golomb()).and_then(|_| bits.golomb());
        let sequence = picture.and_then(|id| self.pictures.get(&u8::try_from(id).ok()?));
        let parameters = sequence.and_then(|(id, _)| self.sequences.get(id));
        parameters
            .map(|(parameters, _)| *parameters)
            .ok_or_else(|| CodecError::invalid(CODEC, "slice without parameter sets"))
    }

    fn call(&mut self) -> Result<Option<rusty_h264_common::YuvFrame>, CodecError> {
        let (decoder, unit) = (&mut self.decoder, &self.buffer);
        match guarded(CODEC, || decoder.decode(unit)) {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(rusty_h264_decoder::DecodeError::Unsupported(tool))) => Err(CodecError::Unsupported(tool)),
            Ok(Err(error)) => Err(CodecError::invalid(CODEC, error)),
            Err(error) => {
                *self = H264Decoder::new();
                Err(error)
            }
        }
    }
}

/// Ids of a picture parameter set and of the sequence parameter set that it refers to.
fn parse_ids(nal: &[u8]) -> Result<(u8, u8), CodecError> {
    let mut bits = Bits::new(nal);
    let picture = bits.golomb().and_then(|id| u8::try_from(id).ok());
    let sequence = bits.golomb().filter(|id| *id < 32).map(|id| id as u8);
    picture.zip(sequence).ok_or_else(|| CodecError::invalid(CODEC, "damaged picture parameter set"))
}
