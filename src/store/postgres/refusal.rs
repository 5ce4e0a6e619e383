//! Explains connection errors of PostgreSQL to the operator: one sentence that says what to do.

use crate::config::{Secret, Url};
use crate::store::sqlx;
use std::io::ErrorKind;

/// Advice on special characters in a URL.
const ENCODE: &str =
    "write special characters of the password percent-encoded (@ as %40, / as %2F, # as %23, ? as %3F, % as %25)";

/// Checks that a URL is not misread because of special characters in its password.
pub(in crate::store) fn check_url(url: &str) -> Result<(), String> {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let is_address = host.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit());
    let path = path.split('?').next().unwrap_or_default();
    let encoded = |text: &str| {
        let mut parts = text.split('%').skip(1);
        parts.all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
    };
    if is_address && !path.contains(['@', '#']) && encoded(user) {
        return Ok(());
    }
    Err(format!("--database-url is no valid address of PostgreSQL: {ENCODE}"))
}

/// The message of an error, for the operator.
pub(in crate::store) fn explain(url: &Secret, error: &sqlx::Error) -> String {
    let place = Url::Postgres(url.clone());
    let problem = match error {
        sqlx::Error::Io(error) => unreachable_because(error),
        sqlx::Error::Database(error) => refused_because(&error.code().unwrap_or_default(), error.message()),
        sqlx::Error::Configuration(_) => format!("the address is not valid; {ENCODE}"),
        sqlx::Error::PoolTimedOut => {
            "it did not answer within --database-acquire-ms; check that the address is right and not behind a firewall"
                .into()
        }
        sqlx::Error::Tls(error) => format!("TLS failed ({error}); check sslmode and sslrootcert in --database-url"),
        other => other.to_string(),
    };
    format!("cannot use {place}: {problem}")
}

fn unreachable_because(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens there; start PostgreSQL, or correct host and port in --database-url".into()
        }
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "the host does not answer; correct --database-url, or let the firewall pass".into()
        }
        ErrorKind::NotFound => "there is no such socket; correct the host in --database-url".into(),
        _ if error.to_string().contains("lookup") => {
            format!("the name of the host is not known; correct it in --database-url, and {ENCODE}")
        }
        _ => format!("the connection failed ({error}); check --database-url"),
    }
}

/// Error codes are those of PostgreSQL's appendix A.
fn refused_because(code: &str, message: &str) -> String {
    match code {
        "28P01" => format!("it refuses the user or the password; correct them in --database-url, and {ENCODE}"),
        "28000" => format!("it lets this user not in ({message}); check pg_hba.conf and the user in --database-url"),
        "3D000" => "there is no such database; create it (createdb), or correct its name in --database-url".into(),
        "42501" => format!("the user lacks a right ({message}); grant it, or name another user in --database-url"),
        "53300" => "it has no free connection; raise max_connections, or lower --database-connections".into(),
        "57P03" => "it is starting or stopping; try again".into(),
        _ if message.contains("unsupported startup parameter") => {
            format!("{message}: this is a pooler; for one in transaction mode, set --database-pooler=transaction")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_a_password_has_made_another_one_is_refused_without_repeating_it() {
        for good in [
            "postgres://db/green",
            "postgres://me:secret@db:5432/green?sslmode=require",
            "postgres://me%40example.com:p%2Fss%23@db/green",
            "postgresql://me:p@ss@db:5432/green",
            "postgres://me@[::1]:5432/green",
            "postgres://[::1]/green?options=-c%20a=b@c",
            "postgres:///green?host=/var/run/postgresql",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "postgres://me:open/sesame@db/green",
            "postgres://me:open#sesame@db/green",
            "postgres://me:open?sesame@db/green",
            "postgres://me:7/sesame@db/green",
            "postgres://me:100%sesame@db/green",
        ] {
            let text = check_url(bad).unwrap_err();
            assert!(text.contains("%2F") && !text.contains("sesame"), "{text}");
        }
    }
}
