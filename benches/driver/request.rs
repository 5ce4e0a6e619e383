//! Signed requests as bytes.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

/// The target of requests, and the credentials.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// Address of the server
    #[arg(long, value_name = "ADDRESS")]
    pub target: SocketAddr,
    /// Access key id of the signatures
    #[arg(long, default_value = "test", value_name = "ID")]
    pub access_key_id: String,
    /// Its secret access key
    #[arg(long, default_value = "test", value_name = "SECRET")]
    pub secret_access_key: String,
    /// Region of the signatures
    #[arg(long, default_value = "us-east-1", value_name = "REGION")]
    pub region: String,
}

impl Target {
    /// A complete request, signed now: valid for the clock skew that is allowed, five minutes.
    #[expect(clippy::disallowed_methods, reason = "a client signs with the time that it has")]
    pub fn signed(&self, path: &str, body: &str) -> Result<Vec<u8>, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{path}: {error}");
        let identity = Credentials::new(&self.access_key_id, &self.secret_access_key, None, None, "driver").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ivs")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| wrong(&error))?
            .into();
        let host = self.target.to_string();
        let headers = [("host", host.as_str()), ("content-type", "application/json")];
        let uri = format!("http://{host}{path}");
        let signable = SignableBody::Bytes(body.as_bytes());
        let signable =
            SignableRequest::new("POST", uri, headers.into_iter(), signable).map_err(|error| wrong(&error))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| wrong(&error))?.into_parts();
        let mut text = format!("POST {path} HTTP/1.1\r\n");
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
        Ok(text.into_bytes())
    }
}
