use super::{TagError, take, take_u24};

/// Packet types that audio and video have in common.
pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
pub(super) const SEQUENCE_END: u8 = 2;
const MOD_EX: u8 = 7;

/// Multitrack types: all tracks of one message have the same codec unless it is the last one.
const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// What a message has for one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrackBody<'a> {
    pub(super) track: u8,
    pub(super) fourcc: [u8; 4],
    pub(super) packet_type: u8,
    pub(super) body: &'a [u8],
}

/// The tracks of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tracks<'a> {
    rest: Option<&'a [u8]>,
    packet_type: u8,
    multitrack: Option<u8>,
    fourcc: Option<[u8; 4]>,
}

/// Skips the modifiers of a packet (ModEx), none of which is needed: the only one that is defined says nanoseconds. Returns the
/// packet type.
pub(super) fn skip_modifiers(mut packet_type: u8, bytes: &mut &[u8]) -> Result<u8, TagError> {
    while packet_type == MOD_EX {
        let [size] = *take(bytes)?;
        let size = match size {
            255 => usize::from(u16::from_be_bytes(*take(bytes)?)) + 1,
            size => usize::from(size) + 1,
        };
        *bytes = bytes.get(size..).ok_or(TagError::Malformed)?;
        let [types] = *take(bytes)?;
        packet_type = types & 0x0f;
    }
    Ok(packet_type)
}

/// What a message has for each of its tracks, or the error of the whole message.
pub(super) fn each<'a, T>(
    tracks: Result<Tracks<'a>, TagError>,
    content: fn(TrackBody<'a>) -> Result<(u8, T), TagError>,
) -> impl Iterator<Item = Result<(u8, T), TagError>> {
    let (tracks, error) = match tracks {
        Ok(tracks) => (tracks, None),
        Err(error) => (Tracks::NONE, Some(Err(error))),
    };
    tracks.map(move |track| track.and_then(content)).chain(error)
}

impl<'a> Tracks<'a> {
    /// No tracks.
    pub(super) const NONE: Tracks<'static> = Tracks { rest: None, packet_type: 0, multitrack: None, fourcc: None };

    /// A message without multitrack.
    pub(super) fn single(fourcc: [u8; 4], packet_type: u8, body: &'a [u8]) -> Tracks<'a> {
        Tracks { rest: Some(body), packet_type, multitrack: None, fourcc: Some(fourcc) }
    }

    /// The tracks of a message, from what follows its modifiers. `multitrack_type` is the packet type that says that there are
    /// tracks.
    pub(super) fn parse(packet_type: u8, multitrack_type: u8, mut bytes: &'a [u8]) -> Result<Tracks<'a>, TagError> {
        let (mut packet_type, mut multitrack) = (packet_type, None);
        if packet_type == multitrack_type {
            let [types] = *take(&mut bytes)?;
            (multitrack, packet_type) = (Some(types >> 4), types & 0x0f);
        }
        let fourcc = match multitrack {
            Some(MANY_TRACKS_MANY_CODECS) => None,
            _ => Some(*take(&mut bytes)?),
        };
        Ok(Tracks { rest: Some(bytes), packet_type, multitrack, fourcc })
    }

    fn next_track(&mut self, mut bytes: &'a [u8]) -> Result<TrackBody<'a>, TagError> {
        let fourcc = match self.fourcc {
            Some(fourcc) => fourcc,
            None => *take(&mut bytes)?,
        };
        let Some(multitrack) = self.multitrack else {
            return Ok(TrackBody { track: 0, fourcc, packet_type: self.packet_type, body: bytes });
        };
        let [track] = *take(&mut bytes)?;
        let mut body = bytes;
        if multitrack != ONE_TRACK {
            let size = take_u24(&mut bytes)? as usize;
            let (own, others) = bytes.split_at_checked(size).ok_or(TagError::Malformed)?;
            body = own;
            self.rest = (!others.is_empty()).then_some(others);
        }
        Ok(TrackBody { track, fourcc, packet_type: self.packet_type, body })
    }
}

impl<'a> Iterator for Tracks<'a> {
    type Item = Result<TrackBody<'a>, TagError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.rest.take()?;
        Some(self.next_track(bytes))
    }
}
