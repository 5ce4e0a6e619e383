//! The server's ICE candidates.

use crate::{Candidates, FiveTuple, OfferError, Protocol};
use std::net::SocketAddr;
use str0m::Candidate;
use str0m::net::{Protocol as LibraryProtocol, Receive, TcpType};

/// The local addresses that received packets are attributed to in the WebRTC library, which ignores packets to unknown
/// ones: behind NAT, the destination of a packet is no candidate. Paths are chosen by the transport.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalCandidates {
    udp: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
}

impl LocalCandidates {
    /// A packet for the library; `None` if it is of no known kind, or of a protocol without candidates.
    pub(super) fn receive<'a>(&self, path: FiveTuple, bytes: &'a [u8]) -> Option<Receive<'a>> {
        let (protocol, local) = match path.protocol {
            Protocol::Udp => (LibraryProtocol::Udp, self.udp?),
            Protocol::Tcp => (LibraryProtocol::Tcp, self.tcp?),
        };
        Receive::new(protocol, path.remote, local, bytes).ok()
    }
}

impl Candidates {
    pub(super) fn library(&self) -> LocalCandidates {
        LocalCandidates { udp: self.udp.first().copied(), tcp: self.tcp.first().copied() }
    }

    /// The candidates to advertise.
    pub(super) fn host_candidates(&self) -> impl Iterator<Item = Result<Candidate, OfferError>> + '_ {
        let udp = self.udp.iter().map(|address| (address, Candidate::builder().udp().host(*address).build()));
        let tcp = self
            .tcp
            .iter()
            .map(|address| (address, Candidate::builder().tcp().host(*address).tcptype(TcpType::Passive).build()));
        udp.chain(tcp).map(|(address, candidate)| {
            candidate.map_err(|error| {
                tracing::error!(%address, %error, "media address cannot be advertised");
                OfferError::Unsupported("a media address of the server cannot be advertised; see its log".into())
            })
        })
    }
}
