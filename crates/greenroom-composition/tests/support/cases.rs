//! Cases of layouts with their expected rectangles.

use super::{crowd, playing};
use greenroom_composition::layout::{
    AspectRatio, GridLayout, Layout, Participant, PipLayout, PipPosition, Rect, Size, Tile, arrange,
};

pub const ASPECTS: [(&str, AspectRatio); 4] = [
    ("VIDEO", AspectRatio::Video),
    ("SQUARE", AspectRatio::Square),
    ("PORTRAIT", AspectRatio::Portrait),
    ("AUTO", AspectRatio::Auto),
];

pub const CORNERS: [(&str, PipPosition); 4] = [
    ("TOP_LEFT", PipPosition::TopLeft),
    ("TOP_RIGHT", PipPosition::TopRight),
    ("BOTTOM_LEFT", PipPosition::BottomLeft),
    ("BOTTOM_RIGHT", PipPosition::BottomRight),
];

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> T {
    names.iter().find(|(candidate, _)| *candidate == name).unwrap().1
}

fn pair(text: &str, separator: char) -> (usize, usize) {
    let (one, other) = text.split_once(separator).unwrap();
    (one.parse().unwrap(), other.parse().unwrap())
}

fn size(text: &str) -> Size {
    let (width, height) = pair(text, 'x');
    Size::new(width, height)
}

/// `x,y,WxH`.
fn rect(text: &str) -> Rect {
    let (position, extent) = text.rsplit_once(',').unwrap();
    let ((x, y), Size { width, height }) = (pair(position, ','), size(extent));
    Rect { x, y, width, height }
}

pub fn grid(gap: usize, aspect: AspectRatio) -> GridLayout {
    GridLayout {
        grid_gap: gap,
        video_aspect_ratio: aspect,
        featured_participant_attribute: "main".to_owned(),
        ..GridLayout::default()
    }
}

pub fn pip() -> PipLayout {
    PipLayout {
        pip_participant_attribute: "window".to_owned(),
        featured_participant_attribute: "main".to_owned(),
        ..PipLayout::default()
    }
}

/// A layout of participants.
pub struct Case {
    pub name: String,
    pub output: Size,
    pub layout: Layout,
    pub participants: Vec<Participant>,
    /// Of all tiles of a grid, and of the window of picture in picture.
    pub rects: Vec<Rect>,
}

impl Case {
    pub fn tiles(&self) -> Vec<Tile> {
        arrange(self.output, &self.layout, &self.participants)
    }
}

/// The cases of the fixture. Columns: `grid`, output, gap, aspect ratio, featured and other participants; `pip`, output, corner,
/// offset, width or `-`, and aspect ratio of the participant's pictures. The rectangles follow.
pub fn expected() -> Vec<Case> {
    include_str!("../fixtures/layouts.txt").lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

fn parse(line: &str) -> Case {
    let words: Vec<_> = line.split(' ').collect();
    let ([kind, output, ..], split) = (&words[..], if words[0] == "grid" { 5 } else { 6 }) else { panic!("{line}") };
    let (columns, rects) = words.split_at(split);
    let (layout, participants) = match (*kind, &columns[2..]) {
        ("grid", [gap, aspect, count]) => {
            let (featured, others) = pair(count, '+');
            (Layout::Grid(grid(gap.parse().unwrap(), named(&ASPECTS, aspect))), crowd(featured, others))
        }
        ("pip", [corner, offset, width, aspect]) => {
            let layout = PipLayout {
                pip_position: named(&CORNERS, corner),
                pip_offset: offset.parse().unwrap(),
                pip_width: width.parse().ok(),
                ..pip()
            };
            let (across, down) = pair(aspect, ':');
            let small = playing("small", Size::new(across * 40, down * 40), [("window", "true")]);
            (Layout::Pip(layout), crowd(0, 2).into_iter().chain([small]).collect())
        }
        _ => panic!("{line}"),
    };
    Case {
        name: columns.join("-").replace(':', "x"),
        output: size(output),
        layout,
        participants,
        rects: rects.iter().map(|text| rect(text)).collect(),
    }
}
