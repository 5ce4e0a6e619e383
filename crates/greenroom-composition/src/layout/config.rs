//! The layout configuration, with the names and defaults of AWS.

use super::Slot;

/// How a picture fills its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillMode {
    /// Stretched.
    Fill,
    /// Cropped.
    Cover,
    /// With bars.
    Contain,
}

/// Aspect ratio of tiles that are not featured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AspectRatio {
    /// As the available space has it.
    Auto,
    /// 16:9.
    Video,
    /// 1:1.
    Square,
    /// 3:4.
    Portrait,
}

/// Behaviour of the window when all other participants have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipBehavior {
    /// Keeps size and position.
    Static,
    /// Fills the output.
    Dynamic,
}

/// Corner of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipPosition {
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
}

/// Tiles of equal size, optionally below a featured slot. An empty attribute name is unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridLayout {
    pub featured_participant_attribute: String,
    pub omit_stopped_video: bool,
    pub video_aspect_ratio: AspectRatio,
    /// Unset is [`FillMode::Cover`], and [`FillMode::Contain`] in the featured slot.
    pub video_fill_mode: Option<FillMode>,
    /// Pixels between tiles; an odd number is rounded up.
    pub grid_gap: usize,
    pub participant_order_attribute: String,
}

impl Default for GridLayout {
    fn default() -> GridLayout {
        GridLayout {
            featured_participant_attribute: String::new(),
            omit_stopped_video: false,
            video_aspect_ratio: AspectRatio::Video,
            video_fill_mode: None,
            grid_gap: 2,
            participant_order_attribute: String::new(),
        }
    }
}

/// One participant in a window over the others. An empty attribute name is unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipLayout {
    pub featured_participant_attribute: String,
    pub omit_stopped_video: bool,
    pub video_fill_mode: FillMode,
    /// Pixels between tiles; an odd number is rounded up.
    pub grid_gap: usize,
    pub pip_participant_attribute: String,
    pub pip_behavior: PipBehavior,
    /// Pixels between the window and the two nearest edges; an odd number is rounded down.
    pub pip_offset: usize,
    pub pip_position: PipPosition,
    /// Pixels; an odd number is rounded down.
    pub pip_width: Option<usize>,
    /// Pixels; an odd number is rounded down.
    pub pip_height: Option<usize>,
    pub participant_order_attribute: String,
}

impl Default for PipLayout {
    fn default() -> PipLayout {
        PipLayout {
            featured_participant_attribute: String::new(),
            omit_stopped_video: false,
            video_fill_mode: FillMode::Cover,
            grid_gap: 0,
            pip_participant_attribute: String::new(),
            pip_behavior: PipBehavior::Static,
            pip_offset: 0,
            pip_position: PipPosition::BottomRight,
            pip_width: None,
            pip_height: None,
            participant_order_attribute: String::new(),
        }
    }
}

/// Arrangement of participants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    Grid(GridLayout),
    Pip(PipLayout),
}

impl Default for Layout {
    fn default() -> Layout {
        Layout::Grid(GridLayout::default())
    }
}

impl Layout {
    pub(super) fn featured_attribute(&self) -> &str {
        match self {
            Layout::Grid(grid) => &grid.featured_participant_attribute,
            Layout::Pip(pip) => &pip.featured_participant_attribute,
        }
    }

    pub(super) fn order_attribute(&self) -> &str {
        match self {
            Layout::Grid(grid) => &grid.participant_order_attribute,
            Layout::Pip(pip) => &pip.participant_order_attribute,
        }
    }

    pub(super) fn pip_attribute(&self) -> &str {
        match self {
            Layout::Grid(_) => "",
            Layout::Pip(pip) => &pip.pip_participant_attribute,
        }
    }

    pub(super) fn omits_stopped_video(&self) -> bool {
        match self {
            Layout::Grid(grid) => grid.omit_stopped_video,
            Layout::Pip(pip) => pip.omit_stopped_video,
        }
    }

    pub(super) fn gap(&self) -> usize {
        match self {
            Layout::Grid(grid) => grid.grid_gap,
            Layout::Pip(pip) => pip.grid_gap,
        }
    }

    /// Picture in picture has no such member: the participants below the window share the whole output.
    pub(super) fn aspect_ratio(&self) -> AspectRatio {
        match self {
            Layout::Grid(grid) => grid.video_aspect_ratio,
            Layout::Pip(_) => AspectRatio::Auto,
        }
    }

    pub(super) fn fill_mode(&self, slot: Slot) -> FillMode {
        match self {
            Layout::Pip(pip) => pip.video_fill_mode,
            Layout::Grid(grid) => grid.video_fill_mode.unwrap_or(match slot {
                Slot::Featured => FillMode::Contain,
                Slot::Grid | Slot::Pip => FillMode::Cover,
            }),
        }
    }
}
