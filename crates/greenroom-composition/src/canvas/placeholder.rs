//! The tile of a participant without video: a head and shoulders on a disc, in a colour of the participant's own.

use super::{Color, each_row, paint, region};
use crate::layout::{Rect, Tile};
use greenroom_codecs::picture::Picture;

/// Colour of the tile, which stands out from the black background.
const GROUND: Color = rgb(38, 40, 44);

/// Colour of head and shoulders.
const FIGURE: Color = rgb(232, 234, 237);

/// Colours of the disc, from the participant's id, so that a participant keeps its colour.
const DISCS: [Color; 8] = [
    rgb(66, 103, 178),
    rgb(0, 121, 107),
    rgb(136, 84, 166),
    rgb(183, 92, 60),
    rgb(84, 122, 62),
    rgb(176, 70, 110),
    rgb(150, 120, 40),
    rgb(70, 130, 150),
];

/// BT.709, limited range.
const fn rgb(red: i32, green: i32, blue: i32) -> Color {
    let luma = (183 * red + 614 * green + 62 * blue) / 1_000 + 16;
    let to_blue = (-101 * red - 338 * green + 439 * blue) / 1_000 + 128;
    let to_red = (439 * red - 399 * green - 40 * blue) / 1_000 + 128;
    [luma as u8, to_blue as u8, to_red as u8]
}

/// FNV-1a.
fn disc_color(id: &str) -> Color {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    DISCS[((hash ^ (hash >> 32)) % DISCS.len() as u64) as usize]
}

/// Draws the visible parts of a tile.
pub(super) fn draw(picture: &mut Picture, tile: &Tile, visible: &[Rect]) {
    for part in visible {
        paint(picture, *part, GROUND);
    }
    let avatar = Avatar::new(tile.rect, disc_color(&tile.participant));
    let parts: Vec<_> = visible.iter().filter_map(|part| region::intersect(*part, avatar.bounds())).collect();
    let width = picture.width();
    for (at, plane) in picture.planes_mut().into_iter().enumerate() {
        let scale = if at == 0 { 1 } else { 2 };
        for part in parts.iter().map(|part| region::shrink(*part, scale)) {
            let mut row = part.y;
            each_row(plane, width / scale, &[part], |samples| {
                for (column, sample) in (part.x..).zip(samples) {
                    let center = |at: usize| (at as f32 + 0.5) * scale as f32;
                    *sample = avatar.sample(at, center(column), center(row), scale as f32);
                }
                row += 1;
            });
        }
    }
}

struct Avatar {
    x: f32,
    y: f32,
    radius: f32,
    disc: Color,
}

impl Avatar {
    fn new(tile: Rect, disc: Color) -> Avatar {
        let radius = tile.width.min(tile.height) as f32 * 0.3;
        let (x, y) = (tile.x as f32 + tile.width as f32 / 2.0, tile.y as f32 + tile.height as f32 / 2.0);
        Avatar { x, y, radius, disc }
    }

    /// The disc with its soft edge, in even numbers.
    fn bounds(&self) -> Rect {
        let reach = self.radius + 2.0;
        let start = |center: f32| (center - reach).max(0.0) as usize & !1;
        let (x, y) = (start(self.x), start(self.y));
        let length = |center: f32, start: usize| ((center + reach) as usize).next_multiple_of(2).saturating_sub(start);
        Rect::new(x, y, length(self.x, x), length(self.y, y))
    }

    /// The sample of a plane at a position, with soft edges of `softness` pixels.
    fn sample(&self, plane: usize, x: f32, y: f32, softness: f32) -> u8 {
        let (x, y, unit) = ((x - self.x) / self.radius, (y - self.y) / self.radius, self.radius / softness);
        let inside = |x: f32, y: f32, width: f32, height: f32| {
            let distance = ((x / width).hypot(y / height) - 1.0) * width.min(height) * unit;
            (0.5 - distance).clamp(0.0, 1.0)
        };
        let disc = inside(x, y, 1.0, 1.0);
        let head = inside(x, y + 0.24, 0.34, 0.36);
        let shoulders = inside(x, y - 0.86, 0.66, 0.6);
        let figure = head.max(shoulders);
        let over = |below: f32, color: Color, part: f32| below + (f32::from(color[plane]) - below) * part;
        let on_disc = over(f32::from(self.disc[plane]), FIGURE, figure);
        let ground = f32::from(GROUND[plane]);
        (ground + (on_disc - ground) * disc).round() as u8
    }
}
