//! Tests of the engine: clients of the same WebRTC library on a virtual clock, and a simulated network that loses,
//! delays, reorders and duplicates datagrams with a seeded generator. `media_thread` tests the thread over real
//! sockets.

#[path = "sfu/adaptation.rs"]
mod adaptation;
#[path = "sfu/admission.rs"]
mod admission;
#[path = "sfu/client_offers.rs"]
mod client_offers;
#[path = "sfu/closing.rs"]
mod closing;
#[path = "sfu/encoder.rs"]
mod encoder;
#[path = "sfu/failures.rs"]
mod failures;
#[path = "sfu/forwarding.rs"]
mod forwarding;
#[path = "sfu/frame_source.rs"]
mod frame_source;
#[path = "sfu/hostile_input.rs"]
mod hostile_input;
#[path = "sfu/impairment.rs"]
mod impairment;
#[path = "sfu/ivs_limits.rs"]
mod ivs_limits;
#[path = "sfu/late_join.rs"]
mod late_join;
#[path = "sfu/local_media.rs"]
mod local_media;
#[path = "sfu/media_thread.rs"]
mod media_thread;
#[path = "sfu/negotiation.rs"]
mod negotiation;
#[path = "sfu/offer_errors.rs"]
mod offer_errors;
#[path = "sfu/path_validation.rs"]
mod path_validation;
#[path = "sfu/preferences.rs"]
mod preferences;
#[path = "sfu/retransmission.rs"]
mod retransmission;
#[path = "sfu/simulation.rs"]
mod simulation;
#[path = "sfu/simulcast.rs"]
mod simulcast;
#[path = "sfu/statistics.rs"]
mod statistics;
#[path = "sfu/tcp.rs"]
mod tcp;
