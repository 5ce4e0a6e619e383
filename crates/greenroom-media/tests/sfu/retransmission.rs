//! Retransmission: losses are repaired within the budget.

use crate::frame_source::{FrameSource, decodable, send_frames};
use crate::simulation::{PERFECT_NETWORK, SERVER, Simulation};
use greenroom_netem::Profile;
use std::cell::RefCell;
use std::time::Duration;
use str0m::format::Codec;

thread_local! {
    static REPORTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Records a client's outgoing SRTCP; a replayed NACK has the effect of another one.
fn record_srtcp(bytes: &[u8]) -> bool {
    if bytes[0] & 0xc0 == 0x80 && (200..208).contains(&bytes[1]) {
        REPORTS.with_borrow_mut(|reports| reports.push(bytes.to_vec()));
    }
    false
}

fn live(seed: u64, payload_size: usize) -> (Simulation, FrameSource, usize) {
    let mut sim = Simulation::new(seed);
    let publisher = sim.publish(&["video"]).unwrap();
    let subscriber = sim.subscribe(publisher, &["video"]).unwrap();
    sim.run_ms(1_000);
    let mut source = FrameSource::new(publisher, Codec::H264);
    source.payload_size = payload_size;
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(2));
    (sim, source, subscriber)
}

/// RTP packets and bytes sent to a client: media, and RTX.
fn sent_to(sim: &Simulation, client: usize) -> [(usize, usize); 2] {
    let client = &sim.clients[client];
    let payloads: Vec<u8> = client.rtc.codec_config().params().iter().map(|params| *params.pt()).collect();
    let mut counts = [(0, 0); 2];
    for (_, bytes) in sim.captured.iter().flatten().filter(|(to, _)| *to == client.address) {
        let is_rtp = bytes[0] & 0xc0 == 0x80 && !(192..224).contains(&bytes[1]);
        let count = &mut counts[usize::from(!payloads.contains(&(bytes[1] & 0x7f)))];
        if is_rtp {
            *count = (count.0 + 1, count.1 + bytes.len());
        }
    }
    counts
}

#[test]
fn a_packet_is_retransmitted_once_per_round_trip() {
    let (mut sim, mut source, subscriber) = live(80, 100);
    sim.clients[subscriber].drop_outgoing = record_srtcp;
    REPORTS.take();
    // A frame of two packets is lost between server and subscriber.
    source.send_frame(&mut sim);
    sim.run_ms(1);
    sim.set_network(Profile { loss: 1.0, ..PERFECT_NETWORK });
    sim.run_ms(8);
    sim.set_network(PERFECT_NETWORK);
    sim.captured = Some(Vec::new());
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(300));
    let [_, (retransmitted, _)] = sent_to(&sim, subscriber);
    assert!((1..=2).contains(&retransmitted), "{retransmitted} packets");
    sim.clients[subscriber].drop_outgoing = |_| false;
    sim.run_ms(1_000);

    let (reports, address) = (REPORTS.take(), sim.clients[subscriber].address);
    let flood = |sim: &mut Simulation, times: usize| {
        sim.captured = Some(Vec::new());
        for _ in 0..times {
            reports.iter().for_each(|report| sim.deliver(address, SERVER.parse().unwrap(), report));
        }
        sim.run_ms(0);
        sent_to(sim, subscriber)[1].0
    };
    let lost = flood(&mut sim, 1);
    assert!((1..=2).contains(&lost), "{lost}");
    assert_eq!(flood(&mut sim, 10), 0, "within the round trip");
    sim.run_ms(1_000);
    assert_eq!(flood(&mut sim, 1), lost, "after the round trip");
}

#[test]
fn retransmitted_bytes_are_limited() {
    let (mut sim, mut source, subscriber) = live(81, 1_100);
    sim.clients[subscriber].drop_outgoing = record_srtcp;
    REPORTS.take();
    // The client sends NACKs for half of a second of video.
    sim.set_network(Profile { loss: 0.5, ..PERFECT_NETWORK });
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    sim.set_network(PERFECT_NETWORK);
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(300));
    sim.clients[subscriber].drop_outgoing = |_| false;
    let (reports, address) = (REPORTS.take(), sim.clients[subscriber].address);
    sim.captured = Some(Vec::new());
    let mut srtcp_bytes = 0;
    for _ in 0..60 {
        for _ in 0..20 {
            for report in &reports {
                srtcp_bytes += report.len();
                sim.deliver(address, SERVER.parse().unwrap(), report);
            }
        }
        send_frames(&mut sim, &mut [&mut source], Duration::from_millis(33));
    }
    let [(_, media), (packets, resent)] = sent_to(&sim, subscriber);
    eprintln!("{srtcp_bytes} bytes of SRTCP caused {resent} bytes in {packets} packets, with {media} bytes of media");
    assert!(resent <= media / 2 + 256 * 1024, "{resent} bytes retransmitted, {media} sent");
    assert!(packets > 0, "some are retransmitted");
}

#[test]
fn retransmission_resumes_after_an_exhausted_budget() {
    let (mut sim, mut source, subscriber) = live(82, 1_100);
    sim.clients[subscriber].drop_outgoing = record_srtcp;
    REPORTS.take();
    sim.set_network(Profile { loss: 0.3, ..PERFECT_NETWORK });
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(1));
    sim.set_network(PERFECT_NETWORK);
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(300));
    sim.clients[subscriber].drop_outgoing = |_| false;
    let (reports, address) = (REPORTS.take(), sim.clients[subscriber].address);
    for _ in 0..500 {
        reports.iter().for_each(|report| sim.deliver(address, SERVER.parse().unwrap(), report));
    }
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(3));
    let (from, packets) = (source.frame, sim.clients[subscriber].packets.len());
    // A key frame, from which decodable frames are counted.
    let at = sim.at();
    let publisher = source.client;
    sim.clients[publisher].key_frame_requests.push(at);
    sim.set_network(Profile { loss: 0.03, ..PERFECT_NETWORK });
    send_frames(&mut sim, &mut [&mut source], Duration::from_secs(3));
    sim.set_network(PERFECT_NETWORK);
    send_frames(&mut sim, &mut [&mut source], Duration::from_millis(500));
    sim.clients[subscriber].packets.drain(..packets);
    let whole = decodable(&sim.clients[subscriber]);
    assert!(whole * 100 >= (source.frame - from) * 98, "{whole} of {}", source.frame - from);
}
