//! Parsing of the `Authorization` header, and of the headers that belong to it.

use super::{ALGORITHM, CONTENT_SHA256, DATE, SECURITY_TOKEN, SigV4Authorization, incomplete, invalid};
use crate::clock::Timestamp;
use crate::model::fault::{Fault, RejectionKind};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

impl SigV4Authorization {
    /// Parses the authorization of a request. Whether it is right is for [`Self::check_head`], [`Self::check_digest`] and
    /// [`Self::verify`].
    pub fn parse(parts: &Parts) -> Result<SigV4Authorization, Fault> {
        let query = parts.uri.query().unwrap_or_default();
        if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| is_presigned(&name)) {
            return Err(incomplete("Signing by query string is not supported; sign with the Authorization header"));
        }
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        let Some(header) = headers.next() else {
            return Err(Fault::rejected(RejectionKind::MissingAuthenticationToken, "Missing Authentication Token"));
        };
        if headers.next().is_some() {
            return Err(incomplete("There is more than one Authorization header"));
        }
        for text in [parts.uri.path(), query] {
            if percent_encoding::percent_decode_str(text).decode_utf8().is_err() {
                return Err(invalid("The path and the query must be UTF-8"));
            }
        }
        let header = header.to_str().map_err(|_| incomplete("The Authorization header is not plain text"))?;
        let [credential, signed_headers, signature] = fields(header)?;
        // An access key id has no slash.
        let mut scope = credential.split('/');
        let [Some(access_key), Some(day), Some(region), Some(service), Some(terminator), None] =
            [(); 6].map(|()| scope.next())
        else {
            return Err(incomplete("Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request"));
        };
        let (signed_at, date) = signing_time(parts)?;
        let authorization = SigV4Authorization {
            access_key: access_key.to_owned(),
            region: region.to_owned(),
            session_token: one(parts, SECURITY_TOKEN)?.map(ToOwned::to_owned),
            day: day.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
            signed_at,
            date: date.to_owned(),
            signed_headers: signed_headers.to_owned(),
            signature: signature.to_owned(),
        };
        check_signed_headers(signed_headers, parts)?;
        check_content(parts)?;
        Ok(authorization)
    }
}

fn is_presigned(parameter: &str) -> bool {
    ["x-amz-signature", "x-amz-credential", "x-amz-algorithm"].iter().any(|known| parameter.eq_ignore_ascii_case(known))
}

/// `Credential`, `SignedHeaders` and `Signature`: each once, in any order.
fn fields(header: &str) -> Result<[&str; 3], Fault> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let (algorithm, fields) = header.split_once(' ').unwrap_or((header, ""));
    if algorithm == "AWS4-ECDSA-P256-SHA256" {
        return Err(incomplete(format!("Signature Version 4A is not supported; sign with {ALGORITHM}")));
    }
    if algorithm != ALGORITHM {
        return Err(incomplete(format!("The Authorization header must begin with {ALGORITHM}")));
    }
    let mut found = [None; 3];
    for field in fields.split(',').map(str::trim) {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let Some(index) = NAMES.iter().position(|known| *known == name) else {
            return Err(incomplete(
                "The Authorization header has a field that is none of Credential, SignedHeaders and Signature",
            ));
        };
        if found[index].replace(value).is_some() {
            return Err(incomplete(format!("The Authorization header has two fields {name}")));
        }
    }
    for (name, value) in NAMES.iter().zip(found) {
        if value.is_none_or(str::is_empty) {
            return Err(incomplete(format!("The Authorization header requires the field {name}")));
        }
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// The value of a header that may be sent once only.
pub(super) fn one<'a>(parts: &'a Parts, name: &str) -> Result<Option<&'a str>, Fault> {
    let mut values = parts.headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(incomplete(format!("There is more than one header {name}")));
    }
    let text = value.map(|value| value.to_str()).transpose();
    text.map_err(|_| incomplete(format!("The header {name} is not plain text")))
}

/// `X-Amz-Date`, parsed and as it was sent.
fn signing_time(parts: &Parts) -> Result<(Timestamp, &str), Fault> {
    let Some(text) = one(parts, DATE)? else {
        return Err(incomplete("The request requires the header X-Amz-Date"));
    };
    let time = parse_time(text).ok_or_else(|| incomplete("X-Amz-Date must have the form YYYYMMDD'T'HHMMSS'Z'"))?;
    Ok((time, text))
}

/// Parses `20231101T062537Z`, and nothing that is written otherwise. (chrono accepts signs and second 60.)
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let [digits @ .., b'Z'] = text.as_bytes() else { return None };
    let (day, [b'T', time @ ..]) = digits.split_at_checked(8)? else { return None };
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0, |number, digit| Some(number * 10 + u32::from(digit.checked_sub(b'0').filter(|n| *n < 10)?)))
    };
    let date =
        chrono::NaiveDate::from_ymd_opt(number(&day[..4])?.try_into().ok()?, number(&day[4..6])?, number(&day[6..])?)?;
    let [hour, minute, second] = (time.len() == 6).then(|| [&time[..2], &time[2..4], &time[4..]])?.map(number);
    Some(Timestamp(date.and_hms_opt(hour?, minute?, second?)?.and_utc().timestamp_millis()))
}

/// `host` and every `x-amz-*` header that was sent must be signed, and every signed header must have been sent.
fn check_signed_headers(signed_headers: &str, parts: &Parts) -> Result<(), Fault> {
    let signed = || signed_headers.split(';');
    if !signed().is_sorted_by(|a, b| a < b) || signed_headers.contains(|c: char| c.is_ascii_uppercase()) {
        return Err(incomplete("SignedHeaders must be lower-case, sorted, and name each header once"));
    }
    let is_signed = |name: &str| signed().any(|known| known == name);
    if !is_signed("host") {
        return Err(invalid("The header host must be signed"));
    }
    if let Some(name) =
        parts.headers.keys().find(|name| name.as_str().starts_with("x-amz-") && !is_signed(name.as_str()))
    {
        return Err(invalid(format!("The header {name} must be signed")));
    }
    // In HTTP/2 the host is part of the URI.
    let was_sent = |name: &str| parts.headers.contains_key(name) || (name == "host" && parts.uri.authority().is_some());
    match signed().find(|name| !was_sent(name)) {
        Some(name) => Err(invalid(format!("The header {name} is signed but was not sent"))),
        None => Ok(()),
    }
}

/// `X-Amz-Content-Sha256`, if sent, must be a digest.
fn check_content(parts: &Parts) -> Result<(), Fault> {
    match one(parts, CONTENT_SHA256)? {
        Some("UNSIGNED-PAYLOAD") => Err(invalid("UNSIGNED-PAYLOAD is not supported; sign the body")),
        Some(content) if content.starts_with("STREAMING-") => {
            Err(invalid(format!("{content} is not supported; send the body at once and sign it")))
        }
        _ => Ok(()),
    }
}
