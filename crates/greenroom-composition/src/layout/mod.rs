//! Arrangement of participants in tiles: a pure function of output size, configuration and participants.
//!
//! AWS documents properties of its layouts, but no geometry, and may change how they look at any time. docs/design/composition.md
//! has the documented rules and the choices within them.

mod config;
mod geometry;
mod selection;
mod window;

pub use config::{AspectRatio, FillMode, GridLayout, Layout, PipBehavior, PipLayout, PipPosition};

use crate::{CompositionError, ParticipantId};
use geometry::Slots;
use selection::Selection;
use std::collections::BTreeMap;

/// Most tiles of a layout: the quota of publishers of a stage, replicas included.
pub const MAX_TILES: usize = 12;

/// Longest side of an output, in pixels.
pub const MAX_OUTPUT_SIDE: usize = 1_920;

/// Most pixels of an output.
pub const MAX_OUTPUT_PIXELS: usize = 2_073_600;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Size {
    pub const fn new(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    /// Checks the constraints of AWS on the video of an encoder configuration.
    pub fn check_output(self) -> Result<Size, CompositionError> {
        let Size { width, height } = self;
        let valid = |side: usize| (2..=MAX_OUTPUT_SIDE).contains(&side) && side.is_multiple_of(2);
        if valid(width) && valid(height) && width * height <= MAX_OUTPUT_PIXELS {
            return Ok(self);
        }
        Err(CompositionError::OutputSize { width, height, max: MAX_OUTPUT_SIDE, pixels: MAX_OUTPUT_PIXELS })
    }

    /// Whether AWS composes pictures of this size: publishers above 1080p are rendered as audio-only.
    pub(crate) fn is_composed(self) -> bool {
        let (long, short) = (self.width.max(self.height), self.width.min(self.height));
        long <= 1_920 && short <= 1_080
    }
}

/// A rectangle of the output. All members of a tile's are even, so that tiles begin and end with whole chroma samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl Rect {
    pub const fn new(x: usize, y: usize, width: usize, height: usize) -> Rect {
        Rect { x, y, width, height }
    }

    /// The first column to the right.
    pub fn right(self) -> usize {
        self.x + self.width
    }

    /// The first row below.
    pub fn bottom(self) -> usize {
        self.y + self.height
    }

    pub fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Whether both have a pixel in common.
    pub fn overlaps(self, other: Rect) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }
}

/// Video of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Video {
    /// It publishes audio only.
    None,
    /// It publishes video and has stopped it.
    Stopped,
    /// It sends pictures of this size.
    Playing(Size),
}

/// A publisher, as far as layouts are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    pub id: ParticipantId,
    /// Of the token, the ingest configuration or the replication.
    pub attributes: BTreeMap<String, String>,
    /// Whether it publishes audio.
    pub audio: bool,
    pub video: Video,
}

impl Participant {
    /// Size of its pictures, if they are composed.
    fn picture(&self) -> Option<Size> {
        match self.video {
            Video::Playing(size) if size.is_composed() => Some(size),
            _ => None,
        }
    }

    /// Whether it publishes anything.
    fn publishes(&self) -> bool {
        self.audio || self.video != Video::None
    }
}

/// What a tile shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Picture,
    /// An avatar: there is no video, or it is stopped or too large.
    Placeholder,
}

/// Kind of slot that a tile is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Grid,
    Featured,
    /// The window over the other tiles.
    Pip,
}

/// Place of a participant in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    pub participant: ParticipantId,
    pub rect: Rect,
    pub fill: FillMode,
    pub content: Content,
    pub slot: Slot,
    /// Tiles with a higher `z` are drawn over those with a lower one.
    pub z: u8,
}

/// Arranges participants, which are in joining order, in tiles by `z`. The output is within the limits of
/// [`Size::check_output`]. Participants without a tile are still heard.
pub fn arrange(output: Size, layout: &Layout, participants: &[Participant]) -> Vec<Tile> {
    let selection = Selection::new(layout, participants);
    let Selection { pip, featured, others } = &selection;
    let alone = featured.is_empty() && others.is_empty();
    let base = Slots::new(output, layout.gap(), layout.aspect_ratio(), featured.len(), others.len());
    let featured = featured.iter().zip(base.featured).map(|(one, rect)| tile(one, rect, layout, Slot::Featured));
    let others = others.iter().zip(base.others).map(|(one, rect)| tile(one, rect, layout, Slot::Grid));
    let mut tiles: Vec<_> = featured.chain(others).collect();
    if let (Some(one), Layout::Pip(config)) = (pip, layout) {
        let fills_output = alone && config.pip_behavior == PipBehavior::Dynamic;
        let rect = if fills_output { whole(output) } else { window::place(output, config, one.picture()) };
        tiles.push(tile(one, rect, layout, Slot::Pip));
    }
    tiles
}

fn whole(output: Size) -> Rect {
    Rect::new(0, 0, output.width, output.height)
}

fn tile(participant: &Participant, rect: Rect, layout: &Layout, slot: Slot) -> Tile {
    Tile {
        participant: participant.id.clone(),
        rect,
        fill: layout.fill_mode(slot),
        content: if participant.picture().is_some() { Content::Picture } else { Content::Placeholder },
        slot,
        z: u8::from(slot == Slot::Pip),
    }
}
