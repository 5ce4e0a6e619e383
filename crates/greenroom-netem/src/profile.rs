//! The properties of one direction of a link.

use std::str::FromStr;
use std::time::Duration;

/// The properties of one direction of a link. The default is a perfect link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Share of packets that are lost at random, 0 to 1.
    pub loss: f64,
    /// Mean number of consecutive packets that a loss takes (Gilbert–Elliott model); at 1, losses are independent.
    pub burst: f64,
    /// Share of packets that arrive twice, 0 to 1.
    pub duplication: f64,
    pub delay: Duration,
    /// Random deviation from the delay, both ways, with uniform distribution.
    pub jitter: Duration,
    /// Whether the jitter is drawn for each packet, so that packets can overtake each other. Otherwise the order is kept.
    pub reorder: bool,
    /// Bits per second.
    pub rate: Option<u64>,
    /// Maximum time that a packet waits for the rate; packets that would wait longer are dropped.
    pub queue: Duration,
}

/// The queue of a profile that does not set it.
const DEFAULT_QUEUE: Duration = Duration::from_millis(200);

impl Profile {
    pub const PERFECT: Profile = Profile {
        loss: 0.0,
        burst: 1.0,
        duplication: 0.0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        reorder: false,
        rate: None,
        queue: DEFAULT_QUEUE,
    };
}

impl Default for Profile {
    fn default() -> Profile {
        Profile::PERFECT
    }
}

/// Why a text is not a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("unknown property `{0}`: use loss, burst, duplication, delay, jitter, reorder, rate and queue")]
    Unknown(String),
    #[error("`{0}` has an invalid value: {1}")]
    Value(&'static str, &'static str),
}

const SHARE: &str = "use a percentage such as 2.5%";
const TIME: &str = "use milliseconds or seconds such as 20ms or 1.5s";
const RATE: &str = "use bits per second such as 800k or 1.5M";

/// Comma-separated properties: `loss=5%,burst=3,duplication=1%,delay=100ms,jitter=30ms,reorder,rate=1.5M,queue=200ms`. An
/// empty text is a perfect link.
impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Profile, ProfileError> {
        let mut profile = Profile::PERFECT;
        for property in text.split(',').map(str::trim).filter(|property| !property.is_empty()) {
            let (name, value) = property.split_once('=').unwrap_or((property, ""));
            match name {
                "loss" => profile.loss = share(value).ok_or(ProfileError::Value("loss", SHARE))?,
                "duplication" => profile.duplication = share(value).ok_or(ProfileError::Value("duplication", SHARE))?,
                "burst" => {
                    let length = number(value).filter(|length| *length >= 1.0);
                    profile.burst =
                        length.ok_or(ProfileError::Value("burst", "use a number of packets of at least 1"))?;
                }
                "delay" => profile.delay = time(value).ok_or(ProfileError::Value("delay", TIME))?,
                "jitter" => profile.jitter = time(value).ok_or(ProfileError::Value("jitter", TIME))?,
                "queue" => profile.queue = time(value).ok_or(ProfileError::Value("queue", TIME))?,
                "reorder" if value.is_empty() => profile.reorder = true,
                "rate" => profile.rate = Some(rate(value).ok_or(ProfileError::Value("rate", RATE))?),
                _ => return Err(ProfileError::Unknown(property.to_owned())),
            }
        }
        Ok(profile)
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

fn share(text: &str) -> Option<f64> {
    number(text.strip_suffix('%')?).map(|percent| percent / 100.0).filter(|share| *share <= 1.0)
}

fn time(text: &str) -> Option<Duration> {
    let seconds = match text.strip_suffix("ms") {
        Some(milliseconds) => number(milliseconds)? / 1_000.0,
        None => number(text.strip_suffix('s')?)?,
    };
    (seconds <= 3_600.0).then(|| Duration::from_secs_f64(seconds))
}

fn rate(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    number(digits).map(|number| (number * unit) as u64).filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_parsed_and_the_others_are_perfect() {
        let all = "loss=5%, burst=3,duplication=0.5%,delay=100ms,jitter=0.03s,reorder,rate=1.5M,queue=1s";
        let expected = Profile {
            loss: 0.05,
            burst: 3.0,
            duplication: 0.005,
            delay: Duration::from_millis(100),
            jitter: Duration::from_millis(30),
            reorder: true,
            rate: Some(1_500_000),
            queue: Duration::from_secs(1),
        };
        assert_eq!(all.parse(), Ok(expected));
        assert_eq!("rate=800k".parse(), Ok(Profile { rate: Some(800_000), ..Profile::PERFECT }));
        assert_eq!("".parse(), Ok(Profile::PERFECT));
    }

    #[test]
    fn errors_name_the_property_and_the_remedy() {
        let error = |text: &str| text.parse::<Profile>().unwrap_err().to_string();
        for unknown in ["lag=5ms", "loss5%", "reorder=yes"] {
            assert!(error(unknown).contains(&format!("`{unknown}`: use loss")), "{}", error(unknown));
        }
        for (property, values) in [
            ("loss", ["5", "101%", "-1%", "NaN%"]),
            ("burst", ["0", "0.5", "inf", "-2"]),
            ("delay", ["20", "-1ms", "2h", "3601s"]),
            ("rate", ["0", "1G", "k", "-5M"]),
        ] {
            for value in values {
                let text = error(&format!("{property}={value}"));
                assert!(text.starts_with(&format!("`{property}` has an invalid value: use")), "{text}");
            }
        }
    }
}
