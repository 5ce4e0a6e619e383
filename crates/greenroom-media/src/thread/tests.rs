//! One turn of the thread at a time, on a clock that the test moves.

use super::*;
use crate::{CloseReason, OfferLimits};
use std::cell::Cell;
use std::sync::mpsc::{SyncSender, sync_channel};

const OFFER: &str = include_str!("../../tests/sfu/offers/chromium-sends.sdp");

struct World {
    thread: Thread,
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    events: mpsc::Receiver<MediaEvent>,
    address: SocketAddr,
}

fn world() -> World {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let settings = MediaConfig {
        public_ips: vec![],
        timeout: Duration::from_secs(10),
        strict_ivs: false,
        offer_limits: OfferLimits::default(),
    };
    let (commands, asked) = sync_channel(1024);
    let (events, heard) = mpsc::channel(64);
    let (thread, shared) = Thread::new(socket, &settings, asked, events).unwrap();
    World { thread, shared, commands, events: heard, address }
}

impl World {
    fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> oneshot::Receiver<Result<T, OfferError>> {
        let (answer, answered) = oneshot::channel();
        self.commands.try_send(command(answer)).unwrap();
        answered
    }

    fn admit(&self, peer: TransportId) -> oneshot::Receiver<Result<String, OfferError>> {
        let negotiated = Box::new(self.thread.negotiator().publish(Instant::now(), OFFER).unwrap());
        self.ask(|answer| Command::Admit { peer, negotiated, answer })
    }

    fn peers(&self) -> Vec<TransportId> {
        self.thread.sfu.snapshot().iter().map(|state| state.id).collect()
    }
}

#[test]
fn a_flood_of_commands_keeps_neither_datagrams_nor_closings_waiting() {
    let mut world = world();
    let shared = Arc::clone(&world.shared);
    let _opening = shared.open(TransportId(1));
    let first = world.admit(TransportId(1));
    world.thread.turn(Instant::now);
    assert!(first.blocking_recv().unwrap().is_ok());
    assert_eq!(world.peers(), [TransportId(1)]);

    let mut flood: Vec<_> = (0..500).map(|_| world.ask(|answer| Command::Snapshot { answer })).collect();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"anything", world.address).unwrap();
    world.shared.close(TransportId(1));
    // As the poll would report it.
    world.thread.readable = world.thread.sockets.wake(Token(0));
    // Each look at the clock takes a millisecond: of the time of a turn, one command takes all.
    let (start, looks) = (Instant::now(), Cell::new(0));
    world.thread.turn(|| {
        looks.set(looks.get() + 1);
        start + Duration::from_millis(looks.get())
    });
    let answered = flood.iter_mut().map(|answer| usize::from(answer.try_recv().is_ok())).sum::<usize>();
    assert_eq!(answered, 1);
    assert!(world.thread.asked, "the next turn follows at once");
    assert_eq!(world.shared.traffic.received[0].load(Ordering::Relaxed), 1, "the datagram was read");
    assert_eq!(world.events.try_recv().unwrap(), MediaEvent::Closed(TransportId(1), CloseReason::Requested));

    let (start, mut turns) = (Instant::now(), 0);
    while world.thread.asked {
        world.thread.turn(|| start);
        turns += 1;
    }
    assert!(flood.iter_mut().skip(1).all(|answer| answer.try_recv().is_ok()), "none is forgotten");
    assert_eq!(turns, 499 / 16 + 1, "a turn has a number of commands, too");
}

#[test]
fn what_is_closed_or_given_up_before_its_admission_is_not_admitted() {
    let mut world = world();
    let closed = world.shared.open(TransportId(1));
    let answer = world.admit(TransportId(1));
    world.shared.close(TransportId(1));
    drop(closed);
    let given_up = world.shared.open(TransportId(2));
    let other = world.admit(TransportId(2));
    drop(given_up);
    world.thread.turn(Instant::now);
    assert_eq!(answer.blocking_recv().unwrap(), Err(OfferError::Busy));
    assert_eq!(other.blocking_recv().unwrap(), Err(OfferError::Busy));
    assert_eq!(world.peers(), []);
    assert!(world.events.try_recv().is_err(), "nothing was opened, so nothing is closed");
    let transitions = world.shared.transitions();
    assert!(transitions.opening.is_empty() && transitions.closing.is_empty(), "nothing is kept");
}
