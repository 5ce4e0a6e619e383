//! `greenroom config check`: validates settings, and shows where each comes from.

pub(super) mod file;

use super::args::{ConfigCommand, Output};
use super::error::CommandError;
use super::parse::{self, Setting, Source, at, nearest};
use crate::config::{IceServer, Url};
use crate::server;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const HIDDEN: &str = "***";
/// Variables that Kubernetes sets for a service named greenroom.
const KUBERNETES: [&str; 2] = ["GREENROOM_PORT", "GREENROOM_SERVICE_"];

pub(super) fn run(command: ConfigCommand) -> Result<String, CommandError> {
    let ConfigCommand::Check(args) = command;
    for (name, meant) in unknown_variables() {
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        eprintln!("greenroom: warning: no setting has the variable {name}{meant}");
    }
    server::validate(&args.serve)?;
    Ok(match args.output {
        Output::Json => format!("{:#}\n", Value::from(args.settings.iter().map(json).collect::<Vec<_>>())),
        Output::Human => lines(&args.settings),
    })
}

/// Renders settings as a configuration file, with the source of each value.
fn lines(settings: &[Setting]) -> String {
    let (mut text, mut group) = (String::new(), "");
    for setting in settings {
        if setting.group != group {
            let blank = if group.is_empty() { "" } else { "\n" };
            text += &format!("{blank}[{}]\n", setting.group.to_lowercase());
            group = &setting.group;
        }
        let line = match shown(setting) {
            None => format!("# {}", setting.name),
            Some(value) if setting.is_number => format!("{} = {value}", setting.name),
            // A JSON string is a TOML string.
            Some(value) => format!("{} = {}", setting.name, Value::from(value)),
        };
        let source = if setting.value.is_none() { "not set".into() } else { source(setting) };
        text += &format!("{line:<60} # {source}\n");
    }
    text
}

fn json(setting: &Setting) -> Value {
    let value = shown(setting).map(|value| match value.parse::<u64>() {
        Ok(number) if setting.is_number => number.into(),
        _ => Value::from(value),
    });
    let source = setting.value.as_ref().map(|_| source(setting));
    json!({"name": setting.name, "group": setting.group.to_lowercase(), "value": value, "source": source})
}

fn source(setting: &Setting) -> String {
    match &setting.source {
        Source::Flag => format!("--{}", setting.name),
        Source::Variable(name) => name.clone(),
        Source::File(path, line) => at(path, *line),
        Source::Default => "default".into(),
    }
}

/// The value with secrets redacted.
fn shown(setting: &Setting) -> Option<String> {
    let value = setting.value.as_ref()?;
    if !setting.is_secret {
        return Some(value.clone());
    }
    let url = |text: &str| text.parse::<Url>().map_or_else(|_| HIDDEN.into(), |url| url.to_string());
    let server =
        |text: &str| text.parse::<IceServer>().map_or_else(|_| HIDDEN.into(), |server| server.url().to_owned());
    Some(match setting.name.as_str() {
        "database-url" => url(value),
        "database-listen-url" if value == "off" => value.clone(),
        "database-listen-url" => url(value),
        "ice-servers" => value.split(',').map(server).collect::<Vec<String>>().join(","),
        _ => HIDDEN.into(),
    })
}

/// Unknown `GREENROOM_` variables, with a suggestion.
fn unknown_variables() -> Vec<(String, Option<String>)> {
    let known = variables(&parse::command());
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown = names.filter(|name| {
        name.starts_with("GREENROOM_")
            && !known.contains(name)
            && !KUBERNETES.iter().any(|prefix| name.starts_with(prefix))
    });
    unknown
        .map(|name| (nearest(&name, known.iter().map(String::as_str)).map(str::to_owned), name))
        .map(|(meant, name)| (name, meant))
        .collect()
}

fn variables(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}
