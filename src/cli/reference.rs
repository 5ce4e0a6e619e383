//! Output generated from the command definitions: completion scripts, man pages, the flag reference.

use super::args::{DocsCommand, Shell};
use super::error::CommandError;
use super::parse;
use clap::{Arg, Command};
use std::fmt::Write as _;
use std::path::Path;

const NAME: &str = "greenroom";

pub(super) fn completions(shell: Shell) -> Result<String, CommandError> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut parse::command(), NAME, &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Writes `greenroom.1`, `greenroom-serve.1` and so on.
pub(super) fn man(folder: &Path) -> Result<String, CommandError> {
    let write = || {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(parse::command().version(super::version::VERSION), folder)
    };
    write().map(|()| String::new()).map_err(|error| CommandError::ManPages(folder.to_owned(), error))
}

pub(super) fn docs(command: DocsCommand) -> Result<String, CommandError> {
    let DocsCommand::Flags = command;
    let root = parse::command();
    let mut text = "\
# Command-line reference

<!-- Made by `greenroom docs flags`; a test compares the two. -->

`greenroom` alone is `greenroom serve`. Flags can precede or follow the name of their command. A flag takes precedence over its
environment variable, the variable over the file of `--config`, and the file over the default; an empty variable counts as unset.
"
    .to_owned();
    let serve = root.find_subcommand("serve").expect("serve exists");
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        section(&mut text, serve, command, NAME);
    }
    Ok(text)
}

fn section(text: &mut String, serve: &Command, command: &Command, path: &str) {
    let path = format!("{path} {}", command.get_name());
    if command.has_subcommands() {
        return command.get_subcommands().for_each(|command| section(text, serve, command, &path));
    }
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let positionals: String = command.get_positionals().map(|arg| format!(" {}", value_name(arg))).collect();
    let _ = write!(text, "\n## {path}\n\n{}.\n", about.trim_end_matches('.'));
    if !positionals.is_empty() {
        let _ = write!(text, "\n```text\n{path}{positionals} [OPTIONS]\n```\n");
    }
    let is_shared = |arg: &Arg| {
        let same = |other: &Arg| other.get_long() == arg.get_long() && other.get_env() == arg.get_env();
        command.get_name() != serve.get_name() && serve.get_arguments().any(same)
    };
    let (shared, own): (Vec<_>, Vec<_>) = command.get_opts().partition(|arg| is_shared(arg));
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &own {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            let _ = write!(text, "\n### {heading}\n");
        }
        text.push_str("\n| flag | variable | default | meaning |\n|---|---|---|---|\n");
        own.iter().filter(|arg| arg.get_help_heading() == heading).for_each(|arg| row(text, arg));
    }
    // Settings shared with `serve` are not repeated.
    if shared.len() > 40 {
        text.push_str("\nAll flags of [`greenroom serve`](#greenroom-serve).\n");
    } else if !shared.is_empty() {
        let names: Vec<_> = shared.iter().map(|arg| format!("`--{}`", arg.get_long().unwrap_or_default())).collect();
        let _ = write!(text, "\nAs for [`greenroom serve`](#greenroom-serve): {}.\n", names.join(", "));
    }
}

/// The table row of a flag.
fn row(text: &mut String, arg: &Arg) {
    let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let long = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
    // A default without a fixed value is at the end of the first line.
    let (short, described) = match short.split_once(" (default") {
        Some((short, default)) => {
            (short.to_owned(), default.trim_end_matches(')').trim_start_matches([':', ' ']).to_owned())
        }
        None => (short, String::new()),
    };
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let takes_value = arg.get_action().takes_values();
    let default = match values.as_slice() {
        _ if !described.is_empty() => described,
        [] => String::new(),
        _ if !takes_value || arg.is_hide_default_value_set() => String::new(),
        values => format!("`{}`", values.join(",")),
    };
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let rest = long.split_once("\n\n").map(|(_, rest)| format!(". {}", rest.replace('\n', " "))).unwrap_or_default();
    let meaning = format!("{short}{}", rest.trim_end_matches('.')).replace('|', "\\|");
    let _ = writeln!(text, "| `--{}` | {variable} | {default} | {meaning} |", arg.get_long().unwrap_or_default());
}

fn value_name(arg: &Arg) -> String {
    let name = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    name.unwrap_or_else(|| arg.get_id().as_str().to_uppercase())
}
