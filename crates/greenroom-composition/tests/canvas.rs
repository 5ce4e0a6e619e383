//! Drawing: positions, fill modes, scaling, colours and placeholders.

mod support;

use greenroom_codecs::picture::Picture;
use greenroom_composition::canvas::Canvas;
use greenroom_composition::layout::{Content, FillMode, Rect, Size, Slot, Tile};
use support::{HD, gradient, pattern, pixel, plain, plane};

const BLACK: [u8; 3] = [16, 128, 128];
const RED: [u8; 3] = [80, 100, 200];
const BLUE: [u8; 3] = [60, 200, 110];
const MODES: [FillMode; 3] = [FillMode::Fill, FillMode::Cover, FillMode::Contain];

fn tile(id: &str, rect: Rect, fill: FillMode) -> Tile {
    Tile { participant: id.into(), rect, fill, content: Content::Picture, slot: Slot::Grid, z: 0 }
}

fn canvas(output: Size, tiles: &[Tile]) -> Canvas {
    let mut canvas = Canvas::new(output).unwrap();
    canvas.lay_out(tiles.to_vec());
    canvas
}

/// The part of a tile that a picture fills, and the part of the picture that is there, both without rounding, in the unit of the
/// tile and of the picture: offset and length across and down.
fn ideal(source: (usize, usize), tile: Rect, fill: FillMode) -> ([f64; 4], [f64; 4]) {
    let ratio = (source.0 as f64 / source.1 as f64) / (tile.width as f64 / tile.height as f64);
    let part = |across: f64, down: f64| [(1.0 - across) / 2.0, (1.0 - down) / 2.0, across, down];
    match fill {
        FillMode::Fill => (part(1.0, 1.0), part(1.0, 1.0)),
        FillMode::Cover => (part(1.0, 1.0), part((1.0 / ratio).min(1.0), ratio.min(1.0))),
        FillMode::Contain => (part(ratio.min(1.0), (1.0 / ratio).min(1.0)), part(1.0, 1.0)),
    }
}

/// Peak signal-to-noise ratio of a plane of a tile to the ideal pattern, without the pixels at the edge of bars.
fn psnr(made: &Picture, at: usize, rect: Rect, source: (usize, usize), fill: FillMode) -> f64 {
    let scale = if at == 0 { 1 } else { 2 };
    let (width, height) = (rect.width / scale, rect.height / scale);
    let ([left, top, wide, high], [from_x, from_y, across, down]) = ideal(source, rect, fill);
    let (samples, stride) = plane(made, at);
    let (mut squares, mut count) = (0.0, 0.0_f64);
    for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
        let position =
            |at: usize, length: usize, start: f64, part: f64| ((at as f64 + 0.5) / length as f64 - start) / part;
        let (x_in, y_in) = (position(x, width, left, wide), position(y, height, top, high));
        let margin = 3.0 / width.min(height) as f64;
        let depth = x_in.min(1.0 - x_in).min(y_in).min(1.0 - y_in);
        if depth.abs() < margin && fill == FillMode::Contain {
            continue;
        }
        let expected = match depth > 0.0 {
            true => pattern(at, from_x + x_in * across, from_y + y_in * down),
            false => f64::from(BLACK[at]),
        };
        let made = f64::from(samples[(rect.y / scale + y) * stride + rect.x / scale + x]);
        squares += (made - expected).powi(2);
        count += 1.0;
    }
    assert!(count > 0.0);
    10.0 * (255.0_f64.powi(2) / (squares / count).max(1e-9)).log10()
}

#[test]
fn pictures_are_where_the_fill_mode_puts_them() {
    let rects = [
        Rect::new(0, 0, 638, 358),
        Rect::new(640, 0, 426, 240),
        Rect::new(0, 360, 240, 320),
        Rect::new(640, 360, 358, 358),
    ];
    let sources = [(1280, 720), (640, 360), (320, 180), (1920, 1080), (720, 1280), (427, 241), (90, 160)];
    for (source, fill) in sources.iter().flat_map(|source| MODES.map(|fill| (*source, fill))) {
        let tiles: Vec<_> = rects.iter().enumerate().map(|(at, rect)| tile(&format!("{at}"), *rect, fill)).collect();
        let mut canvas = canvas(HD, &tiles);
        let picture = gradient(source.0, source.1);
        for tile in &tiles {
            assert!(canvas.draw(&tile.participant, &picture));
        }
        for (at, rect) in (0..3).flat_map(|at| rects.map(|rect| (at, rect))) {
            let psnr = psnr(canvas.picture(), at, rect, source, fill);
            assert!(psnr > 40.0, "{source:?} {fill:?} {rect:?} plane {at}: {psnr:.1} dB");
        }
        assert_eq!(pixel(canvas.picture(), 1279, 719), BLACK);
    }
}

#[test]
fn layers_that_nearly_fit_are_not_blurred() {
    let noise =
        |count: usize| (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>();
    let source = Picture::new(640, 360, [noise(640 * 360), noise(320 * 180), noise(320 * 180)]).unwrap();
    let mut canvas = canvas(HD, &[tile("a", Rect::new(642, 362, 638, 358), FillMode::Cover)]);
    canvas.draw(&"a".into(), &source);
    for (at, scale) in [(0, 1), (1, 2), (2, 2)] {
        let ((made, stride), (source, width)) = (plane(canvas.picture(), at), plane(&source, at));
        for row in 0..358 / scale {
            let made = &made[(362 / scale + row) * stride + 642 / scale..][..638 / scale];
            assert_eq!(made, &source[row * width..][..638 / scale], "plane {at}, row {row}");
        }
    }
}

#[test]
fn fine_detail_is_averaged() {
    let luma =
        (0..1280 * 720_usize).map(|at| if (at % 1280 + at / 1280).is_multiple_of(2) { 235 } else { 16 }).collect();
    let source = Picture::new(1280, 720, [luma, vec![128; 640 * 360], vec![128; 640 * 360]]).unwrap();
    for (width, height) in [(638, 358), (426, 240), (318, 178), (158, 88)] {
        let rect = Rect::new(0, 0, width, height);
        let mut canvas = canvas(HD, &[tile("a", rect, FillMode::Cover)]);
        canvas.draw(&"a".into(), &source);
        let darkest = (0..width * height).map(|at| pixel(canvas.picture(), at % width, at / width)[0]).minmax();
        assert!(darkest.0 >= 124 && darkest.1 <= 128, "{width}: {darkest:?}");
    }
}

trait MinMax {
    fn minmax(self) -> (u8, u8);
}

impl<I: Iterator<Item = u8>> MinMax for I {
    fn minmax(self) -> (u8, u8) {
        self.fold((u8::MAX, 0), |(min, max), sample| (min.min(sample), max.max(sample)))
    }
}

/// Whatever sizes a publisher sends, its tile has its colour or bars, and nothing else is touched.
#[test]
fn pictures_of_any_size_stay_in_their_tile() {
    let sides = [1, 2, 3, 17, 359, 640, 1081, 4096];
    let rects =
        [Rect::new(2, 2, 2, 2), Rect::new(100, 50, 318, 178), Rect::new(100, 50, 18, 300), Rect::new(0, 0, 640, 360)];
    for (width, height) in sides.iter().flat_map(|width| sides.map(|height| (*width, height))) {
        let Ok(_) = greenroom_codecs::picture::check_size(width, height) else { continue };
        let source = plain(width, height, RED);
        for (rect, fill) in rects.iter().flat_map(|rect| MODES.map(|fill| (*rect, fill))) {
            let mut canvas = canvas(Size::new(640, 360), &[tile("a", rect, fill)]);
            assert!(canvas.draw(&"a".into(), &source));
            let made = canvas.picture();
            let (mut colored, mut outside) = (0, 0);
            for (at, luma) in made.y().iter().enumerate() {
                let inside = rect.overlaps(Rect::new(at % 640, at / 640, 1, 1));
                colored += usize::from(inside && *luma == RED[0]);
                outside += usize::from(!inside && *luma != BLACK[0]);
                assert!([RED[0], BLACK[0]].contains(luma), "{width}x{height} {rect:?} {fill:?}");
            }
            assert_eq!(outside, 0);
            assert!(colored >= 4 && (fill == FillMode::Contain || colored == rect.width * rect.height));
            let chroma = made.u().iter().zip(made.v()).filter(|(u, v)| [**u, **v] == [RED[1], RED[2]]).count();
            assert_eq!(chroma * 4, colored);
        }
    }
}

#[test]
fn only_the_drawn_tile_changes_and_not_below_the_window() {
    let window = Rect::new(200, 100, 100, 60);
    let mut tiles = vec![
        tile("main", Rect::new(0, 0, 640, 360), FillMode::Cover),
        tile("right", Rect::new(640, 0, 640, 360), FillMode::Cover),
    ];
    // The order of the tiles is that of `z`.
    tiles.insert(0, Tile { z: 1, slot: Slot::Pip, ..tile("window", window, FillMode::Cover) });
    let mut canvas = canvas(HD, &tiles);
    canvas.draw(&"window".into(), &plain(100, 60, BLUE));
    canvas.draw(&"right".into(), &plain(64, 36, BLUE));
    for source in [plain(640, 360, RED), plain(300, 200, RED), plain(1280, 720, RED)] {
        canvas.draw(&"main".into(), &source);
        for (x, y) in (0..1280).step_by(2).flat_map(|x| (0..360).step_by(2).map(move |y| (x, y))) {
            let in_main = x < 640 && !window.overlaps(Rect::new(x, y, 1, 1));
            assert_eq!(pixel(canvas.picture(), x, y), if in_main { RED } else { BLUE }, "{x} {y}");
        }
    }
    assert!(!canvas.draw(&"unknown".into(), &plain(2, 2, RED)));
}

#[test]
fn a_tile_around_the_window_is_drawn_as_without_it() {
    let window = Rect::new(202, 98, 102, 62);
    let main = tile("main", Rect::new(0, 0, 1280, 720), FillMode::Cover);
    let over = Tile { z: 1, slot: Slot::Pip, ..tile("window", window, FillMode::Cover) };
    for source in [gradient(1920, 1080), gradient(640, 360), gradient(1280, 720), gradient(333, 555)] {
        let [without, with] = [vec![main.clone()], vec![main.clone(), over.clone()]].map(|tiles| {
            let mut canvas = canvas(HD, &tiles);
            canvas.draw(&"main".into(), &source);
            canvas.picture().clone()
        });
        for (x, y) in (0..1280).flat_map(|x| (0..720).map(move |y| (x, y))) {
            let expected = if window.overlaps(Rect::new(x, y, 1, 1)) { BLACK } else { pixel(&without, x, y) };
            assert_eq!(pixel(&with, x, y), expected, "{x} {y}");
        }
    }
}

#[test]
fn bars_follow_the_picture() {
    let mut canvas = canvas(HD, &[tile("a", Rect::new(0, 0, 640, 640), FillMode::Contain)]);
    canvas.draw(&"a".into(), &plain(640, 360, RED));
    assert_eq!([pixel(canvas.picture(), 4, 320), pixel(canvas.picture(), 320, 4)], [RED, BLACK]);
    canvas.draw(&"a".into(), &plain(360, 640, BLUE));
    assert_eq!([pixel(canvas.picture(), 4, 320), pixel(canvas.picture(), 320, 4)], [BLACK, BLUE]);
}

#[test]
fn full_range_becomes_limited() {
    for (full, limited) in
        [([255, 255, 0], [235, 240, 16]), ([0, 0, 255], [16, 16, 240]), ([128, 128, 128], [126, 128, 128])]
    {
        let mut canvas = canvas(HD, &[tile("a", Rect::new(10, 10, 100, 50), FillMode::Fill)]);
        canvas.draw(&"a".into(), &plain(60, 30, full).with_full_range(true));
        assert_eq!([pixel(canvas.picture(), 60, 30), pixel(canvas.picture(), 8, 8)], [limited, BLACK]);
        assert!(!canvas.picture().full_range());
    }
}

#[test]
fn placeholders_show_a_figure_on_a_disc_of_the_participants_colour() {
    let rects = [Rect::new(0, 0, 638, 358), Rect::new(640, 0, 638, 358), Rect::new(0, 360, 358, 358)];
    let placeholder = |id: &str, rect| Tile { content: Content::Placeholder, ..tile(id, rect, FillMode::Cover) };
    let tiles = [placeholder("anna", rects[0]), placeholder("ben", rects[1]), placeholder("anna", rects[2])];
    let mut canvas = canvas(HD, &tiles);
    let center =
        |rect: Rect, down: f64| (rect.x + rect.width / 2, rect.y + (rect.height as f64 * (0.5 + down)) as usize);
    let look = |down: f64| rects.map(|rect| center(rect, down)).map(|(x, y)| pixel(canvas.picture(), x, y));
    let (heads, discs) = (look(-0.07), look(-0.26));
    assert!(heads.iter().all(|head| *head == heads[0] && head[0] > 200), "{heads:?}");
    assert!(discs[0] == discs[2] && discs[0] != discs[1] && discs[0] != heads[0], "{discs:?}");
    let corner = pixel(canvas.picture(), 2, 2);
    assert!(corner != BLACK && corner[0] < 60, "{corner:?}");
    assert_eq!(pixel(canvas.picture(), 1276, 716), BLACK);
    // It has no pictures.
    assert!(!canvas.draw(&"ben".into(), &plain(64, 64, RED)));
    canvas.lay_out(Vec::new());
    assert!(canvas.picture().y().iter().all(|luma| *luma == 16));
}

#[test]
fn outputs_and_tiles_outside_the_limits_are_refused() {
    for (width, height) in [(0, 2), (2, 0), (3, 2), (1922, 2), (1920, 1082), (usize::MAX - 1, 2)] {
        assert!(Canvas::new(Size::new(width, height)).is_err(), "{width}x{height}");
    }
    assert!(Canvas::new(Size::new(1920, 1080)).is_ok() && Canvas::new(Size::new(2, 1920)).is_ok());
    let outside = [Rect::new(1280, 0, 2, 2), Rect::new(1000, 0, 282, 2), Rect::new(0, 0, 0, 0)];
    let canvas = canvas(HD, &outside.map(|rect| tile("a", rect, FillMode::Cover)));
    assert_eq!(canvas.tiles().count(), 0);
}
