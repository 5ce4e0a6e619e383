//! URLs of publications.

use crate::ClientOptions;
use std::fmt;
use std::net::Ipv6Addr;

const MAX_LENGTH: usize = 4_096;

/// What is wrong with a URL. It does not repeat the URL, which has a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("the URL begins with neither rtmp:// nor rtmps://")]
    Scheme,
    #[error("the URL or the stream key is longer than {MAX_LENGTH} bytes")]
    Length,
    #[error("the URL or the stream key has spaces or control characters")]
    Characters,
    #[error("the URL has a user name; only stream keys are supported")]
    UserName,
    #[error("the URL has no valid host; IPv6 addresses are written in brackets")]
    Host,
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
    #[error("the URL has no application: rtmp://HOST/APPLICATION/KEY")]
    App,
    #[error("there is no stream key: the URL's last part, rtmp://HOST/APPLICATION/KEY, or given apart")]
    StreamKey,
}

/// Where to publish: `rtmp://host[:port]/app/KEY` or `rtmps://…`. Its `Debug` and `Display` forms show neither the stream key nor a query.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishUrl {
    is_secure: bool,
    /// Host and port as they were written.
    authority: String,
    host: String,
    port: u16,
    /// With its query.
    app: String,
    stream_key: String,
}

impl PublishUrl {
    /// Parses a URL whose last part, query included, is the stream key.
    pub fn parse(url: &str) -> Result<PublishUrl, UrlError> {
        PublishUrl::split(url, None)
    }

    /// Parses a URL without stream key, as services show them: `rtmps://host:443/app/`.
    pub fn with_key(url: &str, stream_key: &str) -> Result<PublishUrl, UrlError> {
        PublishUrl::split(url, Some(stream_key))
    }

    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The options of a connection to this URL.
    pub fn options(&self, flash_version: &str) -> ClientOptions {
        ClientOptions {
            app: self.app.clone(),
            tc_url: format!("{}://{}/{}", self.scheme(), self.authority, self.app),
            stream_key: self.stream_key.clone(),
            flash_version: flash_version.to_owned(),
        }
    }

    fn split(url: &str, stream_key: Option<&str>) -> Result<PublishUrl, UrlError> {
        let texts = [url, stream_key.unwrap_or_default()];
        if texts.iter().any(|text| text.len() > MAX_LENGTH) {
            return Err(UrlError::Length);
        }
        if texts.iter().any(|text| text.contains(|character: char| character.is_whitespace() || character.is_control()))
        {
            return Err(UrlError::Characters);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(UrlError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = split_authority(authority)?;
        let (app, stream_key) = match stream_key {
            Some(key) => (path, key),
            None => split_path(path),
        };
        let app = app.trim_start_matches('/');
        // A query may end with a slash.
        let app = if app.contains('?') { app } else { app.trim_end_matches('/') };
        if app.is_empty() || app.starts_with(['?', '#']) {
            return Err(UrlError::App);
        }
        if stream_key.is_empty() {
            return Err(UrlError::StreamKey);
        }
        Ok(PublishUrl {
            is_secure,
            authority: authority.to_owned(),
            host: host.to_owned(),
            port: port.unwrap_or(if is_secure { 443 } else { 1_935 }),
            app: app.to_owned(),
            stream_key: stream_key.to_owned(),
        })
    }

    fn scheme(&self) -> &'static str {
        if self.is_secure { "rtmps" } else { "rtmp" }
    }
}

impl fmt::Display for PublishUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = self.app.split('?').next().unwrap_or_default();
        write!(formatter, "{}://{}/{app}", self.scheme(), self.authority)
    }
}

impl fmt::Debug for PublishUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublishUrl({self})")
    }
}

/// The application, and the last part of a path with the query.
fn split_path(path: &str) -> (&str, &str) {
    let end = path.find('?').unwrap_or(path.len());
    let key = path.get(..end).and_then(|path| path.rfind('/')).map_or(0, |slash| slash + 1);
    path.split_at(key)
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::UserName);
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(UrlError::Host)?) };
        return Ok((host, port.map(parse_port).transpose()?));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || !host.bytes().all(is_valid) || port.is_some_and(|port| port.contains(':')) {
        return Err(UrlError::Host);
    }
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| port != 0 && is_number).ok_or(UrlError::Port)
}
