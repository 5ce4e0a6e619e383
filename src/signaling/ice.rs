//! `Link` headers for ICE servers (RFC 9725, section 4.6).

use crate::clock::Timestamp;
use crate::config::{IceArgs, IceServer, TurnCredentials};
use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderValue};

/// Adds a `Link` for every ICE server; those of TURN servers have credentials for the participant.
pub fn link(ice: &IceArgs, participant: &str, now: Timestamp, headers: &mut HeaderMap) {
    for server in &ice.ice_servers {
        append(headers, value(server, ice.credentials(server, participant, now.0 / 1000).as_ref()));
    }
}

/// Adds a `Link` for every ICE server that requires no credentials, for a client without a token.
pub fn link_without_credentials(ice: &IceArgs, headers: &mut HeaderMap) {
    for server in ice.ice_servers.iter().filter(|server| !ice.needs_credentials(server)) {
        append(headers, value(server, None));
    }
}

fn append(headers: &mut HeaderMap, text: String) {
    // Settings are validated to be printable ASCII.
    let Ok(mut value) = HeaderValue::try_from(text) else { return };
    value.set_sensitive(true);
    headers.append(LINK, value);
}

fn value(server: &IceServer, credentials: Option<&TurnCredentials>) -> String {
    let link = format!("<{}>; rel=\"ice-server\"", server.url());
    let Some(TurnCredentials { username, password }) = credentials else { return link };
    let (username, password) = (quoted(username), quoted(&password.0));
    format!("{link}; username={username}; credential={password}; credential-type=\"password\"")
}

/// A quoted-string (RFC 9110, section 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn links(with: impl FnOnce(&IceArgs, &mut HeaderMap)) -> Vec<String> {
        let servers = [r#"turn:me:a%22b%5C@t.example:3478"#, "stun:s.example", "turn:open.example"];
        let ice_servers = servers.map(|server| server.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        with(&IceArgs { ice_servers, turn_secret: None, turn_ttl_seconds: 60 }, &mut headers);
        assert!(!format!("{headers:?}").contains("me"), "{headers:?}");
        headers.get_all(LINK).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn links_have_the_form_of_rfc_9725() {
        let all = links(|ice, headers| link(ice, "p", Timestamp(0), headers));
        let turn = r#"<turn:t.example:3478>; rel="ice-server"; username="me"; credential="a\"b\\"; credential-type="password""#;
        assert_eq!(all[0], turn);
        assert_eq!(all[1..], [r#"<stun:s.example>; rel="ice-server""#, r#"<turn:open.example>; rel="ice-server""#]);
    }

    #[test]
    fn servers_with_credentials_are_omitted_without_a_token() {
        let public = links(link_without_credentials);
        assert_eq!(public, [r#"<stun:s.example>; rel="ice-server""#, r#"<turn:open.example>; rel="ice-server""#]);
        let ice = IceArgs {
            ice_servers: vec!["turn:t.example".parse().unwrap()],
            turn_secret: Some(Secret("s".into())),
            turn_ttl_seconds: 60,
        };
        let mut headers = HeaderMap::new();
        link_without_credentials(&ice, &mut headers);
        assert!(headers.is_empty());
    }
}
