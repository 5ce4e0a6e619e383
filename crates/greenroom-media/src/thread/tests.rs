//! Single iterations of the thread, on a clock that the test controls.

use super::*;
use crate::{CloseReason, OfferLimits, TcpLimits};
use std::cell::Cell;
use std::sync::mpsc::{SyncSender, sync_channel};

const OFFER: &str = include_str!("../../tests/sfu/offers/chromium-sends.sdp");

struct Fixture {
    thread: MediaThread,
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    events: mpsc::Receiver<MediaEvent>,
    address: SocketAddr,
}

fn fixture() -> Fixture {
    fixture_with_tcp(TcpSource::None)
}

fn fixture_with_tcp(tcp: TcpSource) -> Fixture {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let config = MediaConfig {
        public_ips: vec![],
        timeout: Duration::from_secs(10),
        strict_ivs: false,
        offer_limits: OfferLimits::default(),
        tcp_limits: TcpLimits::default(),
    };
    let (commands, command_receiver) = sync_channel(1024);
    let (event_sender, events) = mpsc::channel(64);
    let (thread, shared) = MediaThread::new(socket, tcp, &config, command_receiver, event_sender).unwrap();
    Fixture { thread, shared, commands, events, address }
}

impl Fixture {
    fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> oneshot::Receiver<Result<T, OfferError>> {
        let (reply, receiver) = oneshot::channel();
        self.commands.try_send(command(reply)).unwrap();
        receiver
    }

    fn admit(&self, id: TransportId) -> oneshot::Receiver<Result<String, OfferError>> {
        let answered = Box::new(self.thread.negotiator().publish(Instant::now(), OFFER).unwrap());
        self.call(|reply| Command::Admit { id, answered, reply })
    }

    fn transports(&self) -> Vec<TransportId> {
        self.thread.sfu.snapshot().iter().map(|state| state.id).collect()
    }
}

#[test]
fn a_flood_of_commands_delays_neither_datagrams_nor_closing() {
    let mut fixture = fixture();
    let shared = Arc::clone(&fixture.shared);
    let _opening = shared.open(TransportId(1));
    let first = fixture.admit(TransportId(1));
    fixture.thread.iterate(&Instant::now);
    assert!(first.blocking_recv().unwrap().is_ok());
    assert_eq!(fixture.transports(), [TransportId(1)]);

    let mut flood: Vec<_> = (0..500).map(|_| fixture.call(|reply| Command::Snapshot { reply })).collect();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"anything", fixture.address).unwrap();
    fixture.shared.close(TransportId(1));
    // As reported by the poll.
    fixture.thread.readable = fixture.thread.sockets.set_ready(Token(0));
    // Each reading of the clock takes a millisecond, so one command exhausts the budget.
    let (start, readings) = (Instant::now(), Cell::new(0));
    fixture.thread.iterate(&|| {
        readings.set(readings.get() + 1);
        start + Duration::from_millis(readings.get())
    });
    let replies = flood.iter_mut().map(|receiver| usize::from(receiver.try_recv().is_ok())).sum::<usize>();
    assert_eq!(replies, 1);
    assert!(fixture.thread.commands_left, "the next iteration follows immediately");
    assert_eq!(fixture.shared.stats.received_datagrams.load(Relaxed), 1, "the datagram was read");
    assert_eq!(fixture.events.try_recv().unwrap(), MediaEvent::Closed(TransportId(1), CloseReason::Requested));

    let (start, mut iterations) = (Instant::now(), 0);
    while fixture.thread.commands_left {
        fixture.thread.iterate(&|| start);
        iterations += 1;
    }
    assert!(flood.iter_mut().skip(1).all(|receiver| receiver.try_recv().is_ok()), "every command is answered");
    assert_eq!(iterations, 499 / 16 + 1, "the number of commands is limited as well");
}

#[test]
fn a_transport_closed_or_cancelled_before_admission_is_not_admitted() {
    let mut fixture = fixture();
    let closed = fixture.shared.open(TransportId(1));
    let answer = fixture.admit(TransportId(1));
    fixture.shared.close(TransportId(1));
    drop(closed);
    let cancelled = fixture.shared.open(TransportId(2));
    let other = fixture.admit(TransportId(2));
    drop(cancelled);
    // Time stands still, so that both commands are within the budget.
    let now = Instant::now();
    fixture.thread.iterate(&|| now);
    assert_eq!(answer.blocking_recv().unwrap(), Err(OfferError::Busy));
    assert_eq!(other.blocking_recv().unwrap(), Err(OfferError::Busy));
    assert_eq!(fixture.transports(), []);
    assert!(fixture.events.try_recv().is_err(), "what was not admitted is not closed");
    let transitions = fixture.shared.transitions();
    assert!(transitions.opening.is_empty() && transitions.closing.is_empty(), "no state is left");
}

#[test]
fn a_tcp_connection_without_stun_is_closed_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut fixture = fixture_with_tcp(TcpSource::Listener(listener));
    let mut client = std::net::TcpStream::connect(address).unwrap();
    // The start of a STUN message.
    std::io::Write::write_all(&mut client, &[0, 20, 0, 1]).unwrap();
    let (start, stats) = (Instant::now(), Arc::clone(&fixture.shared.tcp_stats));
    let at = |seconds| start + Duration::from_secs(seconds);
    // As reported by the poll.
    while stats.open.load(Relaxed) == 0 {
        fixture.thread.tcp.set_ready(Token(FIRST_TCP_TOKEN), true, false);
        fixture.thread.iterate(&|| at(0));
    }
    assert!(fixture.thread.tcp.next_sweep().is_some());
    fixture.thread.iterate(&|| at(9));
    assert_eq!(stats.open.load(Relaxed), 1);
    fixture.thread.iterate(&|| at(11));
    assert_eq!(stats.open.load(Relaxed), 0);
    assert_eq!(stats.refused[crate::TcpRefusal::NoStun as usize].load(Relaxed), 1);
    assert_eq!(std::io::Read::read(&mut client, &mut [0]).unwrap_or(0), 0, "closed");
}
