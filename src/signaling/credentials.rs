//! The tokens of a request: where they stand, and which of them is which. A token never stands in an address, and is
//! never written to the log.

use crate::app::App;
use crate::app::admission::{self, Purpose, is_of_connection};
use crate::domain::admission::{SignalingError, SignalingErrorCode, VerifiedToken};
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// Where a connection token stands that comes with a bearer token.
const CONNECTION_TOKEN: HeaderName = HeaderName::from_static("greenroom-connection-token");
/// Most subprotocols that are looked at.
const OFFERED: usize = 8;

/// What somebody shows at the door.
#[derive(Clone)]
pub struct Credentials {
    /// The participant token.
    token: String,
    /// The connection token that comes with it.
    connection: Option<String>,
}

/// Neither token is shown.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Credentials {
    /// Those in the headers of a request.
    pub fn of(headers: &HeaderMap) -> Result<Credentials, SignalingError> {
        let token = bearer(headers)?.ok_or_else(missing)?.to_owned();
        let connection = headers.get(CONNECTION_TOKEN).map(text).transpose()?.map(str::to_owned);
        Ok(Credentials { token, connection })
    }

    /// Those of a WebSocket, which a browser can only offer as subprotocols; any other client may send them as it would
    /// with a request.
    pub fn of_socket(headers: &HeaderMap) -> Result<Credentials, SignalingError> {
        let (mut token, mut connection) = (None, None);
        for offer in offered(headers) {
            let place = if is_of_connection(offer) { &mut connection } else { &mut token };
            place.get_or_insert_with(|| offer.to_owned());
        }
        if token.is_none() && connection.is_none() {
            return Credentials::of(headers);
        }
        let token = match token {
            Some(token) => token,
            None => bearer(headers)?.ok_or_else(missing)?.to_owned(),
        };
        Ok(Credentials { token, connection })
    }

    /// Checks the tokens for a purpose.
    pub async fn admit(&self, app: &Arc<App>, purpose: Purpose) -> Result<VerifiedToken, SignalingError> {
        let mut ticket = admission::admit(app, &self.token, purpose).await?;
        if let Some(token) = &self.connection {
            admission::admit_connection(app, &mut ticket, token).await?;
        }
        Ok(ticket)
    }

    /// Takes the place of the participant token, after an exchange.
    pub fn exchange(&mut self, token: String) {
        self.token = token;
    }
}

/// The subprotocol to answer with: the participant token if one is offered, as browsers want one that they have offered.
pub fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let echoed = offered(headers).find(|offer| !is_of_connection(offer)).or_else(|| offered(headers).next())?;
    HeaderValue::from_str(echoed).ok()
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|offer| !offer.is_empty()).take(OFFERED)
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
        "A participant token is needed, as: Authorization: Bearer TOKEN; a WebSocket may offer it as subprotocol";
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
    fn a_bearer_token_is_taken_whatever_the_case_of_its_scheme() {
        for value in ["Bearer t", "bearer t", "BEARER  t "] {
            let credentials = Credentials::of(&headers(&[("authorization", value)])).unwrap();
            assert_eq!((credentials.token.as_str(), credentials.connection), ("t", None), "{value}");
        }
    }

    #[test]
    fn what_is_no_bearer_token_is_told_from_none() {
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
    fn subprotocols_are_told_apart_in_either_order() {
        let (token, connection) = (jwt(r#"{"resource":"r"}"#), jwt(r#"{"account_id":"1"}"#));
        for offers in [format!("{token}, {connection}"), format!("{connection},{token}")] {
            let headers = headers(&[("sec-websocket-protocol", &offers)]);
            let credentials = Credentials::of_socket(&headers).unwrap();
            assert_eq!((&credentials.token, credentials.connection.as_ref()), (&token, Some(&connection)));
            assert_eq!(subprotocol(&headers).unwrap(), token.as_str());
            assert_eq!(format!("{credentials:?}"), "Credentials(***)");
        }
        let both = headers(&[("sec-websocket-protocol", &connection), ("authorization", "Bearer t")]);
        assert_eq!(Credentials::of_socket(&both).unwrap().token, "t");
        assert_eq!(subprotocol(&both).unwrap(), connection.as_str());
        assert_eq!(subprotocol(&headers(&[])), None);
    }
}
