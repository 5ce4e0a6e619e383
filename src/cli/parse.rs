//! Parses arguments, environment variables and the configuration file into a command. Flags override variables, variables
//! override the file, and the file overrides defaults.

use super::args::{Cli, Command, ConfigCommand, VersionArgs};
use super::config::file::{self, FileSetting};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Why no command is run.
#[derive(Debug)]
pub(super) enum Stop {
    /// Help, requested or because a subcommand is missing.
    Help(clap::Error),
    /// An error in command line, environment or configuration file: one line.
    Usage(String),
}

/// An effective setting of a server.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The flag without dashes.
    pub name: String,
    pub group: String,
    /// The raw value, secrets included; `None` without value and default.
    pub value: Option<String>,
    pub is_number: bool,
    pub is_secret: bool,
    pub source: Source,
}

/// Where a setting comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Flag,
    Variable(String),
    File(PathBuf, usize),
    Default,
}

/// All commands with their flags.
pub(super) fn command() -> clap::Command {
    with_config_flag(Cli::command())
}

/// Adds `--config` to commands that have server settings.
fn with_config_flag(mut command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, with_config_flag);
    }
    if !command.get_arguments().any(|arg| ["database_url", "listen"].contains(&arg.get_id().as_str())) {
        return command;
    }
    let help = "Configuration file, TOML: the names of flags as keys; flags and variables take precedence";
    let arg = Arg::new("config").long("config").env("GREENROOM_CONFIG").value_name("FILE").help(help);
    command.arg(arg.help_heading(None::<&'static str>))
}

/// Parses the arguments of the process, including the program name. Empty environment variables count as unset, as compose
/// files and unit files set them.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let root = command();
    let line = CommandLine::arrange(&root, args.into_iter().skip(1).collect());
    let from_file = line.file_settings(&root).map_err(|error| Stop::Usage(format!("{error} ({})", line.hint())))?;
    let injected = from_file.iter().map(|setting| OsString::from(format!("--{}={}", setting.name, setting.value)));
    let path = line.path.iter().map(OsString::from);
    let argv: Vec<OsString> =
        ["greenroom".into()].into_iter().chain(path).chain(injected).chain(line.tokens.iter().cloned()).collect();
    let mut command = without_empty_variables(root.clone());
    let parsed = command.try_get_matches_from_mut(&argv);
    let parsed = parsed.and_then(|found| Ok((Cli::from_arg_matches(&found)?, found)));
    let (cli, found) = parsed.map_err(|error| stop_of(error.format(&mut command), &root, &line, &from_file, &argv))?;
    let Some(mut command) = cli.command else {
        return Ok(Command::Version(VersionArgs { verbose: cli.verbose }));
    };
    if let (Command::Config(ConfigCommand::Check(args)), Some(found)) = (&mut command, check_matches(&found)) {
        args.settings = settings(&root, found, &from_file);
    }
    Ok(command)
}

fn check_matches(found: &ArgMatches) -> Option<&ArgMatches> {
    found.subcommand_matches("config")?.subcommand_matches("check")
}

/// Arguments, separated into command names and others.
#[derive(Debug)]
struct CommandLine {
    path: Vec<String>,
    /// Flags and other arguments of the command that `path` names.
    tokens: Vec<OsString>,
}

impl CommandLine {
    /// Moves flags that precede their command's name behind it. The default command is `serve`.
    fn arrange(root: &clap::Command, args: Vec<OsString>) -> Self {
        let (mut command, mut path, mut tokens) = (root, Vec::new(), Vec::new());
        let mut args = args.into_iter().peekable();
        let mut is_unknown = false;
        while command.has_subcommands() {
            let Some(token) = args.next() else { break };
            if let Some(next) = command.find_subcommand(&token) {
                path.push(next.get_name().to_owned());
                command = next;
                continue;
            }
            if !token.as_encoded_bytes().starts_with(b"-") {
                // An unknown command; in front of the flags, clap reports it.
                tokens.insert(0, token);
                is_unknown = true;
                break;
            }
            let takes_value = takes_value(command, &token);
            tokens.push(token);
            // Values can be optional, so an argument that looks like a flag is not a value.
            let is_value = |next: &OsString| !looks_like_flag(next) && command.find_subcommand(next).is_none();
            if takes_value && args.peek().is_some_and(is_value) {
                tokens.extend(args.next());
            }
        }
        tokens.extend(args);
        if path.is_empty() && !is_unknown {
            let of_root: Vec<_> = tokens.iter().filter(|token| is_root_flag(token)).cloned().collect();
            if of_root.is_empty() {
                path.push("serve".into());
            } else {
                tokens = of_root;
            }
        }
        CommandLine { path, tokens }
    }

    /// The command of the arguments.
    fn command<'a>(&self, root: &'a clap::Command) -> &'a clap::Command {
        self.path.iter().try_fold(root, |command, name| command.find_subcommand(name)).unwrap_or(root)
    }

    /// Whether a flag is among the arguments.
    fn has(&self, name: &str) -> bool {
        self.tokens.iter().any(|token| is_flag(token, name))
    }

    /// Settings of the command in the configuration file that no flag or variable overrides.
    fn file_settings(&self, root: &clap::Command) -> Result<Vec<FileSetting>, String> {
        let command = self.command(root);
        let Some(path) = self.config_file(command) else { return Ok(Vec::new()) };
        let serve = root.find_subcommand("serve").expect("serve exists");
        let mut settings = file::read(&path, serve)?;
        settings.retain(|setting| {
            let arg = command.get_arguments().find(|arg| arg.get_long() == Some(&setting.name));
            arg.is_some_and(|arg| !self.has(&setting.name) && variable(arg).is_none())
        });
        Ok(settings)
    }

    fn config_file(&self, command: &clap::Command) -> Option<PathBuf> {
        let arg = command.get_arguments().find(|arg| arg.get_id() == "config")?;
        let at = self.tokens.iter().position(|token| is_flag(token, "config"));
        let Some(at) = at else { return variable(arg).map(PathBuf::from) };
        match self.tokens[at].to_str().and_then(|token| token.split_once('=')) {
            Some((_, path)) => Some(path.into()),
            // A missing value is reported by clap.
            None => self.tokens.get(at + 1).map(PathBuf::from),
        }
    }

    /// The hint at the command's help.
    fn hint(&self) -> String {
        let path: String = self.path.iter().map(|name| format!("{name} ")).collect();
        format!("see greenroom {path}--help")
    }
}

/// Whether an argument is a flag by its form; `-` alone is a value.
fn looks_like_flag(token: &OsStr) -> bool {
    token.len() > 1 && token.as_encoded_bytes().starts_with(b"-")
}

/// The value of an argument's variable, if it is set and not empty.
fn variable(arg: &Arg) -> Option<OsString> {
    std::env::var_os(arg.get_env()?).filter(|value| !value.is_empty())
}

fn is_flag(token: &OsStr, name: &str) -> bool {
    let flag = token.to_str().and_then(|token| token.strip_prefix("--"));
    flag.is_some_and(|flag| flag.split('=').next() == Some(name))
}

/// Whether a flag belongs to the root command. Short flags can be combined: `-Vv`.
fn is_root_flag(token: &OsStr) -> bool {
    let short = |text: &str| text.len() > 1 && text[1..].chars().all(|c| "hVv".contains(c));
    token.to_str().is_some_and(|text| ["--help", "--version", "--verbose"].contains(&text) || short(text))
}

/// Whether a flag of the command or its subcommands takes a value. Unknown, probably misspelt flags count as such.
fn takes_value(command: &clap::Command, token: &OsStr) -> bool {
    let Some(name) = token.to_str().and_then(|token| token.strip_prefix("--")) else { return false };
    let mut known = Vec::new();
    collect(command, name, &mut known);
    !name.contains('=') && !is_root_flag(token) && (known.is_empty() || known.contains(&true))
}

/// Collects, for each command with this flag, whether it takes a value.
fn collect(command: &clap::Command, flag: &str, found: &mut Vec<bool>) {
    let own = command.get_arguments().filter(|arg| arg.get_long() == Some(flag));
    found.extend(own.map(|arg| arg.get_action().takes_values()));
    command.get_subcommands().for_each(|command| collect(command, flag, found));
}

fn without_empty_variables(mut command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, without_empty_variables);
    }
    command.mut_args(|arg| if variable(&arg).is_none() { arg.env(None::<&'static str>) } else { arg })
}

/// The settings of a server, in the order of their groups.
fn settings(root: &clap::Command, found: &ArgMatches, from_file: &[FileSetting]) -> Vec<Setting> {
    let serve = root.find_subcommand("serve").expect("serve exists");
    let flags = serve.get_arguments().filter(|arg| arg.get_help_heading().is_some());
    let mut settings: Vec<Setting> = flags
        .map(|arg| {
            let (id, name) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
            let in_file = from_file.iter().find(|setting| setting.name == name);
            let values = found.get_raw(id).map(|values| values.map(OsStr::to_string_lossy).collect::<Vec<_>>());
            let source = match (found.value_source(id), in_file) {
                (Some(ValueSource::CommandLine), Some(setting)) => Source::File(setting.path.clone(), setting.line),
                (Some(ValueSource::CommandLine), None) => Source::Flag,
                (Some(ValueSource::EnvVariable), _) => {
                    Source::Variable(arg.get_env().unwrap_or_default().to_string_lossy().into_owned())
                }
                _ => Source::Default,
            };
            Setting {
                name: name.to_owned(),
                group: arg.get_help_heading().unwrap_or_default().to_owned(),
                value: values.map(|values| values.join(",")).filter(|value| !value.is_empty()),
                is_number: file::is_number(arg),
                is_secret: arg.is_hide_env_values_set(),
                source,
            }
        })
        .collect();
    let order: Vec<String> = settings.iter().map(|setting| setting.group.clone()).collect();
    settings.sort_by_key(|setting| order.iter().position(|group| *group == setting.group));
    settings
}

/// Converts a parse error to the output.
fn stop_of(
    error: clap::Error,
    root: &clap::Command,
    line: &CommandLine,
    from_file: &[FileSetting],
    argv: &[OsString],
) -> Stop {
    match error.kind() {
        // The help shows all variables, including unset ones.
        ErrorKind::DisplayHelp => {
            let full = root.clone().try_get_matches_from(argv).err();
            Stop::Help(full.filter(|full| full.kind() == ErrorKind::DisplayHelp).unwrap_or(error))
        }
        ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Stop::Help(error),
        _ => {
            let origin = origin(&error, root, line, from_file).map(|origin| format!("{origin}: ")).unwrap_or_default();
            let suggestion = suggestion(&error, root).map(|suggestion| format!("; {suggestion}")).unwrap_or_default();
            Stop::Usage(format!("{origin}{}{suggestion} ({})", one_line(&error), line.hint()))
        }
    }
}

/// The source of a rejected value, unless it is a flag.
fn origin(error: &clap::Error, root: &clap::Command, line: &CommandLine, from_file: &[FileSetting]) -> Option<String> {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return None };
    let name = arg.split_whitespace().next()?.strip_prefix("--")?;
    if let Some(setting) = from_file.iter().find(|setting| setting.name == name) {
        return Some(format!("{}:{}", setting.path.display(), setting.line));
    }
    let arg = line.command(root).get_arguments().find(|arg| arg.get_long() == Some(name))?;
    variable(arg).filter(|_| !line.has(name))?;
    Some(arg.get_env()?.to_string_lossy().into_owned())
}

/// A suggestion for an unknown flag, command or value.
fn suggestion(error: &clap::Error, root: &clap::Command) -> Option<String> {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
    {
        let owners = owners(root, flag.strip_prefix("--")?, "greenroom");
        match owners.as_slice() {
            [] => {}
            [one] => return Some(format!("it is a flag of {one}")),
            [first, ..] => return Some(format!("it is a flag of {first} and other commands")),
        }
    }
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(format!("did you mean '{meant}'?")),
        ContextValue::Strings(meant) => Some(format!("did you mean '{}'?", meant.first()?)),
        _ => None,
    })
}

/// The commands that have a flag.
fn owners(command: &clap::Command, flag: &str, path: &str) -> Vec<String> {
    let own = command.get_arguments().any(|arg| arg.get_long() == Some(flag)).then(|| path.to_owned());
    let below =
        command.get_subcommands().flat_map(|command| owners(command, flag, &format!("{path} {}", command.get_name())));
    own.into_iter().chain(below).collect()
}

/// The message of a parse error in one line, with credentials of a rejected URL redacted.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if value.contains('@') => text.replace(value.as_str(), &redacted(value)),
        _ => text,
    };
    let line = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

/// A URL with its credentials redacted.
fn redacted(value: &str) -> String {
    let (before, host) = value.rsplit_once('@').unwrap_or(("", value));
    let scheme = before.split_inclusive([':', '/']).next().unwrap_or_default();
    let scheme = if scheme.len() < before.len() { scheme } else { "" };
    format!("{scheme}***@{host}")
}

/// The most similar known name, if it is similar enough.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::jaro(name, known), known));
    // The threshold of clap's suggestions.
    scored.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// Path and line in messages.
pub(super) fn at(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(args: &str) -> String {
        let line = CommandLine::arrange(&command(), args.split_whitespace().map(OsString::from).collect());
        let tokens: Vec<_> = line.tokens.iter().map(|token| token.to_string_lossy()).collect();
        format!("{} | {}", line.path.join(" "), tokens.join(" "))
    }

    fn line(args: &[&str]) -> String {
        match parse(["greenroom"].iter().chain(args).map(OsString::from)) {
            Err(Stop::Usage(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_are_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn flags_precede_or_follow_their_command() {
        for (args, expected) in [
            ("", "serve | "),
            ("--listen 1 --audit", "serve | --listen 1 --audit"),
            ("--listen=1 serve", "serve | --listen=1"),
            ("--audit --events-config x", "serve | --audit --events-config x"),
            ("--token - join", "join | --token -"),
            ("--database-url x keys --output json list", "keys list | --database-url x --output json"),
            ("keys rotate --database-url x", "keys rotate | --database-url x"),
            ("--audit migrate", "migrate | --audit"),
            ("--help", " | --help"),
            ("--listen 1 --version", " | --version"),
            ("-Vv", " | -Vv"),
            ("--help keys", "keys | --help"),
            ("help join", " | help join"),
            ("--listen 1 foo", " | foo --listen 1"),
            ("events check FILE --output json", "events check | FILE --output json"),
        ] {
            assert_eq!(arranged(args), expected, "{args}");
        }
    }

    #[test]
    fn errors_have_a_suggestion_and_name_the_help_of_the_command() {
        for (args, expected) in [
            (&["--lisen", "1"][..], "did you mean '--listen'? (see greenroom serve --help)"),
            (&["migrat"], "did you mean 'migrate'? (see greenroom --help)"),
            (&["keys", "lst"], "did you mean 'list'? (see greenroom keys --help)"),
            (
                &["join", "--token", "x", "--listen", "1"],
                "it is a flag of greenroom serve and other commands (see greenroom join --help)",
            ),
            (&["--publishers", "1"], "it is a flag of greenroom load (see greenroom serve --help)"),
            (&["--metrics", "of"], "did you mean 'off'? (see greenroom serve --help)"),
        ] {
            let line = line(args);
            assert!(line.ends_with(expected), "{line}");
        }
    }

    #[test]
    fn errors_contain_no_credentials() {
        for (value, shown) in [
            ("turn:user:secret@turn.example.org x", "turn:***@turn.example.org x"),
            ("postgress://me:secret@db/green", "postgress:***@db/green"),
            ("secret@db", "***@db"),
        ] {
            assert_eq!(redacted(value), shown);
        }
        let line = line(&["--database-url", "mysql://me:secret@db/green"]);
        assert!(line.contains("--database-url") && line.contains("***@db/green"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
}
