//! Limits of participants' media, as they are named in metrics and logs.

/// Why a request about media is refused although it is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaRefusal {
    /// The participant, or the token, sends too many offers.
    OfferRate,
    /// The participant, or the token, sends too many `PATCH` requests.
    PatchRate,
    /// The participant has too many media connections.
    Participant,
    /// The stage has.
    Stage,
    /// This node has.
    Node,
    /// Too many offers wait to be answered.
    Busy,
}

impl MediaRefusal {
    pub(super) const ALL: [MediaRefusal; 6] = {
        use MediaRefusal::{Busy, Node, OfferRate, Participant, PatchRate, Stage};
        [OfferRate, PatchRate, Participant, Stage, Node, Busy]
    };

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            MediaRefusal::OfferRate => "offer_rate",
            MediaRefusal::PatchRate => "patch_rate",
            MediaRefusal::Participant => "participant_media",
            MediaRefusal::Stage => "stage_media",
            MediaRefusal::Node => "node_media",
            MediaRefusal::Busy => "media_busy",
        }
    }
}
