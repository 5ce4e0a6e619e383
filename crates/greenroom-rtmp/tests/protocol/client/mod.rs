//! The client against the crate's server, against scripted answers, and against what real servers sent.

mod answers;
mod captures;
mod debug;
mod hostile;
mod media;
mod publication;
mod support;
