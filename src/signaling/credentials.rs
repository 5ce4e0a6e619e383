//! The tokens of a request. Tokens are never part of a URL and never logged.

use crate::app::App;
use crate::app::admission::{self, Purpose, is_connection_token};
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// The header of a connection token that is sent with a bearer token.
const CONNECTION_TOKEN: HeaderName = HeaderName::from_static("greenroom-connection-token");
/// Maximum subprotocols that are read.
const MAX_SUBPROTOCOLS: usize = 8;

/// The tokens of a client.
#[derive(Clone)]
pub struct Credentials {
    token: String,
    connection_token: Option<String>,
}

/// Without the tokens.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Credentials {
    /// The tokens in the headers of a request.
    pub fn of(headers: &HeaderMap) -> Result<Credentials, SignalingError> {
        let token = bearer(headers)?.ok_or_else(missing)?.to_owned();
        let connection_token = headers.get(CONNECTION_TOKEN).map(text).transpose()?.map(str::to_owned);
        Ok(Credentials { token, connection_token })
    }

    /// The tokens of a WebSocket handshake: as subprotocols, the only way for browsers, or in headers as with a request.
    pub fn of_socket(headers: &HeaderMap) -> Result<Credentials, SignalingError> {
        let (mut token, mut connection_token) = (None, None);
        for protocol in subprotocols(headers) {
            let slot = if is_connection_token(protocol) { &mut connection_token } else { &mut token };
            slot.get_or_insert_with(|| protocol.to_owned());
        }
        if token.is_none() && connection_token.is_none() {
            return Credentials::of(headers);
        }
        let token = match token {
            Some(token) => token,
            None => bearer(headers)?.ok_or_else(missing)?.to_owned(),
        };
        Ok(Credentials { token, connection_token })
    }

    /// Verifies the tokens for a purpose.
    pub async fn verify(&self, app: &Arc<App>, purpose: Purpose) -> Result<VerifiedToken, SignalingError> {
        let mut verified = admission::admit(app, &self.token, purpose).await?;
        if let Some(token) = &self.connection_token {
            admission::admit_connection(app, &mut verified, token).await?;
        }
        Ok(verified)
    }

    /// Replaces the participant token after an exchange.
    pub fn replace_token(&mut self, token: String) {
        self.token = token;
    }
}

/// The subprotocol of the response: the participant token if it was offered. Browsers require one that they have offered.
pub fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let token = subprotocols(headers).find(|protocol| !is_connection_token(protocol));
    HeaderValue::from_str(token.or_else(|| subprotocols(headers).next())?).ok()
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty()).take(MAX_SUBPROTOCOLS)
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, SignalingError> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(AUTHORIZATION) { Err(malformed()) } else { Ok(None) };
    };
    match text(value)?.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => match token.trim() {
            "" => Ok(None),
            token => Ok(Some(token)),
        },
        _ => Err(malformed()),
    }
}

fn text(value: &HeaderValue) -> Result<&str, SignalingError> {
    value.to_str().map_err(|_| malformed())
}

fn malformed() -> SignalingError {
    SignalingError::new(SignalingErrorCode::TokenMalformed, "The token must be sent as: Authorization: Bearer TOKEN")
}

fn missing() -> SignalingError {
    let text =
        "A participant token is required, as: Authorization: Bearer TOKEN; a WebSocket may send it as subprotocol";
    SignalingError::new(SignalingErrorCode::TokenMissing, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn headers(sent: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        sent.iter().map(pair).collect()
    }

    fn jwt(payload: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn the_bearer_scheme_is_case_insensitive() {
        for value in ["Bearer t", "bearer t", "BEARER  t "] {
            let credentials = Credentials::of(&headers(&[("authorization", value)])).unwrap();
            assert_eq!((credentials.token.as_str(), credentials.connection_token), ("t", None), "{value}");
        }
    }

    #[test]
    fn a_malformed_token_is_distinguished_from_a_missing_one() {
        let code = |sent: &[(&str, &str)]| Credentials::of(&headers(sent)).unwrap_err().code;
        assert_eq!(code(&[]), SignalingErrorCode::TokenMissing);
        assert_eq!(code(&[("authorization", "Bearer  ")]), SignalingErrorCode::TokenMissing);
        assert_eq!(code(&[("authorization", "Bearer")]), SignalingErrorCode::TokenMalformed);
        assert_eq!(code(&[("authorization", "Basic t")]), SignalingErrorCode::TokenMalformed);
        assert_eq!(
            code(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]),
            SignalingErrorCode::TokenMalformed
        );
    }

    #[test]
    fn subprotocols_are_accepted_in_either_order() {
        let (token, connection) = (jwt(r#"{"resource":"r"}"#), jwt(r#"{"account_id":"1"}"#));
        for offers in [format!("{token}, {connection}"), format!("{connection},{token}")] {
            let headers = headers(&[("sec-websocket-protocol", &offers)]);
            let credentials = Credentials::of_socket(&headers).unwrap();
            assert_eq!((&credentials.token, credentials.connection_token.as_ref()), (&token, Some(&connection)));
            assert_eq!(subprotocol(&headers).unwrap(), token.as_str());
            assert_eq!(format!("{credentials:?}"), "Credentials(***)");
        }
        let both = headers(&[("sec-websocket-protocol", &connection), ("authorization", "Bearer t")]);
        assert_eq!(Credentials::of_socket(&both).unwrap().token, "t");
        assert_eq!(subprotocol(&both).unwrap(), connection.as_str());
        assert_eq!(subprotocol(&headers(&[])), None);
    }
}
