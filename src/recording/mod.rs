//! Recording of participants: what is recorded on this node, the spool, and uploads to the storage.

mod job;
mod manager;
mod publication;
mod settings;
pub mod spool;
mod threads;
pub mod uploader;

pub use manager::Recordings;
pub use settings::Settings;
