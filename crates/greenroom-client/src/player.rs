//! Plays a clip in a loop: schedules its frames, with monotonic timestamps.

use super::clip::{AUDIO_RATE, Clip, Frame, VIDEO_RATE};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum lag of a frame. Up to it, late frames are sent in a burst; beyond it, the lost time is skipped.
const MAX_LAG: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackKind {
    Audio,
    Video,
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledFrame {
    pub kind: TrackKind,
    pub at: Instant,
    /// Timestamp in ticks of its track.
    pub ticks: u64,
    pub frame: Frame,
}

/// The position in a track.
#[derive(Debug)]
struct TrackCursor {
    kind: TrackKind,
    rate: u32,
    next: usize,
    ticks: u64,
}

/// Plays a clip.
#[derive(Debug)]
pub struct Player {
    clip: Arc<Clip>,
    start: Instant,
    cursors: Vec<TrackCursor>,
}

impl Player {
    pub fn start(clip: Arc<Clip>, now: Instant) -> Player {
        let cursors = [
            clip.audio.as_ref().map(|_| TrackCursor { kind: TrackKind::Audio, rate: AUDIO_RATE, next: 0, ticks: 0 }),
            clip.video.as_ref().map(|_| TrackCursor { kind: TrackKind::Video, rate: VIDEO_RATE, next: 0, ticks: 0 }),
        ];
        Player { cursors: cursors.into_iter().flatten().collect(), clip, start: now }
    }

    /// The time of the next frame.
    pub fn next_at(&self) -> Option<Instant> {
        self.cursors.iter().map(|head| self.start + head.offset()).min()
    }

    /// The next frame, if it is due.
    pub fn take(&mut self, now: Instant) -> Option<ScheduledFrame> {
        let start = self.start;
        let head = self.cursors.iter_mut().min_by_key(|head| head.offset())?;
        if start + head.offset() > now {
            return None;
        }
        let behind = now - (start + head.offset());
        if behind > MAX_LAG {
            head.ticks = ticks(now - start, head.rate);
        }
        let frames = frames(&self.clip, head.kind);
        let frame = frames.get(head.next)?.clone();
        let due = ScheduledFrame { kind: head.kind, at: start + head.offset(), ticks: head.ticks, frame };
        head.next = (head.next + 1) % frames.len();
        head.ticks += u64::from(due.frame.ticks);
        Some(due)
    }

    /// Continues with the next key frame, if the clip is seekable.
    pub fn seek_to_key_frame(&mut self) {
        if !self.clip.seekable {
            return;
        }
        for head in self.cursors.iter_mut().filter(|head| head.kind == TrackKind::Video) {
            let frames = frames(&self.clip, head.kind);
            let order = (head.next..frames.len()).chain(0..head.next);
            head.next = order.into_iter().find(|n| frames[*n].key).unwrap_or(head.next);
        }
    }
}

impl TrackCursor {
    /// The time of the next frame after the start.
    fn offset(&self) -> Duration {
        let nanos = u128::from(self.ticks) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn frames(clip: &Clip, kind: TrackKind) -> &[Frame] {
    let frames = match kind {
        TrackKind::Audio => clip.audio.as_ref(),
        TrackKind::Video => clip.video.as_ref().map(|(_, frames)| frames),
    };
    frames.map(Vec::as_slice).unwrap_or_default()
}

fn ticks(time: Duration, rate: u32) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(player: &mut Player, until: Instant) -> Vec<ScheduledFrame> {
        let mut all = Vec::new();
        while let Some(at) = player.next_at().filter(|at| *at < until) {
            all.push(player.take(at).unwrap());
        }
        all
    }

    #[test]
    fn timestamps_are_continuous_across_loops() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip::test_pattern()), now);
        let all = played(&mut player, now + Duration::from_secs(10));
        for (kind, rate, count) in [(TrackKind::Video, 3000, 300), (TrackKind::Audio, 960, 500)] {
            let ticks: Vec<_> = all.iter().filter(|due| due.kind == kind).map(|due| due.ticks).collect();
            // The last frame of a track may be longer, so that both tracks end at the same time.
            assert!(ticks.len().abs_diff(count) <= 3, "{kind:?}: {}", ticks.len());
            let odd = ticks.windows(2).filter(|pair| pair[1] - pair[0] != rate).count();
            assert!(odd <= 2, "{kind:?}: {odd}");
        }
        assert_eq!(all.iter().filter(|due| due.kind == TrackKind::Video && due.frame.key).count(), 10);
    }

    #[test]
    fn seeking_keeps_the_timestamps_continuous() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip::test_pattern()), now);
        let before = played(&mut player, now + Duration::from_millis(200));
        let last = before.iter().rfind(|due| due.kind == TrackKind::Video).unwrap().ticks;
        player.seek_to_key_frame();
        let after = played(&mut player, now + Duration::from_millis(240));
        let next = after.iter().find(|due| due.kind == TrackKind::Video).unwrap();
        assert!(next.frame.key);
        assert_eq!(next.ticks, last + 3000);
    }

    #[test]
    fn a_clip_of_files_is_not_seekable() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip { seekable: false, ..Clip::test_pattern() }), now);
        played(&mut player, now + Duration::from_millis(200));
        player.seek_to_key_frame();
        let after = played(&mut player, now + Duration::from_millis(240));
        assert!(after.iter().all(|due| due.kind == TrackKind::Audio || !due.frame.key));
    }

    #[test]
    fn a_large_lag_is_skipped_and_a_small_one_is_caught_up() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip { audio: None, ..Clip::test_pattern() }), now);
        assert_eq!(player.take(now + Duration::from_millis(100)).unwrap().ticks, 0);
        assert_eq!(player.take(now + Duration::from_millis(100)).unwrap().ticks, 3000);
        let late = now + Duration::from_secs(2);
        assert_eq!(player.take(late).unwrap().ticks, 180_000);
        assert_eq!(player.take(late), None);
    }
}
