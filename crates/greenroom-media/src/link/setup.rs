//! Setting up the WebRTC library for an offer: its codecs, its negotiation, and the streams that are announced.

use super::{Ground, guarded};
use crate::codecs::Format;
use crate::offer::{Offer, Purpose};
use crate::streams::Streams;
use crate::{Codec, OfferError};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;
use str0m::change::SdpOffer;
use str0m::format::{Codec as Named, CodecConfig, FormatParams};
use str0m::media::{Frequency, Mid, Pt, Rid};
use str0m::rtp::{Extension, ExtensionMap, Ssrc};
use str0m::{Rtc, RtcConfig};

/// The WebRTC library's configuration for an offer: it knows the formats that are taken, and no others.
pub(super) fn config(ground: &Ground, offer: &Offer) -> RtcConfig {
    let between_stats = (ground.timeout / 4).clamp(Duration::from_millis(250), Duration::from_secs(2));
    let mut config = Rtc::builder()
        .clear_codecs()
        .set_rtp_mode(true)
        .set_ice_lite(true)
        .set_dtls_cert(ground.certificate.clone())
        .set_crypto_provider(Arc::clone(&ground.crypto))
        .set_stats_interval(Some(between_stats));
    let formats = offer.taken.iter().flat_map(|section| &section.formats);
    formats.for_each(|format| add_format(config.codec_config(), format));
    if offer.purpose == Purpose::Subscribe {
        without_transport_feedback(&mut config);
    }
    if offer.goes_by_ssrc() {
        // By a mid, the library would take any other stream for a layer.
        without_extension(&mut config, Extension::RtpMid);
    }
    config
}

fn add_format(codecs: &mut CodecConfig, format: &Format) {
    let (pt, rtx) = (format.pt.into(), format.rtx.map(Pt::from));
    let opus = FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..FormatParams::default() };
    match (format.codec, format.h264) {
        (Codec::Opus, _) => codecs.add_config(pt, rtx, Named::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), opus),
        (Codec::Vp8, _) => {
            codecs.add_config(pt, rtx, Named::Vp8, Frequency::NINETY_KHZ, None, FormatParams::default());
        }
        (Codec::H264, h264) => {
            let (profile_level_id, mode) = h264.unwrap_or_default();
            codecs.add_h264(pt, rtx, mode == 1, profile_level_id);
        }
    }
}

/// Subscribers are not asked what arrived when (transport-wide feedback): all of them get the same, so that nothing could
/// be done about it, and their twenty reports a second would cost more than a quarter of what the engine does for them.
fn without_transport_feedback(config: &mut RtcConfig) {
    let mut params = config.codec_config().params().to_vec();
    params.iter_mut().for_each(|params| params.set_fb_transport_cc(false));
    *config.codec_config() = CodecConfig::new_from_payload_params(params);
    without_extension(config, Extension::TransportSequenceNumber);
}

fn without_extension(config: &mut RtcConfig, left_out: Extension) {
    let mut kept = ExtensionMap::empty();
    for (id, extension) in config.extension_map().iter().filter(|(_, extension)| **extension != left_out) {
        kept.set(id, extension.clone());
    }
    *config.extension_map() = kept;
}

/// Has the library accept the first sections of an offer; its answer.
fn accept(rtc: &mut Rtc, offer: &Offer, sections: usize) -> Result<String, OfferError> {
    let stream = rtc.direct_api().local_ice_credentials().ufrag;
    let text = offer.library_text(sections, &stream);
    let answered = guarded(|| {
        let offer = SdpOffer::from_sdp_string(&text).map_err(|error| error.to_string())?;
        rtc.sdp_api().accept_offer(offer).map(|answer| answer.to_sdp_string()).map_err(|error| error.to_string())
    });
    answered.map_err(|reason| {
        // The library's words are for the operator: they may tell of its memory.
        tracing::warn!(reason, "the WebRTC library rejected an offer that had passed our checks");
        OfferError::Malformed("the offer cannot be answered".into())
    })
}

/// Has the library accept a whole offer, so that all that it sends has one CNAME.
///
/// The library draws a CNAME for each section from the thread's generator, and has no way to set it. Receivers that go by
/// RFC 3550, such as GStreamer, synchronize streams of one CNAME only. So sections are accepted one by one, and the
/// generator is set back in between.
pub(super) fn accept_all(rtc: &mut Rtc, offer: &Offer) -> Result<String, OfferError> {
    let state = fastrand::get_seed();
    if offer.purpose == Purpose::Subscribe {
        for sections in 1..offer.taken.len() {
            accept(rtc, offer, sections)?;
            fastrand::seed(state);
        }
    }
    accept(rtc, offer, offer.taken.len())
}

/// Gives the thread's generator, which the library draws ICE credentials and SSRCs from, a state that nothing drawn
/// before tells of.
pub(super) fn reseed() {
    fastrand::seed(RandomState::new().hash_one(fastrand::get_seed()));
}

/// Declares the streams of layers that are announced by SSRC; the RIDs that they have from here on.
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
