//! The space of the spool: who holds how much of it. Sans-IO.

use std::collections::{HashMap, VecDeque};

/// Maximum bytes of objects that wait for the spool's disk, or are kept in memory because it fails.
pub(super) const MAX_MEMORY: u64 = 128 << 20;
/// An account holds at most this many times what is free: alone, four fifths of the spool; with another one that does so,
/// four ninths each. So there is room for the accounts whose storage works, which need little, however many others hang.
const SHARE_OF_FREE: u64 = 4;

/// There is no room for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFull {
    #[error("the recording spool is full")]
    Disk,
    #[error("the account's share of the recording spool is used up")]
    Account,
    /// The spool's disk does not keep up, or fails, and memory is bounded.
    #[error("the disk of the recording spool is too slow or failing")]
    Memory,
}

/// A failed recording whose files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub recording: String,
    pub bytes: u64,
}

/// Bytes that are reserved.
#[derive(Debug)]
pub(super) struct Space {
    limit: u64,
    /// In all, those of failed recordings included.
    used: u64,
    /// Those of recordings that have not failed, by account.
    accounts: HashMap<String, u64>,
    /// Those of objects in memory.
    memory: u64,
    /// The oldest first.
    failed: VecDeque<Failed>,
}

impl Space {
    pub(super) fn new(limit: u64) -> Self {
        Space { limit, used: 0, accounts: HashMap::new(), memory: 0, failed: VecDeque::new() }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Reserves `bytes` on the disk and in memory. Returns the failed recordings whose files are to be removed for it.
    /// `is_index` is of a playlist or a JSON file, for which there is a reserve, so that a recording can be ended when the
    /// spool is full.
    pub(super) fn reserve(&mut self, account: &str, bytes: u64, is_index: bool) -> Result<Vec<Failed>, SpoolFull> {
        if self.memory.saturating_add(bytes) > MAX_MEMORY {
            return Err(SpoolFull::Memory);
        }
        let reserve = if is_index { (self.limit / 64).max(1 << 20) } else { 0 };
        let limit = self.limit.saturating_add(reserve);
        let failed: u64 = self.failed.iter().map(|failed| failed.bytes).sum();
        let needed = self.used.saturating_sub(failed).saturating_add(bytes);
        let Some(free) = limit.checked_sub(needed) else { return Err(SpoolFull::Disk) };
        let held = self.accounts.get(account).copied().unwrap_or(0).saturating_add(bytes);
        if !is_index && held > free.saturating_mul(SHARE_OF_FREE) {
            return Err(SpoolFull::Account);
        }
        let mut removed = Vec::new();
        while self.used.saturating_add(bytes) > limit
            && let Some(oldest) = self.failed.pop_front()
        {
            self.used = self.used.saturating_sub(oldest.bytes);
            removed.push(oldest);
        }
        self.take(account, bytes);
        self.memory += bytes;
        Ok(removed)
    }

    /// Reserves `bytes` on the disk without a limit.
    pub(super) fn take(&mut self, account: &str, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
        let held = self.accounts.entry(account.to_owned()).or_default();
        *held = held.saturating_add(bytes);
    }

    /// Frees `bytes` of an account on the disk.
    pub(super) fn free(&mut self, account: &str, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        self.free_share(account, bytes);
    }

    fn free_share(&mut self, account: &str, bytes: u64) {
        if let Some(held) = self.accounts.get_mut(account) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                self.accounts.remove(account);
            }
        }
    }

    /// Frees `bytes` in memory.
    pub(super) fn free_memory(&mut self, bytes: u64) {
        self.memory = self.memory.saturating_sub(bytes);
    }

    /// A recording of an account has failed: what is reserved of it stays so until its space is needed.
    pub(super) fn fail(&mut self, account: &str, failed: Failed) {
        self.free_share(account, failed.bytes);
        self.failed.push_back(failed);
    }

    /// Reserves space for a failed recording of a former process.
    pub(super) fn adopt_failed(&mut self, failed: Failed) {
        self.used = self.used.saturating_add(failed.bytes);
        self.failed.push_back(failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How many MiB an account can reserve, one by one.
    fn fill(space: &mut Space, account: &str) -> u64 {
        let mut taken = 0;
        while space.reserve(account, MIB, false).is_ok() {
            space.free_memory(MIB);
            taken += 1;
        }
        taken
    }

    #[test]
    fn an_account_that_hangs_leaves_room_for_others() {
        let mut space = Space::new(900 * MIB);
        assert_eq!(fill(&mut space, "hanging"), 720, "four fifths");
        assert_eq!(space.reserve("hanging", MIB, false), Err(SpoolFull::Account));
        assert_eq!(space.reserve("hanging", MIB, true), Ok(vec![]), "the end of its recordings is accepted");
        assert!(space.reserve("other", 100 * MIB, false).is_ok());
        space.free("other", 100 * MIB);
        space.free("hanging", 721 * MIB);
        assert_eq!((space.used(), space.accounts.len()), (0, 0));
        assert_eq!(fill(&mut space, "hanging"), 720, "what is free again can be reserved again");
    }

    #[test]
    fn accounts_that_hang_together_have_the_same_share_and_leave_room_for_others() {
        let mut space = Space::new(900 * MIB);
        let (mut a, mut b) = (0, 0);
        loop {
            let taken = [space.reserve("a", MIB, false).is_ok(), space.reserve("b", MIB, false).is_ok()];
            space.free_memory(2 * MIB);
            (a, b) = (a + u64::from(taken[0]), b + u64::from(taken[1]));
            if taken == [false, false] {
                break;
            }
        }
        assert!((398..=400).contains(&a) && (398..=400).contains(&b), "{a} {b}");
        assert!(space.reserve("c", 50 * MIB, false).is_ok());
    }

    #[test]
    fn failed_recordings_are_of_no_account_and_give_way_the_oldest_first() {
        let mut space = Space::new(100 * MIB);
        let failed = |recording: &str| Failed { recording: recording.into(), bytes: 40 * MIB };
        for recording in ["old", "new"] {
            space.reserve("a", 40 * MIB, false).unwrap();
            space.fail("a", failed(recording));
            space.free_memory(40 * MIB);
        }
        assert_eq!((space.used(), space.accounts.len()), (80 * MIB, 0));
        assert_eq!(space.reserve("a", 101 * MIB, false), Err(SpoolFull::Disk));
        assert_eq!(space.reserve("a", 81 * MIB, false), Err(SpoolFull::Account));
        assert_eq!(space.used(), 80 * MIB, "what is refused removes nothing");
        assert_eq!(space.reserve("a", 60 * MIB, false), Ok(vec![failed("old")]));
        assert_eq!(space.reserve("b", 30 * MIB, false), Ok(vec![failed("new")]));
        assert_eq!(space.used(), 90 * MIB);
    }
}
