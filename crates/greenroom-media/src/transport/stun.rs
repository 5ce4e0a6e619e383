//! STUN: authentication of the client's requests, and path checks by the server.

use super::{WebRtcTransport, guarded};
use crate::{FiveTuple, Transmit};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use str0m::Input;
use str0m::ice::{StunMessage, TransId};

/// Maximum STUN transactions recorded to detect replays from other addresses.
const MAX_TRANSACTIONS: usize = 32;
/// ICE priority of the server's path checks: that of a peer-reflexive candidate (RFC 8445, section 5.1.2).
const CHECK_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// A client that was silent for this long is asked for its consent. Browsers send reports and checks more often.
const CONSENT_SILENCE: Duration = Duration::from_millis(2_500);
const CONSENT_CHECK_INTERVAL: Duration = Duration::from_millis(500);

impl WebRtcTransport {
    /// Whether a binding request is authenticated by this client's credentials and is no replay from another address.
    pub(crate) fn authenticates(&self, now: Instant, source: FiveTuple, bytes: &[u8]) -> bool {
        let Some(receive) = self.local_candidates.receive(source, bytes) else { return false };
        let Ok(message) = StunMessage::parse(bytes) else { return false };
        let id = transaction_id(bytes);
        let mut transactions = self.stun_transactions.iter();
        let is_replay = transactions.any(|(known, from)| Some(*known) == id && *from != source);
        let input = Input::Receive(now, receive);
        !is_replay && message.is_binding_request() && guarded(|| Ok::<_, String>(self.rtc.accepts(&input))) == Ok(true)
    }

    /// Records an [authenticated](WebRtcTransport::authenticates) request. Returns an address that was evicted for its
    /// source.
    pub(crate) fn record_request(&mut self, now: Instant, source: FiveTuple, bytes: &[u8]) -> Option<FiveTuple> {
        self.last_activity = now;
        if let Some(id) = transaction_id(bytes) {
            self.stun_transactions.push_back((id, source));
            self.stun_transactions.drain(..self.stun_transactions.len().saturating_sub(MAX_TRANSACTIONS));
        }
        let nominates = StunMessage::parse(bytes).is_ok_and(|message| message.use_candidate());
        self.progress.stun_authenticated(source.remote, nominates);
        if nominates {
            self.nominated_at.get_or_insert(now);
        }
        self.paths.record_request(now, source, nominates)
    }

    /// Sends a binding request to an address that needs validation. ICE-lite agents need not check paths, but full
    /// agents answer them. If a check is lost, the client's next request triggers another.
    pub(crate) fn check_path(&mut self, now: Instant, address: FiveTuple, out: &mut VecDeque<Transmit>) {
        if self.paths.needs_check(now, address) {
            self.send_check(address, out);
        }
    }

    /// When a silent client is asked next whether it still consents to being sent media (RFC 7675).
    pub(crate) fn next_consent_check(&self) -> Option<Instant> {
        let after_silence = self.last_activity + CONSENT_SILENCE;
        let next = self.last_consent_check.map_or(after_silence, |at| after_silence.max(at + CONSENT_CHECK_INTERVAL));
        self.paths.active().filter(|_| self.connected).map(|_| next)
    }

    /// Asks a silent client whether it still consents, if that is due. Its answer is activity.
    pub(crate) fn check_consent(&mut self, now: Instant, out: &mut VecDeque<Transmit>) {
        if let Some(address) = self.paths.active()
            && self.next_consent_check().is_some_and(|at| at <= now)
        {
            self.last_consent_check = Some(now);
            self.send_check(address, out);
        }
    }

    fn send_check(&mut self, address: FiveTuple, out: &mut VecDeque<Transmit>) {
        self.checks += 1;
        let hmac = |key: &[u8], parts: &[&[u8]]| self.crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let digest = hmac(&self.check_key, &[&self.checks.to_be_bytes()]);
        let Some(id) = digest.first_chunk::<12>() else { return };
        let local_ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        let Some(transaction_id) = trans_id(id) else { return };
        let (ufrag, password) = &self.remote;
        let (username, tie_breaker) = (format!("{ufrag}:{local_ufrag}"), self.checks);
        let request =
            StunMessage::binding_request(&username, transaction_id, false, tie_breaker, CHECK_PRIORITY, false);
        let mut contents = vec![0; 256 + username.len()];
        let Ok(length) = request.to_bytes(Some(password.as_bytes()), &mut contents, hmac) else { return };
        contents.truncate(length);
        self.paths.check_sent(address, *id);
        out.push_back(Transmit { path: address, contents });
    }

    /// Handles a response to a path or consent check: makes its source the active path.
    pub(crate) fn handle_path_response(
        &mut self,
        now: Instant,
        source: FiveTuple,
        message: &StunMessage<'_>,
        bytes: &[u8],
    ) {
        let hmac = |key: &[u8], parts: &[&[u8]]| self.crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let is_response = transaction_id(bytes).is_some_and(|id| self.paths.is_check_response(source, id));
        if !is_response || !message.verify(self.remote.1.as_bytes(), hmac) {
            return;
        }
        if self.paths.active() != Some(source) {
            tracing::debug!(from = ?self.paths.active(), to = %source, "media path changed");
        }
        self.last_activity = now;
        self.paths.record_authenticated(now, source);
        self.paths.validate(source);
    }
}

fn transaction_id(bytes: &[u8]) -> Option<[u8; 12]> {
    bytes.get(8..20)?.try_into().ok()
}

/// Converts a transaction ID to the library's type, which it only generates or parses: here from the shortest message,
/// a binding indication.
fn trans_id(id: &[u8; 12]) -> Option<TransId> {
    let mut message = [0; 20];
    message[..8].copy_from_slice(&[0x00, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    message[8..].copy_from_slice(id);
    StunMessage::parse(&message).ok().map(|message| message.trans_id())
}
