//! Layouts: the expected rectangles of 226 cases, and the documented rules.

mod support;

use greenroom_composition::layout::{
    AspectRatio, Content, FillMode, GridLayout, Layout, Participant, PipBehavior, PipLayout, Rect, Size, Slot, Tile,
    Video, arrange,
};
use support::cases::{expected, grid, pip};
use support::{HD, PORTRAIT, SQUARE, crowd, playing};

#[test]
fn the_expected_rectangles() {
    let cases = expected();
    assert_eq!(cases.len(), 226);
    let wrong = cases.iter().filter_map(|case| {
        let made: Vec<_> = case.tiles().iter().map(|tile| tile.rect).collect();
        let shown = made.iter().map(|made| format!(" {},{},{}x{}", made.x, made.y, made.width, made.height));
        (!made.ends_with(&case.rects)).then(|| format!("{}: {}", case.name, shown.collect::<String>()))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

fn rects(tiles: &[Tile]) -> Vec<Rect> {
    tiles.iter().map(|tile| tile.rect).collect()
}

/// Columns, rows and size of a tile for 1 to 12 participants, with a gap of 2.
const TABLE: [(Size, AspectRatio, &str); 9] = [
    (
        HD,
        AspectRatio::Video,
        "1x1 1280x720, 2x1 638x358, 2x2 638x358, 2x2 638x358, 3x2 424x238, 3x2 424x238, 3x3 424x238, 3x3 424x238, 3x3 424x238, 4x3 318x178, 4x3 318x178, 4x3 318x178",
    ),
    (
        HD,
        AspectRatio::Square,
        "1x1 720x720, 2x1 638x638, 3x1 424x424, 2x2 358x358, 3x2 358x358, 3x2 358x358, 4x2 318x318, 4x2 318x318, 5x2 254x254, 5x2 254x254, 4x3 238x238, 4x3 238x238",
    ),
    (
        HD,
        AspectRatio::Auto,
        "1x1 1280x720, 2x1 638x720, 2x2 638x358, 2x2 638x358, 3x2 424x358, 3x2 424x358, 3x3 424x238, 3x3 424x238, 3x3 424x238, 4x3 318x238, 4x3 318x238, 4x3 318x238",
    ),
    (
        PORTRAIT,
        AspectRatio::Video,
        "1x1 720x404, 1x2 720x404, 1x3 720x404, 1x4 566x318, 1x5 452x254, 1x6 376x210, 2x4 358x200, 2x4 358x200, 2x5 358x200, 2x5 358x200, 2x6 358x200, 2x6 358x200",
    ),
    (
        PORTRAIT,
        AspectRatio::Portrait,
        "1x1 720x960, 1x2 478x638, 2x2 358x478, 2x2 358x478, 2x3 318x424, 2x3 318x424, 2x4 238x318, 2x4 238x318, 3x3 238x318, 3x4 238x318, 3x4 238x318, 3x4 238x318",
    ),
    (
        PORTRAIT,
        AspectRatio::Auto,
        "1x1 720x1280, 1x2 720x638, 2x2 358x638, 2x2 358x638, 2x3 358x424, 2x3 358x424, 3x3 238x424, 3x3 238x424, 3x3 238x424, 3x4 238x318, 3x4 238x318, 3x4 238x318",
    ),
    (
        SQUARE,
        AspectRatio::Video,
        "1x1 720x404, 1x2 638x358, 1x3 424x238, 2x2 358x200, 2x3 358x200, 2x3 358x200, 2x4 316x178, 2x4 316x178, 2x5 252x142, 2x5 252x142, 3x4 238x134, 3x4 238x134",
    ),
    (
        SQUARE,
        AspectRatio::Square,
        "1x1 720x720, 2x1 358x358, 2x2 358x358, 2x2 358x358, 3x2 238x238, 3x2 238x238, 3x3 238x238, 3x3 238x238, 3x3 238x238, 4x3 178x178, 4x3 178x178, 4x3 178x178",
    ),
    (
        SQUARE,
        AspectRatio::Auto,
        "1x1 720x720, 1x2 720x358, 2x2 358x358, 2x2 358x358, 2x3 358x238, 2x3 358x238, 2x4 358x178, 2x4 358x178, 3x3 238x238, 3x4 238x178, 3x4 238x178, 3x4 238x178",
    ),
];

#[test]
fn zero_to_twelve_participants_in_each_orientation() {
    let mut made = String::new();
    for (output, aspect, _) in TABLE {
        let layout = Layout::Grid(grid(2, aspect));
        assert_eq!(arrange(output, &layout, &[]), []);
        for count in 1..=12 {
            let tiles = rects(&arrange(output, &layout, &crowd(0, count)));
            let columns = tiles.iter().filter(|tile| tile.y == tiles[0].y).count();
            let Rect { width, height, .. } = tiles[0];
            made += &format!("{columns}x{} {width}x{height}, ", count.div_ceil(columns));
            assert_eq!(tiles.len(), count);
        }
        made += "\n";
    }
    let expected = TABLE.map(|(.., row)| format!("{row}, \n")).concat();
    assert_eq!(made, expected, "{made}");
}

/// The rectangle of a participant.
fn of<'a>(tiles: &'a [Tile], id: &str) -> Option<&'a Tile> {
    tiles.iter().find(|tile| &*tile.participant == id)
}

fn ids(tiles: &[Tile]) -> Vec<&str> {
    tiles.iter().map(|tile| &*tile.participant).collect()
}

#[test]
fn participants_are_ordered_by_an_integer_attribute_then_by_joining() {
    let values = ["10", "abc", "9", "-3", "1.5", "9", "", "+2", "99999999999999999999"];
    let mut participants: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(at, value)| playing(&format!("{at}={value}"), HD, [("order", value)]))
        .collect();
    participants.push(playing("none", HD, []));
    let order = |attribute: &str| {
        let layout = GridLayout { participant_order_attribute: attribute.to_owned(), ..GridLayout::default() };
        arrange(HD, &Layout::Grid(layout), &participants)
    };
    let expected = ["3=-3", "7=+2", "2=9", "5=9", "0=10", "1=abc", "4=1.5", "6=", "8=99999999999999999999", "none"];
    assert_eq!(ids(&order("order")), expected);
    let joined: Vec<_> = participants.iter().map(|one| &*one.id).collect();
    assert_eq!(ids(&order("")), joined);
    assert_eq!(ids(&order("other")), joined);
}

#[test]
fn featured_participants_share_the_upper_area_in_order() {
    let mut participants = crowd(0, 5);
    for (at, order) in [(1, "2"), (3, "1")] {
        participants[at].attributes = support::attributes([("main", "true"), ("order", order)]);
    }
    let mut layout = GridLayout { participant_order_attribute: "order".to_owned(), ..grid(2, AspectRatio::Video) };
    for output in [HD, PORTRAIT, SQUARE] {
        let tiles = arrange(output, &Layout::Grid(layout.clone()), &participants);
        assert_eq!(ids(&tiles), ["p3", "p1", "p0", "p2", "p4"]);
        let (featured, others) = tiles.split_at(2);
        assert!(featured.iter().all(|tile| tile.slot == Slot::Featured && tile.fill == FillMode::Contain));
        assert!(others.iter().all(|tile| tile.slot == Slot::Grid && tile.fill == FillMode::Cover));
        let lowest = featured.iter().map(|tile| tile.rect.bottom()).max().unwrap();
        assert!(others.iter().all(|tile| tile.rect.y >= lowest + 2));
        assert!(
            featured
                .iter()
                .all(|tile| tile.rect.width * tile.rect.height > others[0].rect.width * others[0].rect.height)
        );
    }
    // An explicit fill mode is for all tiles; values other than "true" do not match.
    layout.video_fill_mode = Some(FillMode::Fill);
    participants[1].attributes = support::attributes([("main", "True")]);
    let tiles = arrange(HD, &Layout::Grid(layout), &participants);
    assert!(tiles.iter().all(|tile| tile.fill == FillMode::Fill));
    assert_eq!(tiles.iter().filter(|tile| tile.slot == Slot::Featured).count(), 1);
}

#[test]
fn participants_without_video_have_placeholders_or_no_tile() {
    let with = |id: &str, audio, video| Participant { audio, video, ..playing(id, HD, []) };
    let participants = [
        with("playing", true, Video::Playing(Size::new(1920, 1080))),
        with("audio", true, Video::None),
        with("stopped", true, Video::Stopped),
        with("large", true, Video::Playing(Size::new(1922, 1080))),
        with("tall", true, Video::Playing(Size::new(1080, 1920))),
        with("muted", false, Video::Stopped),
        with("nothing", false, Video::None),
    ];
    let content = |omit_stopped_video| {
        let layout = GridLayout { omit_stopped_video, ..GridLayout::default() };
        let tiles = arrange(HD, &Layout::Grid(layout), &participants);
        tiles.iter().map(|tile| (tile.participant.to_string(), tile.content)).collect::<Vec<_>>()
    };
    let expected = [
        ("playing", Content::Picture),
        ("audio", Content::Placeholder),
        ("stopped", Content::Placeholder),
        ("large", Content::Placeholder),
        ("tall", Content::Picture),
        ("muted", Content::Placeholder),
    ]
    .map(|(id, content)| (id.to_owned(), content));
    assert_eq!(content(false), expected);
    assert_eq!(
        content(true),
        expected.into_iter().filter(|(_, content)| *content == Content::Picture).collect::<Vec<_>>()
    );
}

#[test]
fn the_window_is_that_of_the_first_match_in_order() {
    let mut participants = crowd(0, 3);
    for (at, order) in [(0, "3"), (1, "1")] {
        participants[at].attributes = support::attributes([("window", "true"), ("order", order)]);
    }
    participants[2].attributes = support::attributes([("main", "true")]);
    let layout = Layout::Pip(PipLayout { participant_order_attribute: "order".to_owned(), ..pip() });
    let tiles = arrange(HD, &layout, &participants);
    let slots: Vec<_> = tiles.iter().map(|tile| (&*tile.participant, tile.slot, tile.z)).collect();
    assert_eq!(slots, [("p2", Slot::Featured, 0), ("p0", Slot::Grid, 0), ("p1", Slot::Pip, 1)]);
    assert!(tiles.iter().all(|tile| tile.fill == FillMode::Cover));
    // Without a match, all share the output.
    let tiles = arrange(HD, &Layout::Pip(pip()), &crowd(0, 2));
    assert_eq!(rects(&tiles), [Rect::new(0, 0, 640, 720), Rect::new(640, 0, 640, 720)]);
}

#[test]
fn the_window_alone_stays_or_fills_the_output() {
    let alone = |pip_behavior, omit_stopped_video| {
        let mut participants = vec![playing("small", HD, [("window", "true")])];
        participants.push(Participant { video: Video::Stopped, ..playing("stopped", HD, []) });
        let layout = Layout::Pip(PipLayout { pip_behavior, omit_stopped_video, ..pip() });
        of(&arrange(HD, &layout, &participants[..if omit_stopped_video { 2 } else { 1 }]), "small").unwrap().rect
    };
    let (window, whole) = (Rect::new(960, 540, 320, 180), Rect::new(0, 0, 1280, 720));
    assert_eq!([false, true].map(|omit| alone(PipBehavior::Static, omit)), [window, window]);
    assert_eq!([false, true].map(|omit| alone(PipBehavior::Dynamic, omit)), [whole, whole]);
}

#[test]
fn the_window_follows_its_configuration_within_the_output() {
    let window = |width, height, offset, picture| {
        let layout = PipLayout { pip_width: width, pip_height: height, pip_offset: offset, ..pip() };
        let participants = [playing("main", HD, []), playing("small", picture, [("window", "true")])];
        arrange(HD, &Layout::Pip(layout), &participants)[1].rect
    };
    assert_eq!(window(Some(200), Some(100), 20, HD), Rect::new(1060, 600, 200, 100));
    assert_eq!(window(None, Some(180), 0, PORTRAIT), Rect::new(1180, 540, 100, 180));
    assert_eq!(window(Some(1), Some(1), 0, HD), Rect::new(1278, 718, 2, 2));
    assert_eq!(window(Some(usize::MAX), None, usize::MAX, HD), Rect::new(0, 0, 1280, 720));
    assert_eq!(window(Some(201), Some(101), 5, HD), Rect::new(1076, 616, 200, 100));
    // The size of a layer is rounded; the window is the same.
    assert_eq!(window(None, None, 0, Size::new(426, 240)), window(None, None, 0, HD));
}

#[test]
fn gaps_that_leave_no_space_are_reduced() {
    for gap in [1_300, 100_000, usize::MAX] {
        for (featured, others) in [(0, 2), (0, 12), (1, 11), (3, 4)] {
            let tiles = arrange(HD, &Layout::Grid(grid(gap, AspectRatio::Video)), &crowd(featured, others));
            assert_eq!(tiles.len(), featured + others);
            assert!(
                tiles.iter().all(|tile| tile.rect.width >= 16 && tile.rect.height >= 16),
                "{gap}: {:?}",
                rects(&tiles)
            );
        }
    }
}
