//! The effect of a rule as clients write it.

use super::body::invalid;
use crate::domain::admission::SignalingErrorCode;
use crate::domain::faults::{DeliveryFault, Effect, Exception, Impairment, Latency, MAX_LATENCY, Moment, StorageFault};
use crate::model::fault::Fault;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderName, HeaderValue};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum delay of media.
const MAX_MEDIA_DELAY: Duration = Duration::from_secs(5);
/// The effects, one of which a rule has.
const EFFECTS: &str = "exception, status, throttle, latency, disconnect, truncate, refuseToken, closeWebSocket, media, \
                       closeConnection, target, storage";

/// An effect. Its JSON has the member that names it, and those that belong to that one.
#[derive(Debug)]
pub enum EffectBody {
    Exception(ExceptionBody),
    Status(StatusBody),
    Named(NamedEffect),
    /// Not exactly one effect.
    Ambiguous,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionBody {
    exception: String,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusBody {
    status: u16,
    #[serde(default)]
    body: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// The effects with one member.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum NamedEffect {
    Throttle { retry_after_seconds: u32 },
    Latency(LatencyBody),
    Disconnect(MomentBody),
    Truncate { bytes: usize },
    RefuseToken { code: Option<String> },
    CloseWebSocket { code: Option<u16> },
    Media(MediaBody),
    CloseConnection {},
    Target(RefuseOrHang),
    Storage(RefuseOrHang),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencyBody {
    milliseconds: Option<u64>,
    min_milliseconds: Option<u64>,
    max_milliseconds: Option<u64>,
    mean_milliseconds: Option<u64>,
    deviation_milliseconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MomentBody {
    BeforeRequest,
    AfterRequest,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MediaBody {
    #[serde(default)]
    freeze: bool,
    #[serde(default)]
    loss: f64,
    #[serde(default)]
    delay_milliseconds: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefuseOrHang {
    Refuse,
    Hang,
}

impl<'de> Deserialize<'de> for EffectBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members: Map<String, Value> = Map::deserialize(deserializer)?;
        let (count, has) = (members.len(), |name: &str| members.contains_key(name));
        let kind = (has("exception"), has("status"));
        let value = Value::Object(members);
        let parsed = match kind {
            (true, _) => serde_json::from_value(value).map(EffectBody::Exception),
            (false, true) => serde_json::from_value(value).map(EffectBody::Status),
            (false, false) if count != 1 => Ok(EffectBody::Ambiguous),
            (false, false) => serde_json::from_value(value).map(EffectBody::Named),
        };
        parsed.map_err(|error| D::Error::custom(format!("effect: {error}")))
    }
}

impl EffectBody {
    /// The effect, validated.
    pub fn parse(self) -> Result<Effect, Fault> {
        match self {
            EffectBody::Exception(ExceptionBody { exception, message }) => match Exception::parse(&exception) {
                Some(exception) => Ok(Effect::Exception { exception, message }),
                None => {
                    let known = Exception::all().map(Exception::name).collect::<Vec<_>>().join(", ");
                    invalid(format!("effect.exception: there is no exception '{exception}'; there are {known}"))
                }
            },
            EffectBody::Status(status) => status.parse(),
            EffectBody::Named(effect) => effect.parse(),
            EffectBody::Ambiguous => invalid(format!("effect: exactly one of {EFFECTS} is required")),
        }
    }
}

impl StatusBody {
    fn parse(self) -> Result<Effect, Fault> {
        let StatusBody { status, body, headers } = self;
        if !(200..=599).contains(&status) {
            return invalid("effect.status: must be from 200 to 599");
        }
        if matches!(status, 204 | 205 | 304) && !body.is_empty() {
            return invalid(format!("effect.body: a response with status {status} has no body"));
        }
        for (name, value) in &headers {
            match HeaderName::try_from(name) {
                Err(_) => return invalid(format!("effect.headers: '{name}' is not the name of a header")),
                Ok(CONNECTION | CONTENT_LENGTH | TRANSFER_ENCODING | UPGRADE) => {
                    return invalid(format!("effect.headers: '{name}' cannot be set, as it frames the response"));
                }
                Ok(_) if HeaderValue::from_str(value).is_err() => {
                    return invalid(format!("effect.headers: the value of '{name}' is not one of a header"));
                }
                Ok(_) => {}
            }
        }
        Ok(Effect::Status { status, body, headers: headers.into_iter().collect() })
    }
}

impl NamedEffect {
    fn parse(self) -> Result<Effect, Fault> {
        Ok(match self {
            NamedEffect::Throttle { retry_after_seconds } => Effect::Throttle { retry_after: retry_after_seconds },
            NamedEffect::Latency(latency) => Effect::Latency(latency.parse()?),
            NamedEffect::Disconnect(MomentBody::BeforeRequest) => Effect::Disconnect(Moment::BeforeRequest),
            NamedEffect::Disconnect(MomentBody::AfterRequest) => Effect::Disconnect(Moment::AfterRequest),
            NamedEffect::Truncate { bytes: 0 } => return invalid("effect.truncate.bytes: must be at least 1"),
            NamedEffect::Truncate { bytes } => Effect::Truncate { bytes },
            NamedEffect::RefuseToken { code } => Effect::RefuseToken(signaling_code(code.as_deref())?),
            NamedEffect::CloseWebSocket { code } => {
                if code.is_some_and(|code| !may_be_sent(code)) {
                    let text = "effect.closeWebSocket.code: must be 1000 to 1003, 1007 to 1014, or 3000 to 4999; without a \
                                code, the connection is dropped without a close frame";
                    return invalid(text);
                }
                Effect::CloseWebSocket { code }
            }
            NamedEffect::Media(media) => Effect::Media(media.parse()?),
            NamedEffect::CloseConnection {} => Effect::CloseConnection,
            NamedEffect::Target(RefuseOrHang::Refuse) => Effect::Delivery(DeliveryFault::Refuse),
            NamedEffect::Target(RefuseOrHang::Hang) => Effect::Delivery(DeliveryFault::Hang),
            NamedEffect::Storage(RefuseOrHang::Refuse) => Effect::Storage(StorageFault::Refuse),
            NamedEffect::Storage(RefuseOrHang::Hang) => Effect::Storage(StorageFault::Hang),
        })
    }
}

impl LatencyBody {
    fn parse(self) -> Result<Latency, Fault> {
        let most = MAX_LATENCY.as_millis();
        let given = [
            self.milliseconds,
            self.min_milliseconds,
            self.max_milliseconds,
            self.mean_milliseconds,
            self.deviation_milliseconds,
        ];
        if given.iter().flatten().any(|milliseconds| u128::from(*milliseconds) > most) {
            return invalid(format!("effect.latency: at most {most} milliseconds"));
        }
        match given.map(|milliseconds| milliseconds.map(Duration::from_millis)) {
            [Some(delay), None, None, None, None] => Ok(Latency::Constant(delay)),
            [None, Some(min), Some(max), None, None] if min > max => {
                invalid("effect.latency.maxMilliseconds: must not be less than minMilliseconds")
            }
            [None, Some(min), Some(max), None, None] => Ok(Latency::Uniform { min, max }),
            [None, None, None, Some(mean), Some(deviation)] => Ok(Latency::Normal { mean, deviation }),
            _ => invalid(
                "effect.latency: must have milliseconds, or minMilliseconds and maxMilliseconds, or meanMilliseconds and \
                 deviationMilliseconds",
            ),
        }
    }
}

impl MediaBody {
    fn parse(self) -> Result<Impairment, Fault> {
        let MediaBody { freeze, loss, delay_milliseconds } = self;
        let delay = Duration::from_millis(delay_milliseconds);
        if !(0.0..=1.0).contains(&loss) {
            return invalid("effect.media.loss: must be from 0 to 1");
        }
        if delay > MAX_MEDIA_DELAY {
            let most = MAX_MEDIA_DELAY.as_millis();
            return invalid(format!("effect.media.delayMilliseconds: must be at most {most}"));
        }
        let impairment = Impairment { freeze, loss, delay };
        if impairment.is_none() {
            return invalid("effect.media: one of freeze, loss and delayMilliseconds is required");
        }
        Ok(impairment)
    }
}

fn signaling_code(name: Option<&str>) -> Result<SignalingErrorCode, Fault> {
    let Some(name) = name else { return Ok(SignalingErrorCode::TokenExpired) };
    match SignalingErrorCode::parse(name) {
        Some(code) => Ok(code),
        None => {
            let known = SignalingErrorCode::ALL.iter().map(|code| code.name()).collect::<Vec<_>>().join(", ");
            invalid(format!("effect.refuseToken.code: there is no code '{name}'; there are {known}"))
        }
    }
}

/// Whether a close frame may have the code (RFC 6455, section 7.4).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
