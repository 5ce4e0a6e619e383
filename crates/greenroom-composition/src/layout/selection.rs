//! Which participant is in which kind of slot, and the order in it.

use super::{Layout, MAX_TILES, Participant};

/// The participants of a layout by kind of slot, in order; at most [`MAX_TILES`].
#[derive(Debug)]
pub(super) struct Selection<'a> {
    pub(super) pip: Option<&'a Participant>,
    pub(super) featured: Vec<&'a Participant>,
    pub(super) others: Vec<&'a Participant>,
}

impl<'a> Selection<'a> {
    /// The first match in order is in the window; all other matches of the featured attribute share the featured area.
    pub(super) fn new(layout: &Layout, participants: &'a [Participant]) -> Selection<'a> {
        let omits = layout.omits_stopped_video();
        let shown = |one: &&Participant| one.publishes() && !(omits && one.picture().is_none());
        let mut ordered: Vec<_> = participants.iter().filter(shown).collect();
        ordered.sort_by_key(|one| rank(one, layout.order_attribute()));
        let window = ordered.iter().position(|one| matches(one, layout.pip_attribute()));
        let pip = window.map(|at| ordered.remove(at));
        let (mut featured, mut others): (Vec<_>, Vec<_>) =
            ordered.into_iter().partition(|one| matches(one, layout.featured_attribute()));
        featured.truncate(MAX_TILES - usize::from(pip.is_some()));
        others.truncate(MAX_TILES - usize::from(pip.is_some()) - featured.len());
        Selection { pip, featured, others }
    }
}

/// Participants with an integer in the attribute come first, by number; all others, and equals, stay in joining order.
fn rank(participant: &Participant, attribute: &str) -> (bool, i64) {
    let number = participant.attributes.get(attribute).filter(|_| !attribute.is_empty());
    let number = number.and_then(|value| value.parse::<i64>().ok());
    (number.is_none(), number.unwrap_or_default())
}

fn matches(participant: &Participant, attribute: &str) -> bool {
    !attribute.is_empty() && participant.attributes.get(attribute).is_some_and(|value| value == "true")
}
