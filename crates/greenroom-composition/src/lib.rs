//! Server-side composition of greenroom, sans-IO: the participants of a stage in one picture and one sound.
//!
//! [`layout`] arranges participants in tiles, [`canvas`] draws pictures into tiles, [`scene`] changes layouts without flicker,
//! [`frames`] is the clock of the output and picks the pictures that are due, [`mixer`] sums sound. [`Compositor`] is all of
//! them together, and [`pipeline`] decodes and encodes around it. Sockets, threads and clocks are the caller's.
//!
//! A time is a [`Duration`](std::time::Duration) since an epoch of the caller's choice, the same one for all participants, such
//! as the Unix epoch of the NTP timestamps of sender reports.

#![allow(missing_docs, reason = "fields and variants whose names say everything have no docs")]

mod compositor;
mod error;

pub mod canvas;
pub mod frames;
pub mod layout;
pub mod mixer;
pub mod pipeline;
pub mod scene;

pub use compositor::{Compositor, CompositorConfig, Frame};
pub use error::{CompositionError, DropReason};

use std::sync::Arc;

/// Id of a participant.
pub type ParticipantId = Arc<str>;
