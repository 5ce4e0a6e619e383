//! Network emulation, sans-IO: packets, a seed and the time in, packets and the next deadline out. It impairs the packets of
//! simulated subscribers in the media engine, is the network of the engine's tests on a virtual clock, and works between
//! real clients in the UDP proxy `examples/netem.rs`.
//!
//! ```
//! use greenroom_netem::{Link, Profile};
//! use std::time::{Duration, Instant};
//!
//! let now = Instant::now();
//! let mut link = Link::new("delay=20ms,rate=1.5M".parse().unwrap(), 7);
//! link.push(now, "a packet", 1_200);
//! // 6.4 ms for 1,200 bytes at 1.5 Mbit/s, and the delay.
//! assert_eq!(link.pop(now + Duration::from_millis(26)), None);
//! assert_eq!(link.pop(now + Duration::from_millis(27)), Some("a packet"));
//! ```

mod link;
mod profile;

pub use link::{DropReason, Link};
pub use profile::{Profile, ProfileError};
