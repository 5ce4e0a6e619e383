//! The encodings of a publisher's media section: numbers for its simulcast layers, and the stream of each.

use crate::router::MAX_LAYERS;
use str0m::media::Rid;
use str0m::rtp::Ssrc;

#[derive(Clone, Debug)]
pub(super) struct Encodings {
    /// The layers by number, with the stream that was accepted last. A section without simulcast has one without RID.
    layers: Vec<(Option<Rid>, Option<Ssrc>)>,
    /// Whether the layers were announced by SSRC: then other streams are rejected.
    is_closed: bool,
}

impl Encodings {
    /// `announced`: the RIDs that stand for layers announced by SSRC.
    pub(super) fn new(announced: Vec<Rid>) -> Encodings {
        let is_closed = !announced.is_empty();
        Encodings { layers: announced.into_iter().map(|rid| (Some(rid), None)).collect(), is_closed }
    }

    /// The number of a layer; `None` if the section does not have it.
    pub(super) fn number(&mut self, rid: Option<Rid>) -> Option<u8> {
        let known = self.layers.iter().position(|(known, _)| *known == rid);
        let number = match known {
            Some(number) => number,
            None if self.is_closed || self.layers.len() >= MAX_LAYERS => return None,
            None => {
                self.layers.push((rid, None));
                self.layers.len() - 1
            }
        };
        u8::try_from(number).ok()
    }

    pub(super) fn rid(&self, encoding: u8) -> Option<Rid> {
        self.layers.get(usize::from(encoding)).and_then(|(rid, _)| *rid)
    }

    /// Records the accepted stream of a layer.
    pub(super) fn set_stream(&mut self, encoding: u8, ssrc: Ssrc) {
        if let Some((_, stream)) = self.layers.get_mut(usize::from(encoding)) {
            *stream = Some(ssrc);
        }
    }

    /// The accepted streams.
    pub(super) fn streams(&self) -> impl Iterator<Item = (Option<Rid>, Ssrc)> {
        self.layers.iter().filter_map(|(rid, ssrc)| Some((*rid, (*ssrc)?)))
    }
}
