//! Properties of all layouts.

mod support;

use greenroom_composition::layout::{
    FillMode, GridLayout, Layout, MAX_TILES, Participant, PipBehavior, PipLayout, Rect, Size, Tile, Video, arrange,
};
use proptest::prelude::*;
use support::cases::{ASPECTS, CORNERS, grid, pip};
use support::{HD, PORTRAIT, SQUARE, playing};

fn layouts() -> impl Strategy<Value = Layout> {
    let aspect = prop::sample::select(ASPECTS.map(|(_, aspect)| aspect).to_vec());
    let fill = prop::sample::select(vec![FillMode::Fill, FillMode::Cover, FillMode::Contain]);
    let grids = (aspect, prop::option::of(fill.clone()), 0_usize..40, any::<bool>()).prop_map(
        |(aspect, video_fill_mode, gap, omit_stopped_video)| {
            Layout::Grid(GridLayout {
                video_fill_mode,
                omit_stopped_video,
                participant_order_attribute: "order".to_owned(),
                ..grid(gap, aspect)
            })
        },
    );
    let side = || prop::option::of(1_usize..3_000);
    let corner = prop::sample::select(CORNERS.map(|(_, corner)| corner).to_vec());
    let behavior = prop::sample::select(vec![PipBehavior::Static, PipBehavior::Dynamic]);
    let pips = (fill, 0_usize..40, (side(), side(), 0_usize..2_000), corner, behavior).prop_map(
        |(video_fill_mode, grid_gap, (pip_width, pip_height, pip_offset), pip_position, pip_behavior)| {
            Layout::Pip(PipLayout {
                video_fill_mode,
                grid_gap,
                pip_width,
                pip_height,
                pip_offset,
                pip_position,
                pip_behavior,
                participant_order_attribute: "order".to_owned(),
                ..pip()
            })
        },
    );
    prop_oneof![grids, pips]
}

fn participants() -> impl Strategy<Value = Vec<Participant>> {
    let picture = (1_usize..2_000, 1_usize..2_000).prop_map(|(width, height)| Video::Playing(Size::new(width, height)));
    let video = prop_oneof![Just(Video::None), Just(Video::Stopped), picture];
    let one = (video, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), -3..3_i32);
    prop::collection::vec(one, 0..16).prop_map(|all| {
        let flag = |value: bool| if value { "true" } else { "false" };
        let participant = |(at, (video, audio, main, window, order)): (usize, (_, _, _, _, i32))| Participant {
            audio,
            video,
            ..playing(
                &format!("p{at}"),
                HD,
                [("main", flag(main)), ("window", flag(window)), ("order", order.to_string().as_str())],
            )
        };
        all.into_iter().enumerate().map(participant).collect()
    })
}

fn outputs() -> impl Strategy<Value = Size> {
    let any_size = (1_usize..=960, 1_usize..=960).prop_map(|(width, height)| Size::new(width * 2, height * 2));
    prop_oneof![
        Just(HD),
        Just(PORTRAIT),
        Just(SQUARE),
        any_size.prop_filter("pixels", |size| size.check_output().is_ok())
    ]
}

fn gap_of(layout: &Layout) -> usize {
    match layout {
        Layout::Grid(grid) => grid.grid_gap.next_multiple_of(2),
        Layout::Pip(pip) => pip.grid_gap.next_multiple_of(2),
    }
}

/// Distance of two rectangles, across or down.
fn distance(one: Rect, other: Rect) -> usize {
    let along = |start: usize, end: usize, other_start: usize, other_end: usize| {
        other_start.saturating_sub(end).max(start.saturating_sub(other_end))
    };
    along(one.x, one.right(), other.x, other.right()).max(along(one.y, one.bottom(), other.y, other.bottom()))
}

proptest! {
    #[test]
    fn tiles_are_even_inside_the_output_and_apart(output in outputs(), layout in layouts(), all in participants()) {
        let tiles = arrange(output, &layout, &all);
        prop_assert!(tiles.len() <= MAX_TILES);
        for tile in &tiles {
            let Rect { x, y, width, height } = tile.rect;
            prop_assert!([x, y, width, height].iter().all(|side| side.is_multiple_of(2)), "{:?}", tile.rect);
            prop_assert!(width >= 2 && height >= 2 && x + width <= output.width && y + height <= output.height);
        }
        let base: Vec<_> = tiles.iter().filter(|tile| tile.z == 0).collect();
        // In tiny outputs, the gap is reduced.
        let gap = if output.width.min(output.height) >= 700 { gap_of(&layout) } else { 0 };
        for (at, tile) in base.iter().enumerate() {
            for other in &base[..at] {
                prop_assert!(!tile.rect.overlaps(other.rect));
                prop_assert!(distance(tile.rect, other.rect) >= gap, "{:?} {:?}", tile.rect, other.rect);
                if tile.slot == other.slot {
                    prop_assert_eq!((tile.rect.width, tile.rect.height), (other.rect.width, other.rect.height));
                }
            }
        }
        prop_assert!(tiles.len() - base.len() <= 1 && tiles.is_sorted_by_key(|tile| tile.z));
    }

    #[test]
    fn every_publisher_has_one_tile(layout in layouts(), all in participants()) {
        let all = &all[..all.len().min(MAX_TILES)];
        let omits = matches!(&layout, Layout::Grid(GridLayout { omit_stopped_video: true, .. }));
        let tiles = arrange(HD, &layout, all);
        for one in all {
            let large = |size: Size| size.width.max(size.height) > 1_920 || size.width.min(size.height) > 1_080;
            let plays = matches!(one.video, Video::Playing(size) if !large(size));
            let publishes = one.audio || one.video != Video::None;
            let count = tiles.iter().filter(|tile| tile.participant == one.id).count();
            prop_assert_eq!(count, usize::from(publishes && (plays || !omits)), "{:?}", one);
        }
    }

    /// Neither attributes that the layout does not name nor the size of layers changes anything; nor do participants that publish
    /// nothing.
    #[test]
    fn what_is_irrelevant_changes_nothing(output in outputs(), layout in layouts(), all in participants()) {
        let before = arrange(output, &layout, &all);
        let mut changed = all.clone();
        for one in &mut changed {
            one.attributes.insert("name".to_owned(), "x".to_owned());
            one.audio |= one.video != Video::None;
            if let Video::Playing(size) = &mut one.video
                && (100..=530).contains(&size.width)
                && (100..=530).contains(&size.height)
            {
                *size = Size::new(size.width * 2, size.height * 2 + 1);
            }
        }
        changed.insert(0, Participant { audio: false, video: Video::None, ..playing("viewer", HD, [("main", "true")]) });
        let window = |tiles: &[Tile]| tiles.iter().filter(|tile| tile.z == 0).cloned().collect::<Vec<_>>();
        let after = arrange(output, &layout, &changed);
        prop_assert_eq!(window(&before), window(&after));
        prop_assert_eq!(before.len(), after.len());
    }
}
