//! Reasons for refusing media requests.

/// The limit that a media request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaRefusal {
    /// Offers of the participant, or with the token.
    OfferRate,
    /// `PATCH` requests of the participant, or with the token.
    PatchRate,
    /// Media connections of the participant.
    Participant,
    /// Media connections of the stage.
    Stage,
    /// Media connections of this node.
    Node,
    /// Offers that wait for an answer.
    Busy,
}

impl MediaRefusal {
    pub(super) const ALL: [MediaRefusal; 6] = {
        use MediaRefusal::{Busy, Node, OfferRate, Participant, PatchRate, Stage};
        [OfferRate, PatchRate, Participant, Stage, Node, Busy]
    };

    /// The reason in metrics and logs.
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
