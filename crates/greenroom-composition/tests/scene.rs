//! Transitions: what is on the picture when participants join, leave, stop their video and change.

mod support;

use greenroom_codecs::picture::Picture;
use greenroom_composition::layout::{GridLayout, Layout, PipLayout, Size};
use greenroom_composition::scene::{Publisher, Scene, SceneConfig, VideoState};
use std::sync::Arc;
use std::time::Duration;
use support::{HD, attributes, pixel, plain};

const RED: [u8; 3] = [80, 100, 200];
const BLUE: [u8; 3] = [60, 200, 110];
const GREEN: [u8; 3] = [120, 60, 60];

fn publisher(id: &str, video: VideoState) -> Publisher {
    Publisher { id: id.into(), attributes: attributes([]), audio: true, video }
}

/// A scene on a clock of its own, with a frame every 40 ms.
struct Stage {
    scene: Scene,
    now: Duration,
}

impl Stage {
    fn new(layout: Layout) -> Stage {
        let scene = Scene::new(HD, layout, SceneConfig::default()).unwrap();
        Stage { scene, now: Duration::from_secs(1_000) }
    }

    fn update(&mut self, publisher: Publisher) {
        self.scene.update(publisher, self.now);
    }

    fn joined(&mut self, id: &str, color: [u8; 3]) {
        self.update(publisher(id, VideoState::Playing));
        assert!(self.show(id, color));
    }

    fn show(&mut self, id: &str, color: [u8; 3]) -> bool {
        self.scene.set_picture(&id.into(), Arc::new(plain(640, 360, color)))
    }

    fn remove(&mut self, id: &str, hold: bool) {
        self.scene.remove(&id.into(), hold, self.now);
    }

    fn frame(&mut self) -> Picture {
        self.now += Duration::from_millis(40);
        self.scene.render(self.now).clone()
    }

    fn frames(&mut self, count: usize) -> Picture {
        (1..count).for_each(|_| drop(self.frame()));
        self.frame()
    }

    fn tiles(&self) -> Vec<String> {
        self.scene.tiles().map(|tile| tile.participant.to_string()).collect()
    }
}

/// The colour in the middle of the whole picture's quarters: upper left, upper right, lower left, lower right.
fn quarters(picture: &Picture) -> [[u8; 3]; 4] {
    [(320, 180), (960, 180), (320, 540), (960, 540)].map(|(x, y)| pixel(picture, x, y))
}

#[test]
fn a_new_tile_appears_with_its_first_picture() {
    let mut stage = Stage::new(Layout::default());
    stage.joined("a", RED);
    assert_eq!(quarters(&stage.frame()), [RED; 4]);
    stage.update(publisher("b", VideoState::Playing));
    assert_eq!((quarters(&stage.frames(20)), stage.tiles()), ([RED; 4], vec!["a".to_owned()]));
    stage.show("b", BLUE);
    let picture = stage.frame();
    assert_eq!([pixel(&picture, 320, 360), pixel(&picture, 960, 360)], [RED, BLUE]);
}

#[test]
fn a_participant_whose_pictures_never_come_gets_a_placeholder() {
    let mut stage = Stage::new(Layout::default());
    stage.joined("a", RED);
    stage.update(publisher("b", VideoState::Playing));
    stage.frames(49);
    assert_eq!(stage.tiles(), ["a"]);
    stage.frames(2);
    assert_eq!(stage.tiles(), ["a", "b"]);
    // Audio needs no picture.
    stage.update(publisher("c", VideoState::None));
    stage.frame();
    assert_eq!(stage.tiles(), ["a", "b", "c"]);
}

#[test]
fn the_last_picture_is_held_then_the_tile_goes() {
    let mut stage = Stage::new(Layout::default());
    stage.joined("a", RED);
    stage.joined("b", BLUE);
    let before = stage.frame();
    stage.remove("b", true);
    for _ in 0..4 {
        assert!(stage.frame() == before);
        assert!(!stage.show("b", GREEN), "no pictures of a participant that has left");
    }
    assert_eq!(quarters(&stage.frame()), [RED; 4]);
}

#[test]
fn another_change_of_the_layout_ends_the_hold() {
    let mut stage = Stage::new(Layout::default());
    stage.joined("a", RED);
    stage.joined("b", BLUE);
    stage.frame();
    stage.remove("b", true);
    stage.joined("c", GREEN);
    let picture = stage.frame();
    assert_eq!([pixel(&picture, 320, 360), pixel(&picture, 960, 360)], [RED, GREEN]);
}

#[test]
fn a_participant_that_comes_back_at_once_keeps_its_tile() {
    let mut stage = Stage::new(Layout::default());
    stage.joined("a", RED);
    stage.joined("b", BLUE);
    let before = stage.frame();
    stage.remove("a", true);
    assert!(stage.frames(2) == before);
    stage.update(publisher("a", VideoState::Playing));
    assert!(stage.frames(20) == before);
    stage.show("a", GREEN);
    let picture = stage.frame();
    assert_eq!([pixel(&picture, 320, 360), pixel(&picture, 960, 360)], [GREEN, BLUE]);
}

#[test]
fn a_disconnected_participant_is_not_in_the_next_picture() {
    let mut stage = Stage::new(Layout::default());
    stage.joined("a", RED);
    stage.joined("b", BLUE);
    stage.frame();
    stage.remove("b", false);
    assert_eq!(quarters(&stage.frame()), [RED; 4]);
    stage.remove("a", false);
    assert_eq!(quarters(&stage.frame()), [[16, 128, 128]; 4]);
}

#[test]
fn stopped_video_is_a_placeholder_until_the_next_picture() {
    let mut stage = Stage::new(Layout::default());
    stage.joined("a", RED);
    assert_eq!(quarters(&stage.frame()), [RED; 4]);
    stage.update(publisher("a", VideoState::Stopped));
    let placeholder = stage.frame();
    assert!(quarters(&placeholder).iter().all(|color| *color != RED));
    assert!(!stage.show("a", RED), "a picture on its way when the video was stopped");
    stage.update(publisher("a", VideoState::Playing));
    assert!(stage.frames(3) == placeholder);
    stage.show("a", BLUE);
    assert_eq!(quarters(&stage.frame()), [BLUE; 4]);
}

#[test]
fn stopped_video_is_omitted_if_configured() {
    let layout = GridLayout { omit_stopped_video: true, ..GridLayout::default() };
    let mut stage = Stage::new(Layout::Grid(layout));
    stage.joined("a", RED);
    stage.joined("b", BLUE);
    stage.update(publisher("b", VideoState::Stopped));
    assert_eq!(quarters(&stage.frame()), [RED; 4]);
    stage.update(publisher("b", VideoState::Playing));
    assert_eq!(quarters(&stage.frames(100)), [RED; 4]);
    stage.show("b", BLUE);
    stage.frame();
    assert_eq!(stage.tiles(), ["a", "b"]);
}

#[test]
fn changed_attributes_change_the_layout_at_once() {
    let layout = GridLayout {
        featured_participant_attribute: "main".to_owned(),
        participant_order_attribute: "order".to_owned(),
        ..GridLayout::default()
    };
    let mut stage = Stage::new(Layout::Grid(layout));
    stage.joined("a", RED);
    stage.joined("b", BLUE);
    stage.frame();
    let with = |id: &str, pairs| Publisher { attributes: attributes([pairs]), ..publisher(id, VideoState::Playing) };
    stage.update(with("b", ("order", "1")));
    let picture = stage.frame();
    assert_eq!([pixel(&picture, 320, 360), pixel(&picture, 960, 360)], [BLUE, RED]);
    stage.update(with("a", ("main", "true")));
    let picture = stage.frame();
    assert_eq!([pixel(&picture, 640, 270), pixel(&picture, 640, 630)], [RED, BLUE]);
    // Other attributes do not.
    stage.update(Publisher {
        attributes: attributes([("main", "true"), ("name", "x")]),
        ..publisher("a", VideoState::Playing)
    });
    assert!(stage.frame() == picture);
}

#[test]
fn the_window_follows_the_aspect_ratio_of_the_pictures() {
    let layout = PipLayout { pip_participant_attribute: "window".to_owned(), ..PipLayout::default() };
    let mut stage = Stage::new(Layout::Pip(layout));
    stage.joined("a", RED);
    let small = Publisher { attributes: attributes([("window", "true")]), ..publisher("b", VideoState::Playing) };
    stage.update(small);
    let mut window = |width, height| {
        assert!(stage.scene.set_picture(&"b".into(), Arc::new(plain(width, height, BLUE))));
        stage.frame();
        stage.scene.tiles().find(|tile| tile.z == 1).map(|tile| Size::new(tile.rect.width, tile.rect.height)).unwrap()
    };
    assert_eq!([window(640, 360), window(320, 180)], [Size::new(320, 180); 2]);
    assert_eq!(window(360, 640), Size::new(180, 320));
    assert_eq!(quarters(&stage.frame())[0], RED, "the picture below is still there");
}
