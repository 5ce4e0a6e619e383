//! Browser, operating system and SDK of a client, by its request headers.
//!
//! Client hints (`Sec-CH-UA`) are not used: browsers send them with some requests but never with WebSockets, so that the
//! same participant would appear under different names.

use crate::domain::participant::Client;
use crate::model::participant::ParticipantClientAttribute;
use crate::model::shape::{Kind, Shape as _};
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use serde::Deserialize;
use std::sync::LazyLock;
use ua_parser::{os, user_agent};

/// The header in which a client may name the version of its SDK.
pub const SDK_VERSION_HEADER: &str = "greenroom-sdk-version";
/// Maximum bytes of a header that are parsed.
const MAX_PARSED_BYTES: usize = 1024;
/// Broadcasting programs that the patterns do not know.
const BROADCASTERS: [&str; 2] = ["OBS-Studio", "Lavf"];

/// The patterns of browsers and operating systems; `user_agent/README.md` names their source.
struct Patterns {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let read = patterns();
    read.inspect_err(|error| tracing::error!(error, "user agent patterns are invalid")).ok()
});

fn patterns() -> Result<Patterns, String> {
    #[derive(Deserialize)]
    struct Lists {
        #[serde(borrow)]
        user_agent_parsers: Vec<user_agent::Parser<'static>>,
        #[serde(borrow)]
        os_parsers: Vec<os::Parser<'static>>,
    }
    let text = |error: &dyn std::error::Error| error.to_string();
    let lists: Lists = serde_json::from_str(include_str!("user_agent/patterns.json")).map_err(|error| text(&error))?;
    let browsers = user_agent::Builder::new().push_all(lists.user_agent_parsers).map_err(|error| text(&error))?;
    let systems = os::Builder::new().push_all(lists.os_parsers).map_err(|error| error.to_string())?;
    let browsers = browsers.build().map_err(|error| error.to_string())?;
    Ok(Patterns { browsers, systems: systems.build().map_err(|error| error.to_string())? })
}

/// The client's software, by its request headers.
pub fn client(headers: &HeaderMap) -> Client {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = text(USER_AGENT.as_str());
    // The text of a header is visible ASCII: any index is a character boundary.
    let agent = agent.get(..MAX_PARSED_BYTES).unwrap_or(agent);
    let (browser_name, browser_version) = browser(agent);
    let (os_name, os_version) = system(agent);
    Client {
        isp_name: String::new(),
        os_name: fit(&os_name),
        os_version: fit(&os_version),
        browser_name: fit(&browser_name),
        browser_version: fit(&browser_version),
        sdk_version: fit(text(SDK_VERSION_HEADER)),
    }
}

fn browser(agent: &str) -> (String, String) {
    for name in BROADCASTERS {
        if let Some(version) = agent.split_once(name).and_then(|(_, rest)| rest.strip_prefix('/')) {
            return (name.to_owned(), number(version));
        }
    }
    if let Some(found) = PATTERNS.as_ref().and_then(|patterns| patterns.browsers.extract(agent)) {
        let found = found.into_owned();
        return (found.family, dotted([found.major, found.minor, found.patch, found.patch_minor]));
    }
    // Other clients start with NAME/VERSION.
    match agent.split_whitespace().next().and_then(|first| first.split_once('/')) {
        Some((name, version)) if name != "Mozilla" => (name.to_owned(), number(version)),
        _ => Default::default(),
    }
}

fn system(agent: &str) -> (String, String) {
    let Some(found) = PATTERNS.as_ref().and_then(|patterns| patterns.systems.extract(agent)) else {
        return Default::default();
    };
    let found = found.into_owned();
    (found.os, dotted([found.major, found.minor, found.patch, found.patch_minor]))
}

fn dotted(parts: [Option<String>; 4]) -> String {
    parts.into_iter().map_while(|part| part.filter(|part| !part.is_empty())).collect::<Vec<_>>().join(".")
}

/// The version at the start of a text.
fn number(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect()
}

/// Truncates a text and removes characters that the model does not allow.
fn fit(text: &str) -> String {
    let Kind::Text { max, .. } = ParticipantClientAttribute::def().kind else { return String::new() };
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "-_.,:; ".contains(*c);
    text.chars().filter(allowed).take(max.unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::{FieldPath, ValidationErrors};

    fn of(agent: &str) -> [String; 4] {
        let headers = HeaderMap::from_iter([(USER_AGENT, agent.parse().unwrap())]);
        let Client { browser_name, browser_version, os_name, os_version, .. } = client(&headers);
        [browser_name, browser_version, os_name, os_version]
    }

    #[test]
    fn browsers_broadcasters_and_libraries_are_recognized() {
        for (agent, expected) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
                ["Chrome", "131.0.0.0", "Windows", "10"],
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
                ["Safari", "17.4", "Mac OS X", "10.15.7"],
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                ["Firefox", "140.0", "Linux", ""],
            ),
            ("Mozilla/5.0 (OBS-Studio/30.1.2; Windows x86_64; en-US)", ["OBS-Studio", "30.1.2", "Windows", ""]),
            ("Lavf/60.3.100", ["Lavf", "60.3.100", "", ""]),
            ("Python/3.11 aiohttp/3.14.5", ["Python aiohttp", "3.14.5", "", ""]),
            ("Python/3.11 websockets/17.4", ["Python", "3.11", "", ""]),
            ("greenroom/0.1.0", ["greenroom", "0.1.0", "", ""]),
            ("Mozilla/5.0", ["", "", "", ""]),
            ("", ["", "", "", ""]),
        ] {
            assert_eq!(of(agent), expected, "{agent}");
        }
    }

    #[test]
    fn all_values_are_valid_in_the_model() {
        let long = format!("{}/{}", "a<>{}".repeat(1000), "9".repeat(5000));
        let headers = HeaderMap::from_iter([
            (USER_AGENT, long.parse().unwrap()),
            (SDK_VERSION_HEADER.parse().unwrap(), "1.2.3 (x)\t<script>".parse().unwrap()),
        ]);
        let client = client(&headers);
        assert_eq!(client.sdk_version, "1.2.3 xscript");
        for value in [client.browser_name, client.browser_version, client.sdk_version] {
            let mut broken = ValidationErrors::default();
            assert!(ParticipantClientAttribute::decode(value.into(), FieldPath::Root, &mut broken).unwrap().is_some());
        }
    }
}
