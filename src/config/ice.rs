//! ICE servers that participants get, and the credentials of TURN servers.

use super::{Secret, group};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use percent_encoding::percent_decode_str;
use std::str::FromStr;

/// ICE servers for participants.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::MEDIA)]
pub struct IceArgs {
    /// ICE servers for participants, comma-separated: stun:HOST, turn:HOST or turn:USER:PASSWORD@HOST
    ///
    /// With :PORT and ?transport= where they differ from the defaults. Prefer the variable for passwords: other users of the
    /// machine can read command lines.
    #[arg(long, env = "GREENROOM_ICE_SERVERS", value_name = "URL,…", value_delimiter = ',', hide_env_values = true)]
    pub ice_servers: Vec<IceServer>,
    /// Shared secret of the TURN servers, for time-limited credentials (coturn: use-auth-secret)
    ///
    /// Prefer the variable: other users of the machine can read command lines.
    #[arg(long, env = "GREENROOM_TURN_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub turn_secret: Option<Secret>,
    /// Lifetime of TURN credentials made with --turn-secret, in seconds
    #[arg(long, env = "GREENROOM_TURN_TTL_SECONDS", default_value_t = 86_400, value_name = "S", value_parser = clap::value_parser!(u32).range(60..))]
    pub turn_ttl_seconds: u32,
}

/// Username and password of a TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TurnCredentials {
    pub username: String,
    pub password: Secret,
}

impl IceArgs {
    /// The credentials of one user for a TURN server: those in its URL, or time-limited ones made with the shared secret
    /// at `now`, in Unix seconds. `None` for a STUN server, and for a TURN server without either.
    pub fn credentials(&self, server: &IceServer, user: &str, now: i64) -> Option<TurnCredentials> {
        if !server.is_turn() {
            return None;
        }
        let made = || {
            let expiry = now + i64::from(self.turn_ttl_seconds);
            Some(time_limited(self.turn_secret.as_ref()?, expiry, user))
        };
        server.credentials.clone().or_else(made)
    }

    /// Whether clients have to authenticate to a server.
    pub fn needs_credentials(&self, server: &IceServer) -> bool {
        server.is_turn() && (server.credentials.is_some() || self.turn_secret.is_some())
    }
}

/// Credentials as of "A REST API For Access To TURN Services" (draft-uberti-behave-turn-rest).
fn time_limited(Secret(secret): &Secret, expiry: i64, user: &str) -> TurnCredentials {
    let username = format!("{expiry}:{user}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let password = Secret(STANDARD.encode(hmac::sign(&key, username.as_bytes())));
    TurnCredentials { username, password }
}

/// URL of an ICE server (RFC 7064, RFC 7065), and the credentials that it contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    url: String,
    credentials: Option<TurnCredentials>,
}

impl IceServer {
    /// The URL without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it relays media.
    pub fn is_turn(&self) -> bool {
        self.url.starts_with("turn")
    }
}

impl FromStr for IceServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "use stun:HOST, turn:HOST or turn:USER:PASSWORD@HOST, such as stun:stun.example.org:3478".to_owned();
        let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        // The URL is put between angle brackets in a header.
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
        if !["stun", "stuns", "turn", "turns"].contains(&scheme) || !plain(host) || host.starts_with('/') {
            return Err(wrong());
        }
        if user.is_some() && !scheme.starts_with("turn") {
            return Err("only TURN servers take credentials".into());
        }
        let credentials = user.map(credentials).transpose()?;
        Ok(IceServer { url: format!("{scheme}:{host}"), credentials })
    }
}

/// Parses `USER:PASSWORD`, percent-encoded where a character has a meaning in URLs or in lists.
fn credentials(text: &str) -> Result<TurnCredentials, String> {
    let decoded = |part: &str| {
        let part = percent_decode_str(part).decode_utf8().ok()?;
        // Both are put into a header, in quotes.
        (!part.is_empty() && part.bytes().all(|byte| (b' '..=b'~').contains(&byte))).then(|| part.into_owned())
    };
    let both = text.split_once(':').and_then(|(user, password)| Some((decoded(user)?, decoded(password)?)));
    let (username, password) = both.ok_or(
        "TURN credentials are USER:PASSWORD in printable ASCII; percent-encode other characters, and commas (%2C)",
    )?;
    Ok(TurnCredentials { username, password: Secret(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(servers: &str, secret: Option<&str>) -> IceArgs {
        IceArgs {
            ice_servers: servers.split(',').map(|server| server.parse().unwrap()).collect(),
            turn_secret: secret.map(|secret| Secret(secret.into())),
            turn_ttl_seconds: 600,
        }
    }

    #[test]
    fn credentials_are_removed_from_urls() {
        let server: IceServer = "turn:me:p%40ss%2Cword@turn.example.org:3478?transport=udp".parse().unwrap();
        assert_eq!(server.url(), "turn:turn.example.org:3478?transport=udp");
        let credentials = server.credentials.clone().unwrap();
        assert_eq!((credentials.username.as_str(), credentials.password.0.as_str()), ("me", "p@ss,word"));
        assert!(!format!("{server:?}").contains("p@ss"), "{server:?}");
        assert_eq!("stun:a".parse::<IceServer>().unwrap().credentials, None);
        for bad in
            ["a", "http:a", "stun:", "stun:u:p@a", "turn:u@a", "turn::p@a", "turn:u:@a", "turn:u:p@", "turn:u:%00@a"]
        {
            assert!(bad.parse::<IceServer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn time_limited_credentials_are_as_in_the_draft() {
        let args = args("turn:a,turn:me:mine@b,stun:c", Some("north"));
        let found: Vec<_> =
            args.ice_servers.iter().map(|server| args.credentials(server, "Ab12", 1_700_000_000)).collect();
        let made = found[0].as_ref().unwrap();
        // As `printf 1700000600:Ab12 | openssl dgst -sha1 -hmac north -binary | base64` prints it.
        assert_eq!((made.username.as_str(), made.password.0.as_str()), ("1700000600:Ab12", EXPECTED));
        assert_eq!(found[1].as_ref().unwrap().username, "me");
        assert_eq!(found[2], None);
        assert!(args.ice_servers.iter().map(|server| args.needs_credentials(server)).eq([true, true, false]));
    }

    #[test]
    fn without_a_secret_a_server_has_its_own_credentials_or_none() {
        let args = args("turn:a,turns:me:mine@b", None);
        assert_eq!(args.credentials(&args.ice_servers[0], "x", 0), None);
        assert!(args.credentials(&args.ice_servers[1], "x", 0).is_some());
        assert!(args.ice_servers.iter().map(|server| args.needs_credentials(server)).eq([false, true]));
    }

    const EXPECTED: &str = "F1wdLZpMkb9Mp6X4PABywX7MULs=";
}
