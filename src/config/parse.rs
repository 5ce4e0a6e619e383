//! Parsing of the command line and the environment.

use super::Cli;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, FromArgMatches as _};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

impl Cli {
    /// Parses arguments, of which the first is the program's name. An environment variable with an empty value counts
    /// as unset: compose files and unit files set variables that way.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        let mut command = without_empty_variables(Cli::command());
        let parsed = command.try_get_matches_from_mut(&args).and_then(|found| Cli::from_arg_matches(&found));
        match parsed {
            // The help names every variable, whatever its value.
            Err(error) if error.kind() == ErrorKind::DisplayHelp => Err(Cli::command()
                .try_get_matches_from(args)
                .err()
                .filter(|full| full.kind() == ErrorKind::DisplayHelp)
                .unwrap_or(error)),
            parsed => parsed.map_err(|error| error.format(&mut command)),
        }
    }
}

fn without_empty_variables(mut command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, without_empty_variables);
    }
    command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { arg.env(None::<&'static str>) } else { arg }
    })
}

/// The text of a parse error in one line, without the credentials that a rejected URL may contain.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if value.contains('@') => text.replace(value.as_str(), &redacted(value)),
        _ => text,
    };
    let line = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

/// A URL without what stands before its host.
fn redacted(value: &str) -> String {
    let (before, host) = value.rsplit_once('@').unwrap_or(("", value));
    let scheme = before.split_inclusive([':', '/']).next().unwrap_or_default();
    let scheme = if scheme.len() < before.len() { scheme } else { "" };
    format!("{scheme}***@{host}")
}

/// Reads an address to listen on: `IP:PORT`, or `localhost:PORT` or a port alone for 127.0.0.1.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let local = |port: &str| port.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok();
    let known = text.parse().ok().or_else(|| local(text)).or_else(|| local(text.strip_prefix("localhost:")?));
    known.ok_or_else(|| {
        let port = text.rsplit_once(':').map_or("4600", |(_, port)| port);
        let port = port.parse::<u16>().unwrap_or(4600);
        format!("use IP:PORT, such as 127.0.0.1:{port}, or 0.0.0.0:{port} for every address of this machine")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        for (text, address) in [
            ("127.0.0.1:4600", "127.0.0.1:4600"),
            ("[::1]:4600", "[::1]:4600"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("4600", "127.0.0.1:4600"),
            ("localhost:4600", "127.0.0.1:4600"),
        ] {
            assert_eq!(super::address(text), Ok(address.parse().unwrap()), "{text}");
        }
        for bad in ["", "nowhere", "127.0.0.1", "127.0.0.1:99999", "99999", "localhost", "example.org:4600", ":4600"] {
            let error = super::address(bad).unwrap_err();
            assert!(error.contains("IP:PORT"), "{bad}: {error}");
        }
        assert!(super::address("example.org:81").unwrap_err().contains("0.0.0.0:81"));
    }

    #[test]
    fn errors_show_no_credentials() {
        for (value, shown) in [
            ("turn:user:secret@turn.example.org x", "turn:***@turn.example.org x"),
            ("postgress://me:secret@db/green", "postgress:***@db/green"),
            ("secret@db", "***@db"),
        ] {
            assert_eq!(redacted(value), shown);
        }
        let args = ["greenroom", "--database-url", "mysql://me:secret@db/green"].map(OsString::from);
        let line = one_line(&Cli::read(args).unwrap_err());
        assert!(line.contains("--database-url") && line.contains("***@db/green"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
}
