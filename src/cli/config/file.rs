//! The configuration file: TOML whose keys are the flags of `serve`, at the top level or in the table of their group.

use super::super::parse::{at, nearest};
use clap::Arg;
use std::any::TypeId;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A setting in the file, as a flag value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct FileSetting {
    /// The flag without its dashes.
    pub name: String,
    pub value: String,
    pub path: PathBuf,
    pub line: usize,
}

/// An error with its line number, counted from 1.
type Failure = (usize, String);

/// Reads a file whose keys are flags of `serve`. The error is one line with path and line number.
pub(in crate::cli) fn read(path: &Path, serve: &clap::Command) -> Result<Vec<FileSetting>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let settings = parse(&text, serve).map_err(|(line, error)| format!("{}: {error}", at(path, line)))?;
    let setting = |(name, value, line)| FileSetting { name, value, path: path.to_owned(), line };
    Ok(settings.into_iter().map(setting).collect())
}

/// Names, values and lines.
fn parse(text: &str, serve: &clap::Command) -> Result<Vec<(String, String, usize)>, Failure> {
    let line = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let document = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        (line(offset), error.message().replace('\n', " "))
    })?;
    let mut settings: Vec<(String, String, usize)> = Vec::new();
    let mut add = |table: Option<&str>, key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>| {
        let (name, line): (&str, _) = (key.get_ref().as_ref(), line(key.span().start));
        let failed = |error: String| (line, error);
        let arg = flag(serve, table, name).map_err(failed)?;
        let value =
            flag_value(arg, value.get_ref()).map_err(|expected| failed(format!("'{name}' takes {expected}")))?;
        if settings.iter().any(|(known, ..)| known == name) {
            return Err(failed(format!("'{name}' is set twice")));
        }
        settings.push((name.to_owned(), value, line));
        Ok(())
    };
    for (key, value) in document.get_ref() {
        match value.get_ref() {
            DeValue::Table(table) if groups(serve).any(|group| group == **key.get_ref()) => {
                for (inner, value) in table {
                    add(Some(key.get_ref().as_ref()), inner, value)?;
                }
            }
            _ => add(None, key, value)?,
        }
    }
    Ok(settings)
}

/// The allowed table names.
fn groups(serve: &clap::Command) -> impl Iterator<Item = String> {
    serve.get_arguments().filter_map(|arg| arg.get_help_heading().map(str::to_lowercase))
}

/// The flag of a key, at the top level or in the table of its group.
fn flag<'a>(serve: &'a clap::Command, table: Option<&str>, name: &str) -> Result<&'a Arg, String> {
    let settings = || serve.get_arguments().filter(|arg| arg.get_help_heading().is_some());
    let Some(arg) = settings().find(|arg| arg.get_long() == Some(name)) else {
        let meant = nearest(name, settings().filter_map(Arg::get_long));
        let meant = meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
        return Err(format!("there is no setting '{name}'{meant}"));
    };
    let group = arg.get_help_heading().unwrap_or_default().to_lowercase();
    match table {
        Some(table) if table != group => Err(format!("'{name}' belongs in [{group}], not in [{table}]")),
        _ => Ok(arg),
    }
}

/// Whether the value of a flag is a number.
pub(in crate::cli) fn is_number(arg: &Arg) -> bool {
    let of = arg.get_value_parser().type_id();
    of == TypeId::of::<u32>() || of == TypeId::of::<u64>()
}

/// Converts a value to the flag's; the error is the expected type.
fn flag_value(arg: &Arg, value: &DeValue<'_>) -> Result<String, String> {
    let choices = arg.get_possible_values();
    let has = |name: &str| choices.iter().any(|choice| choice.get_name() == name);
    let is_switch = has("on") && has("off");
    let is_list = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.contains('…')));
    if is_number(arg) {
        return match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| "a smaller integer".into()),
            _ => Err("an integer".into()),
        };
    }
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(on) if is_switch => Ok(if *on { "on" } else { "off" }.into()),
        DeValue::Array(items) if is_list => {
            let item = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
            let items: Option<Vec<_>> = items.iter().map(item).collect();
            items.map(|items| items.join(",")).ok_or_else(|| "an array of strings".into())
        }
        _ if is_switch => {
            let names: Vec<_> = choices.iter().map(|choice| format!("\"{}\"", choice.get_name())).collect();
            Err(format!("true, false or one of {}", names.join(", ")))
        }
        _ if is_list => Err("a string or an array of strings".into()),
        _ => Err("a string".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, usize)>, Failure> {
        let root = super::super::super::parse::command();
        parse(text, root.find_subcommand("serve").unwrap())
    }

    #[test]
    fn keys_are_flags_at_the_top_level_or_in_the_table_of_their_group() {
        let mut settings = read(
            "listen = \"0.0.0.0:4600\"\nmax-connections = 1_000\n\n[security]\ndev-credentials = false\n[media]\n\
             media-public-ip = [\"192.0.2.1\", \"192.0.2.2\"]\n[telemetry]\nmetrics = \"on\"\n",
        )
        .unwrap();
        settings.sort_by_key(|(.., line)| *line);
        let found: Vec<_> = settings.iter().map(|(name, value, line)| (name.as_str(), value.as_str(), *line)).collect();
        let expected = [
            ("listen", "0.0.0.0:4600", 1),
            ("max-connections", "1000", 2),
            ("dev-credentials", "off", 5),
            ("media-public-ip", "192.0.2.1,192.0.2.2", 7),
            ("metrics", "on", 9),
        ];
        assert_eq!(found, expected);
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn errors_have_a_line_and_a_suggestion() {
        for (text, line, error) in [
            ("\nlisten-adress = 1", 2, "there is no setting 'listen-adress'; did you mean 'listen'?"),
            ("zzz = 1", 1, "there is no setting 'zzz'"),
            ("config = \"x\"", 1, "there is no setting 'config'"),
            ("listen = 4600", 1, "'listen' takes a string"),
            ("max-connections = \"8\"", 1, "'max-connections' takes an integer"),
            ("max-connections = true", 1, "'max-connections' takes an integer"),
            ("audit = 1", 1, "'audit' takes true, false or one of \"on\", \"off\""),
            ("ice-servers = [1]", 1, "'ice-servers' takes an array of strings"),
            ("[network]\nmetrics = true", 2, "'metrics' belongs in [telemetry], not in [network]"),
            ("listen = \"1\"\n[network]\nlisten = \"2\"", 3, "'listen' is set twice"),
        ] {
            let (at, found) = read(text).unwrap_err();
            assert!((at, &found[..error.len().min(found.len())]) == (line, error), "{text}: {at}: {found}");
        }
        assert_eq!(read("a = 1\nlisten = ").unwrap_err().0, 2);
    }
}
