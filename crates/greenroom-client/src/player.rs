//! Plays a clip over and over: which frame is due when, with timestamps that never go back.

use super::clip::{AUDIO_RATE, Clip, Frame, VIDEO_RATE};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far behind a frame may be before the time that was lost is skipped, rather than made up for in a burst.
const LATE: Duration = Duration::from_millis(500);

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Of which track.
    pub kind: Kind,
    /// When it is to be sent.
    pub at: Instant,
    /// Its time in ticks of its track.
    pub ticks: u64,
    /// What is sent.
    pub frame: Frame,
}

/// Where a track is.
#[derive(Debug)]
struct Head {
    kind: Kind,
    rate: u32,
    next: usize,
    ticks: u64,
}

/// A clip that is being played.
#[derive(Debug)]
pub struct Player {
    clip: Arc<Clip>,
    start: Instant,
    heads: Vec<Head>,
}

impl Player {
    /// Begins to play.
    pub fn start(clip: Arc<Clip>, now: Instant) -> Player {
        let heads = [
            clip.audio.as_ref().map(|_| Head { kind: Kind::Audio, rate: AUDIO_RATE, next: 0, ticks: 0 }),
            clip.video.as_ref().map(|_| Head { kind: Kind::Video, rate: VIDEO_RATE, next: 0, ticks: 0 }),
        ];
        Player { heads: heads.into_iter().flatten().collect(), clip, start: now }
    }

    /// When the next frame is due.
    pub fn next_at(&self) -> Option<Instant> {
        self.heads.iter().map(|head| self.start + head.after()).min()
    }

    /// The next frame, if one is due.
    pub fn take(&mut self, now: Instant) -> Option<Due> {
        let start = self.start;
        let head = self.heads.iter_mut().min_by_key(|head| head.after())?;
        if start + head.after() > now {
            return None;
        }
        let behind = now - (start + head.after());
        if behind > LATE {
            head.ticks = ticks(now - start, head.rate);
        }
        let frames = frames(&self.clip, head.kind);
        let frame = frames.get(head.next)?.clone();
        let due = Due { kind: head.kind, at: start + head.after(), ticks: head.ticks, frame };
        head.next = (head.next + 1) % frames.len();
        head.ticks += u64::from(due.frame.ticks);
        Some(due)
    }

    /// Goes on with the next key frame, where the clip allows it.
    pub fn jump(&mut self) {
        if !self.clip.jumps {
            return;
        }
        for head in self.heads.iter_mut().filter(|head| head.kind == Kind::Video) {
            let frames = frames(&self.clip, head.kind);
            let order = (head.next..frames.len()).chain(0..head.next);
            head.next = order.into_iter().find(|n| frames[*n].key).unwrap_or(head.next);
        }
    }
}

impl Head {
    /// How long after the start its next frame is due.
    fn after(&self) -> Duration {
        let nanos = u128::from(self.ticks) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn frames(clip: &Clip, kind: Kind) -> &[Frame] {
    let frames = match kind {
        Kind::Audio => clip.audio.as_ref(),
        Kind::Video => clip.video.as_ref().map(|(_, frames)| frames),
    };
    frames.map(Vec::as_slice).unwrap_or_default()
}

fn ticks(time: Duration, rate: u32) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(player: &mut Player, until: Instant) -> Vec<Due> {
        let mut all = Vec::new();
        while let Some(at) = player.next_at().filter(|at| *at < until) {
            all.push(player.take(at).unwrap());
        }
        all
    }

    #[test]
    fn a_loop_has_no_seam_in_its_timestamps() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip::pattern()), now);
        let all = played(&mut player, now + Duration::from_secs(10));
        for (kind, rate, count) in [(Kind::Video, 3000, 300), (Kind::Audio, 960, 500)] {
            let ticks: Vec<_> = all.iter().filter(|due| due.kind == kind).map(|due| due.ticks).collect();
            // The last frame of a track may be longer, so that both end together.
            assert!(ticks.len().abs_diff(count) <= 3, "{kind:?}: {}", ticks.len());
            let odd = ticks.windows(2).filter(|pair| pair[1] - pair[0] != rate).count();
            assert!(odd <= 2, "{kind:?}: {odd}");
        }
        assert_eq!(all.iter().filter(|due| due.kind == Kind::Video && due.frame.key).count(), 10);
    }

    #[test]
    fn a_jump_goes_to_the_next_key_frame_without_a_jump_in_time() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip::pattern()), now);
        let before = played(&mut player, now + Duration::from_millis(200));
        let last = before.iter().rfind(|due| due.kind == Kind::Video).unwrap().ticks;
        player.jump();
        let after = played(&mut player, now + Duration::from_millis(240));
        let next = after.iter().find(|due| due.kind == Kind::Video).unwrap();
        assert!(next.frame.key);
        assert_eq!(next.ticks, last + 3000);
    }

    #[test]
    fn a_file_does_not_jump() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip { jumps: false, ..Clip::pattern() }), now);
        played(&mut player, now + Duration::from_millis(200));
        player.jump();
        let after = played(&mut player, now + Duration::from_millis(240));
        assert!(after.iter().all(|due| due.kind == Kind::Audio || !due.frame.key));
    }

    #[test]
    fn time_that_was_lost_is_skipped_and_small_delays_are_made_up_for() {
        let now = Instant::now();
        let mut player = Player::start(Arc::new(Clip { audio: None, ..Clip::pattern() }), now);
        assert_eq!(player.take(now + Duration::from_millis(100)).unwrap().ticks, 0);
        assert_eq!(player.take(now + Duration::from_millis(100)).unwrap().ticks, 3000);
        let late = now + Duration::from_secs(2);
        assert_eq!(player.take(late).unwrap().ticks, 180_000);
        assert_eq!(player.take(late), None);
    }
}
