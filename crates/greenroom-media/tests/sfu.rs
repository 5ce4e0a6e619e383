//! The engine without a network: clients of the same WebRTC library, a virtual clock, and a network that loses, delays,
//! reorders and doubles datagrams by a seed. Last, the media thread over real sockets.

#[path = "sfu/admission.rs"]
mod admission;
#[path = "sfu/camera.rs"]
mod camera;
#[path = "sfu/ends.rs"]
mod ends;
#[path = "sfu/failures.rs"]
mod failures;
#[path = "sfu/flow.rs"]
mod flow;
#[path = "sfu/hostile.rs"]
mod hostile;
#[path = "sfu/layers.rs"]
mod layers;
#[path = "sfu/loopback.rs"]
mod loopback;
#[path = "sfu/nack.rs"]
mod nack;
#[path = "sfu/negotiation.rs"]
mod negotiation;
#[path = "sfu/offers.rs"]
mod offers;
#[path = "sfu/paths.rs"]
mod paths;
#[path = "sfu/strict.rs"]
mod strict;
#[path = "sfu/world.rs"]
mod world;
