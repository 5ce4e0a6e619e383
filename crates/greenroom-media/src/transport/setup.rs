//! Configures the WebRTC library for an offer: codecs, negotiation and announced streams.

use super::{EngineConfig, guarded};
use crate::sdp::formats::RtpFormat;
use crate::sdp::offer::{Offer, Purpose};
use crate::sdp::streams::Streams;
use crate::{Codec, OfferError};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;
use str0m::bwe::Bitrate;
use str0m::change::SdpOffer;
use str0m::format::{Codec as Str0mCodec, CodecConfig, FormatParams};
use str0m::media::{Frequency, Mid, Pt, Rid};
use str0m::rtp::{Extension, ExtensionMap, Ssrc};
use str0m::{Rtc, RtcConfig};

/// The estimate of the library's estimator, which serves only to send the trains of
/// [`probe`](super::WebRtcTransport::probe), and must not delay packets.
pub(super) const UNLIMITED: Bitrate = Bitrate::mbps(1_000);

/// Interval of sender reports to a subscriber.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The number of the header extension in the library's map, which takes that of the offer.
const PLAYOUT_DELAY: u8 = 12;

/// The WebRTC library's configuration for an offer, with only the accepted formats.
/// `estimate_bandwidth`: whether the bandwidth of a subscriber is estimated.
pub(super) fn rtc_config(engine: &EngineConfig, offer: &Offer, estimate_bandwidth: bool) -> RtcConfig {
    let stats_interval = (engine.timeout / 4).clamp(Duration::from_millis(250), Duration::from_secs(2));
    let mut config = Rtc::builder()
        .clear_codecs()
        .set_rtp_mode(true)
        .set_ice_lite(true)
        .set_dtls_cert(engine.certificate.clone())
        .set_crypto_provider(Arc::clone(&engine.crypto))
        .set_stats_interval(Some(stats_interval));
    let formats: Vec<&RtpFormat> = offer.accepted.iter().flat_map(|section| &section.formats).collect();
    formats.iter().for_each(|format| add_format(config.codec_config(), format, &formats));
    if offer.purpose == Purpose::Subscribe {
        config.extension_map().set(PLAYOUT_DELAY, Extension::PlayoutDelay);
        // As that of video: both are needed to play them in time with each other.
        config = config.set_rtcp_report_interval_audio(REPORT_INTERVAL);
        match estimate_bandwidth {
            true => config = config.enable_bwe(Some(UNLIMITED)),
            false => disable_transport_feedback(&mut config),
        }
    }
    if offer.is_demultiplexed_by_ssrc() {
        // With the MID extension, the library would accept any other stream as a layer.
        remove_extension(&mut config, Extension::RtpMid);
    }
    config
}

/// `all`: the formats of the offer.
fn add_format(codecs: &mut CodecConfig, format: &RtpFormat, all: &[&RtpFormat]) {
    let (pt, rtx) = (format.pt.into(), format.rtx.map(Pt::from));
    let opus = FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..FormatParams::default() };
    match (format.codec, format.h264) {
        (Codec::Opus, _) if format.red.is_some() && may_be_redundant(format, all) => codecs.enable_opus(true, true),
        (Codec::Opus, _) => codecs.add_config(pt, rtx, Str0mCodec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), opus),
        (Codec::Vp8, _) => {
            codecs.add_config(pt, rtx, Str0mCodec::Vp8, Frequency::NINETY_KHZ, None, FormatParams::default());
        }
        (Codec::H264, h264) => {
            let (profile_level_id, mode) = h264.unwrap_or_default();
            codecs.add_h264(pt, rtx, mode == 1, profile_level_id);
        }
    }
}

/// Whether redundant audio can be negotiated: the library has it only with payload types of its own, which it changes to those of
/// the offer, and which no other format must have.
fn may_be_redundant(opus: &RtpFormat, all: &[&RtpFormat]) -> bool {
    let mut others = all.iter().filter(|format| format.pt != opus.pt);
    let own = [111, 63];
    !others.any(|format| own.contains(&format.pt) || format.rtx.is_some_and(|rtx| own.contains(&rtx)))
}

/// Disables transport-wide feedback of a subscriber: without layers to choose from it would have no effect, and its twenty
/// reports per second would cost more than a quarter of the engine's work for a subscriber.
fn disable_transport_feedback(config: &mut RtcConfig) {
    let mut params = config.codec_config().params().to_vec();
    params.iter_mut().for_each(|params| params.set_fb_transport_cc(false));
    *config.codec_config() = CodecConfig::new_from_payload_params(params);
    remove_extension(config, Extension::TransportSequenceNumber);
}

fn remove_extension(config: &mut RtcConfig, removed: Extension) {
    let mut kept = ExtensionMap::empty();
    for (id, extension) in config.extension_map().iter().filter(|(_, extension)| **extension != removed) {
        kept.set(id, extension.clone());
    }
    *config.extension_map() = kept;
}

/// Makes the library accept the first sections of an offer; returns its answer.
fn accept_sections(rtc: &mut Rtc, offer: &Offer, sections: usize) -> Result<String, OfferError> {
    let stream = rtc.direct_api().local_ice_credentials().ufrag;
    let text = offer.library_text(sections, &stream);
    let answer = guarded(|| {
        let offer = SdpOffer::from_sdp_string(&text).map_err(|error| error.to_string())?;
        rtc.sdp_api().accept_offer(offer).map(|answer| answer.to_sdp_string()).map_err(|error| error.to_string())
    });
    answer.map_err(|error| {
        // The library's error text may contain addresses of its memory, so it is logged and not sent.
        tracing::warn!(error, "WebRTC library rejected a validated offer");
        OfferError::Malformed("the offer cannot be answered".into())
    })
}

/// Makes the library accept an offer, with one CNAME for all streams.
///
/// The library draws each section's CNAME from the thread's random number generator; it cannot be set. Receivers such
/// as GStreamer synchronize only streams with the same CNAME (RFC 3550). So sections are accepted one by one, and the
/// generator's state is restored in between.
pub(super) fn accept_offer(rtc: &mut Rtc, offer: &Offer) -> Result<String, OfferError> {
    let state = fastrand::get_seed();
    if offer.purpose == Purpose::Subscribe {
        for sections in 1..offer.accepted.len() {
            accept_sections(rtc, offer, sections)?;
            fastrand::seed(state);
        }
    }
    accept_sections(rtc, offer, offer.accepted.len())
}

/// Reseeds the thread's random number generator, from which the library draws ICE credentials and SSRCs, so that they
/// cannot be predicted from earlier ones.
pub(super) fn reseed() {
    fastrand::seed(RandomState::new().hash_one(fastrand::get_seed()));
}

/// Declares layers that were announced by SSRC; returns the RIDs assigned to them.
pub(super) fn declare_layers(rtc: &mut Rtc, mid: Mid, streams: &Streams) -> Vec<Rid> {
    let Streams::Ssrcs(layers) = streams else { return Vec::new() };
    let mut api = rtc.direct_api();
    let mut rids = Vec::new();
    for (index, (ssrc, repair)) in layers.iter().enumerate() {
        let rid = Rid::from(format!("ssrc{index}").as_str());
        let stream = api.expect_stream_rx((*ssrc).into(), repair.map(Ssrc::from), mid, Some(rid));
        stream.suppress_nack(repair.is_none());
        rids.push(rid);
    }
    rids
}
