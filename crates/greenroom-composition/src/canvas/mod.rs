//! The composed picture: draws the pictures of participants into the tiles of a layout.
//!
//! The picture is kept from frame to frame, and only tiles with a new picture are drawn. A tile below the window of picture in
//! picture is drawn around the window.

mod fit;
mod placeholder;
mod region;
mod scale;

use crate::layout::{Content, Rect, Size, Tile};
use crate::{CompositionError, ParticipantId};
use fit::Placement;
use greenroom_codecs::picture::Picture;
use scale::{Plane, Scaler};

/// Colour in limited range: luma and both chroma samples.
type Color = [u8; 3];

/// Colour of the background and of bars.
const BLACK: Color = [16, 128, 128];

/// A tile with the parts of it that are not under another one.
struct Area {
    tile: Tile,
    visible: Vec<Rect>,
    /// Where its last picture is. Another place needs new bars.
    drawn: Option<Rect>,
}

/// The output picture of limited range, with its tiles.
pub struct Canvas {
    picture: Picture,
    areas: Vec<Area>,
    scaler: Scaler,
}

impl Canvas {
    /// A black picture without tiles.
    pub fn new(output: Size) -> Result<Canvas, CompositionError> {
        let Size { width, height } = output.check_output()?;
        Ok(Canvas { picture: Picture::black(width, height)?, areas: Vec::new(), scaler: Scaler::default() })
    }

    /// The picture as it is now.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Size of the output.
    pub fn size(&self) -> Size {
        Size::new(self.picture.width(), self.picture.height())
    }

    /// The tiles, lowest `z` first.
    pub fn tiles(&self) -> impl Iterator<Item = &Tile> {
        self.areas.iter().map(|area| &area.tile)
    }

    /// Replaces the layout: the background and the placeholders are drawn; tiles with pictures are black until [`Canvas::draw`].
    /// Tiles outside the output are left out.
    pub fn lay_out(&mut self, mut tiles: Vec<Tile>) {
        let output = Rect::new(0, 0, self.picture.width(), self.picture.height());
        tiles.retain(|tile| region::intersect(tile.rect, output) == Some(tile.rect));
        tiles.sort_by_key(|tile| tile.z);
        let visible: Vec<_> = (0..tiles.len()).map(|at| uncovered(&tiles, at)).collect();
        let areas = tiles.into_iter().zip(visible);
        self.areas = areas.map(|(tile, visible)| Area { tile, visible, drawn: None }).collect();
        clear(&mut self.picture, output);
        for area in self.areas.iter().filter(|area| area.tile.content == Content::Placeholder) {
            placeholder::draw(&mut self.picture, &area.tile, &area.visible);
        }
    }

    /// Draws a participant's picture into its tile. Returns `false` if it has no tile, or one that shows a placeholder.
    pub fn draw(&mut self, participant: &ParticipantId, source: &Picture) -> bool {
        let of_participant = |area: &&mut Area| area.tile.participant == *participant;
        let Some(area) = self.areas.iter_mut().find(of_participant) else { return false };
        if area.tile.content != Content::Picture {
            return false;
        }
        let size = Size::new(source.width(), source.height());
        let placement = fit::place(size, area.tile.rect, area.tile.fill);
        if area.drawn.replace(placement.target) != Some(placement.target) {
            area.visible.iter().for_each(|rect| clear(&mut self.picture, *rect));
        }
        let parts = area.visible.iter().filter_map(|rect| region::intersect(*rect, placement.target));
        draw_planes(&mut self.picture, &mut self.scaler, source, &placement, &parts.collect::<Vec<_>>());
        true
    }
}

/// The parts of a tile that no later tile covers.
fn uncovered(tiles: &[Tile], at: usize) -> Vec<Rect> {
    let Some((tile, above)) = tiles.get(at..).and_then(<[Tile]>::split_first) else { return Vec::new() };
    above.iter().fold(vec![tile.rect], |parts, cover| {
        parts.into_iter().flat_map(|part| region::subtract(part, cover.rect)).collect()
    })
}

fn draw_planes(out: &mut Picture, scaler: &mut Scaler, source: &Picture, placement: &Placement, parts: &[Rect]) {
    let width = out.width();
    let chroma_size = (source.chroma_width(), source.height().div_ceil(2));
    let sizes = [(source.width(), source.height()), chroma_size, chroma_size];
    let samples = [source.y(), source.u(), source.v()];
    for (at, plane) in out.planes_mut().into_iter().enumerate() {
        let scale = if at == 0 { 1 } else { 2 };
        let parts: Vec<_> = parts.iter().map(|part| region::shrink(*part, scale)).collect();
        let from = Plane { samples: samples[at], width: sizes[at].0, height: sizes[at].1 };
        let target = region::shrink(placement.target, scale);
        scaler.draw(from, placement.crop.shrunk(scale), target, &parts, (plane, width / scale));
        if source.full_range() {
            let table = if at == 0 { &scale::LIMITED_LUMA } else { &scale::LIMITED_CHROMA };
            each_row(plane, width / scale, &parts, |row| {
                row.iter_mut().for_each(|sample| *sample = table[usize::from(*sample)]);
            });
        }
    }
}

/// Makes a rectangle black.
fn clear(picture: &mut Picture, rect: Rect) {
    paint(picture, rect, BLACK);
}

/// Fills a rectangle with a colour.
fn paint(picture: &mut Picture, rect: Rect, color: Color) {
    let width = picture.width();
    for (at, plane) in picture.planes_mut().into_iter().enumerate() {
        let scale = if at == 0 { 1 } else { 2 };
        each_row(plane, width / scale, &[region::shrink(rect, scale)], |row| row.fill(color[at]));
    }
}

/// Calls a function with every row of the parts of a plane.
fn each_row(plane: &mut [u8], stride: usize, parts: &[Rect], mut call: impl FnMut(&mut [u8])) {
    for part in parts {
        for row in plane.chunks_exact_mut(stride).skip(part.y).take(part.height) {
            if let Some(row) = row.get_mut(part.x..part.right()) {
                call(row);
            }
        }
    }
}
