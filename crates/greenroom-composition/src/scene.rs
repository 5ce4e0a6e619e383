//! Changes of the layout over time, without flicker.
//!
//! - A new participant with video gets its tile with its first picture, or after [`SceneConfig::first_picture`] with a placeholder.
//! - A participant that starts its video again keeps the placeholder until the first new picture.
//! - When a participant leaves, its last picture stays for [`SceneConfig::hold`], or until any other change of the layout. If it
//!   comes back before, nothing changes.
//! - All other changes of participants and attributes are in the next picture.

use crate::canvas::Canvas;
use crate::layout::{self, Layout, Participant, Size, Tile, Video};
use crate::{CompositionError, ParticipantId};
use greenroom_codecs::picture::Picture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Video of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoState {
    /// It publishes audio only.
    None,
    /// Muted by its participant.
    Stopped,
    Playing,
}

/// A participant that publishes, as the stage knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    pub id: ParticipantId,
    /// Of the token, the ingest configuration or the replication.
    pub attributes: BTreeMap<String, String>,
    /// Whether it publishes audio.
    pub audio: bool,
    pub video: VideoState,
}

/// Times of transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneConfig {
    /// Time that a tile stays after its participant has left. Zero removes it with the next picture.
    pub hold: Duration,
    /// Time that a new participant with video has no tile if no picture comes.
    pub first_picture: Duration,
}

impl Default for SceneConfig {
    fn default() -> SceneConfig {
        SceneConfig { hold: Duration::from_millis(200), first_picture: Duration::from_secs(2) }
    }
}

struct Member {
    publisher: Publisher,
    /// Order of joining.
    joined: u64,
    /// When its video began.
    playing_since: Duration,
    left_at: Option<Duration>,
    picture: Option<Arc<Picture>>,
    /// The picture is newer than the one on the canvas.
    is_new: bool,
}

impl Member {
    /// The participant as the layout sees it, or `None` while it waits for its first picture.
    fn participant(&self, has_tile: bool, timeout: Duration, now: Duration) -> Option<Participant> {
        let Publisher { id, attributes, audio, video } = &self.publisher;
        let size = self.picture.as_ref().map(|picture| Size::new(picture.width(), picture.height()));
        let video = match (video, size) {
            (VideoState::None, _) => Video::None,
            (VideoState::Stopped, _) => Video::Stopped,
            (VideoState::Playing, Some(size)) => Video::Playing(size),
            (VideoState::Playing, None) if has_tile || self.is_overdue(timeout, now) => Video::Stopped,
            (VideoState::Playing, None) => return None,
        };
        Some(Participant { id: id.clone(), attributes: attributes.clone(), audio: *audio, video })
    }

    fn is_overdue(&self, timeout: Duration, now: Duration) -> bool {
        now.saturating_sub(self.playing_since) >= timeout
    }

    fn waits(&self) -> bool {
        self.publisher.video == VideoState::Playing && self.picture.is_none()
    }
}

/// The participants, their last pictures and the canvas.
pub struct Scene {
    config: SceneConfig,
    layout: Layout,
    canvas: Canvas,
    members: BTreeMap<ParticipantId, Member>,
    joins: u64,
    /// The layout is to be made anew.
    changed: bool,
}

impl Scene {
    pub fn new(output: Size, layout: Layout, config: SceneConfig) -> Result<Scene, CompositionError> {
        let canvas = Canvas::new(output)?;
        Ok(Scene { config, layout, canvas, members: BTreeMap::new(), joins: 0, changed: false })
    }

    /// Adds a publisher, or updates its attributes and state. A participant keeps its place among those that joined until it has
    /// been removed.
    pub fn update(&mut self, publisher: Publisher, now: Duration) {
        let Some(member) = self.members.get_mut(&publisher.id) else {
            self.joins += 1;
            let (id, joined) = (publisher.id.clone(), self.joins);
            let member = Member { publisher, joined, playing_since: now, left_at: None, picture: None, is_new: false };
            self.members.insert(id, member);
            self.changed = true;
            return;
        };
        member.left_at = None;
        if member.publisher == publisher {
            return;
        }
        if member.publisher.video != publisher.video {
            member.playing_since = now;
        }
        if publisher.video != VideoState::Playing {
            (member.picture, member.is_new) = (None, false);
        }
        member.publisher = publisher;
        self.changed = true;
    }

    /// Removes a participant that has left. With `hold`, its last picture stays for a moment, as [`SceneConfig::hold`] says;
    /// without, as for one that was disconnected by the operator, the next picture does not have it.
    pub fn remove(&mut self, id: &ParticipantId, hold: bool, now: Duration) {
        if !hold || self.config.hold.is_zero() {
            self.changed |= self.members.remove(id).is_some();
        } else if let Some(member) = self.members.get_mut(id) {
            member.left_at.get_or_insert(now);
        }
    }

    /// Replaces a participant's picture. Returns `false` if it has left or its video is not playing.
    pub fn set_picture(&mut self, id: &ParticipantId, picture: Arc<Picture>) -> bool {
        let playing = |member: &&mut Member| member.publisher.video == VideoState::Playing && member.left_at.is_none();
        let Some(member) = self.members.get_mut(id).filter(playing) else { return false };
        let size = |picture: &Picture| (picture.width(), picture.height());
        self.changed |= member.picture.as_deref().map(size) != Some(size(&picture));
        (member.picture, member.is_new) = (Some(picture), true);
        true
    }

    /// The tiles of the last picture.
    pub fn tiles(&self) -> impl Iterator<Item = &Tile> {
        self.canvas.tiles()
    }

    /// The last picture again.
    pub fn picture(&self) -> &Picture {
        self.canvas.picture()
    }

    /// Draws what has changed, and returns the picture.
    pub fn render(&mut self, now: Duration) -> &Picture {
        self.expire(now);
        if std::mem::take(&mut self.changed) {
            self.members.retain(|_, member| member.left_at.is_none());
            self.lay_out(now);
        }
        for (id, member) in &mut self.members {
            if let Some(picture) = member.picture.as_ref().filter(|_| std::mem::take(&mut member.is_new)) {
                self.canvas.draw(id, picture);
            }
        }
        self.canvas.picture()
    }

    /// Notes that times are over: a hold, or the wait for a first picture.
    fn expire(&mut self, now: Duration) {
        let SceneConfig { hold, first_picture } = self.config;
        let over = self.members.values().any(|member| match member.left_at {
            Some(left) => now.saturating_sub(left) >= hold,
            None => member.waits() && member.is_overdue(first_picture, now) && !has_tile(&self.canvas, member),
        });
        self.changed |= over;
    }

    fn lay_out(&mut self, now: Duration) {
        let mut members: Vec<_> = self.members.values().collect();
        members.sort_by_key(|member| member.joined);
        let timeout = self.config.first_picture;
        let participants = members.into_iter().filter_map(|member| {
            let has_tile = has_tile(&self.canvas, member);
            member.participant(has_tile, timeout, now)
        });
        let tiles = layout::arrange(self.canvas.size(), &self.layout, &participants.collect::<Vec<_>>());
        if self.canvas.tiles().eq(&tiles) {
            return;
        }
        self.canvas.lay_out(tiles);
        for member in self.members.values_mut() {
            member.is_new = member.picture.is_some();
        }
    }
}

fn has_tile(canvas: &Canvas, member: &Member) -> bool {
    canvas.tiles().any(|tile| tile.participant == member.publisher.id)
}
