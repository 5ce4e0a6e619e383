//! Pictures of all cases of layouts, and the sheet of docs/design/composition.md.
//!
//! With COMPOSITION_PICTURES=FOLDER, the pictures are written to the folder: JPEG files of the cases, and `compositions.png`.

mod support;

use greenroom_codecs::jpeg;
use greenroom_codecs::picture::Picture;
use greenroom_composition::canvas::Canvas;
use greenroom_composition::layout::{
    AspectRatio, Content, FillMode, GridLayout, Layout, Participant, PipLayout, PipPosition, Rect, Size, Slot, Tile,
    Video,
};
use std::path::PathBuf;
use support::cases::{Case, expected, grid, pip};
use support::{HD, PORTRAIT, SQUARE, card, crowd, pixel, plain, playing, png};

/// Draws a case: participant number n shows card n + 1.
fn render(case: &Case) -> (Picture, Vec<Tile>) {
    let tiles = case.tiles();
    let mut canvas = Canvas::new(case.output).unwrap();
    canvas.lay_out(tiles.clone());
    for (at, one) in case.participants.iter().enumerate() {
        if let Video::Playing(Size { width, height }) = one.video {
            canvas.draw(&one.id, &card(at + 1, width, height));
        }
    }
    (canvas.picture().clone(), tiles)
}

fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("COMPOSITION_PICTURES")?);
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

#[test]
fn every_case_shows_each_participant_in_its_tile() {
    for case in expected() {
        let (picture, tiles) = render(&case);
        if let Some(folder) = folder() {
            std::fs::write(folder.join(format!("{}.jpg", case.name)), jpeg::encode(&picture, 85).unwrap()).unwrap();
        }
        for tile in &tiles {
            let at = case.participants.iter().position(|one| one.id == tile.participant).unwrap();
            let expected = pixel(&card(at + 1, 64, 36), 20, 4);
            let covered = |x: usize, y: usize| {
                tiles.iter().any(|over| over.z > tile.z && over.rect.overlaps(Rect::new(x, y, 1, 1)))
            };
            // Two points near the centre, unless the window is over them; a card has one chroma everywhere.
            let (x, y) = (tile.rect.x + tile.rect.width / 2, tile.rect.y + tile.rect.height / 2);
            let points = [(x, y - tile.rect.height / 20), (x - tile.rect.width / 10, y)];
            for (x, y) in points.into_iter().filter(|(x, y)| !covered(*x, *y)) {
                let made = pixel(&picture, x, y);
                let near = |at: usize| made[at].abs_diff(expected[at]) <= 2;
                assert!(
                    near(1) && near(2),
                    "{}: {:?} has {made:?} instead of {expected:?}",
                    case.name,
                    tile.participant
                );
            }
        }
    }
}

fn case(output: Size, layout: Layout, participants: Vec<Participant>) -> Case {
    Case { name: String::new(), output, layout, participants, rects: Vec::new() }
}

fn window(config: PipLayout, others: usize, picture: Size) -> (Layout, Vec<Participant>) {
    let small = playing("small", picture, [("window", "true")]);
    (Layout::Pip(config), crowd(0, others).into_iter().chain([small]).collect())
}

/// The cases of the sheet, row by row: landscape, portrait and square.
fn sheet() -> [Vec<Case>; 3] {
    let plain_grid = |count: usize| crowd(0, count);
    let video = |gap| Layout::Grid(grid(gap, AspectRatio::Video));
    let with = |aspect| Layout::Grid(grid(2, aspect));
    let fill = |mode| {
        let layout = Layout::Grid(GridLayout { video_fill_mode: Some(mode), ..grid(8, AspectRatio::Square) });
        case(HD, layout, plain_grid(2))
    };
    let mut mixed = plain_grid(4);
    mixed[1].video = Video::None;
    mixed[2].video = Video::Stopped;
    let (pip_default, two) = window(pip(), 1, HD);
    let (pip_phone, crowd_below) =
        window(PipLayout { pip_offset: 20, pip_position: PipPosition::TopRight, ..pip() }, 4, PORTRAIT);
    let (alone, one) = window(PipLayout { pip_offset: 20, ..pip() }, 0, HD);
    let (pip_portrait, three) = window(PipLayout { pip_offset: 20, ..pip() }, 2, HD);
    let (pip_square, four) = window(PipLayout { pip_offset: 20, ..pip() }, 1, PORTRAIT);
    [
        vec![
            case(HD, video(2), plain_grid(1)),
            case(HD, video(2), plain_grid(3)),
            case(HD, video(2), plain_grid(5)),
            case(HD, video(2), plain_grid(12)),
            case(HD, video(2), mixed),
            case(HD, with(AspectRatio::Square), plain_grid(6)),
            case(HD, with(AspectRatio::Portrait), plain_grid(3)),
            case(HD, with(AspectRatio::Auto), plain_grid(2)),
            case(HD, video(2), crowd(1, 4)),
            case(HD, video(2), crowd(2, 3)),
            fill(FillMode::Fill),
            fill(FillMode::Cover),
            fill(FillMode::Contain),
            case(HD, pip_default, two),
            case(HD, pip_phone, crowd_below),
            case(HD, alone, one),
        ],
        vec![
            case(PORTRAIT, video(2), plain_grid(3)),
            case(PORTRAIT, video(2), plain_grid(8)),
            case(PORTRAIT, with(AspectRatio::Portrait), plain_grid(4)),
            case(PORTRAIT, with(AspectRatio::Auto), plain_grid(2)),
            case(PORTRAIT, video(2), crowd(1, 3)),
            case(PORTRAIT, video(2), crowd(2, 3)),
            case(PORTRAIT, pip_portrait, three),
        ],
        vec![
            case(SQUARE, video(2), plain_grid(3)),
            case(SQUARE, with(AspectRatio::Square), plain_grid(5)),
            case(SQUARE, with(AspectRatio::Auto), plain_grid(3)),
            case(SQUARE, with(AspectRatio::Auto), plain_grid(7)),
            case(SQUARE, video(2), crowd(1, 3)),
            case(SQUARE, pip_square, four),
        ],
    ]
}

/// A tile of the sheet.
fn place(id: &str, rect: Rect, z: u8) -> Tile {
    Tile { participant: id.into(), rect, fill: FillMode::Fill, content: Content::Picture, slot: Slot::Grid, z }
}

/// The sheet is a composition itself: every case is a picture in a tile, over a light background.
#[test]
fn the_sheet_of_the_docs_is_small() {
    const WIDTH: usize = 1_316;
    const SPACE: usize = 12;
    let sizes = [Size::new(320, 180), Size::new(176, 312), Size::new(208, 208)];
    let (mut tiles, mut pictures, mut top) = (Vec::new(), Vec::new(), 0);
    for (cases, Size { width, height }) in sheet().iter().zip(sizes) {
        let columns = (WIDTH + SPACE) / (width + SPACE);
        for (at, one) in cases.iter().enumerate() {
            let (x, y) = (at % columns * (width + SPACE), top + at / columns * (height + SPACE));
            tiles.push(place(&format!("{}", tiles.len()), Rect::new(x, y, width, height), 1));
            pictures.push(render(one).0);
        }
        top += cases.len().div_ceil(columns) * (height + SPACE);
    }
    let size = Size::new(WIDTH, top - SPACE);
    tiles.push(place("background", Rect::new(0, 0, size.width, size.height), 0));
    pictures.push(plain(2, 2, [225, 128, 128]));
    let mut canvas = Canvas::new(size).unwrap();
    canvas.lay_out(tiles.clone());
    for (tile, picture) in tiles.iter().zip(&pictures) {
        assert!(canvas.draw(&tile.participant, picture), "the sheet has space for {:?}", tile.rect);
    }
    let file = png::encode(canvas.picture());
    if let Some(folder) = folder() {
        std::fs::write(folder.join("compositions.png"), &file).unwrap();
    }
    assert!(file.len() <= 150_000, "{} bytes", file.len());
}
