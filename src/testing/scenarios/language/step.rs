//! A step: time, participants, action.

use super::words::Words;
use super::{Action, Group, MAX_PARTICIPANTS, MAX_TIME, Step, Who};
use crate::app::MediaKind;
use crate::model::participant::EventErrorCode;
use std::collections::BTreeMap;
use std::time::Duration;

/// Parses what follows `at`. Groups that are named without a number are not known as such yet.
pub fn parse(line: usize, words: &mut Words<'_>) -> Result<Step, String> {
    let at = duration(words.expect("a time, such as 2s,")?)?;
    let who = who(words)?;
    let mut action = action(words)?;
    if matches!(who, Who::Group(_)) && !matches!(action, Action::Join(_)) {
        return Err("only who joins is counted; name the group alone, such as: viewers leave".to_owned());
    }
    let mut over = Duration::ZERO;
    loop {
        if words.take("over") {
            over = duration(words.expect("a time, such as 10s, after over")?)?;
        } else if let Action::Join(attributes) = &mut action
            && words.take("as")
        {
            *attributes = words.json(r#"as: attributes are a JSON object of texts, such as {"role": "host"}"#)?;
        } else {
            return Ok(Step { line, at, over, who, action });
        }
    }
}

fn who(words: &mut Words<'_>) -> Result<Who, String> {
    let word = words.expect("a participant, such as alice, everyone or 10 viewers,")?;
    if word == "everyone" {
        return Ok(Who::Everyone);
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        let count = word.parse().ok().filter(|count| (1..=MAX_PARTICIPANTS).contains(count));
        let count = count.ok_or_else(|| format!("{word}: a group has 1 to {MAX_PARTICIPANTS} participants"))?;
        let name = name(words.expect("the name of the group, such as viewers,")?)?;
        return Ok(Who::Group(Group { name, count }));
    }
    Ok(Who::One(name(word)?))
}

fn name(word: &str) -> Result<String, String> {
    let fits = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fits && (1..=100).contains(&word.len()) && word != "everyone" {
        return Ok(word.to_owned());
    }
    Err(format!("'{word}': a name has 1 to 100 letters, digits, dots, hyphens and underscores"))
}

fn action(words: &mut Words<'_>) -> Result<Action, String> {
    let verb = words.expect("an action, such as joins,")?;
    match verb {
        "joins" | "join" => Ok(Action::Join(BTreeMap::new())),
        "leaves" | "leave" => Ok(Action::Leave),
        "publishes" | "publish" => Ok(Action::Publish),
        "stops" | "stop" => follow(words, verb, &["publishing"]).map(|()| Action::Unpublish),
        "subscribes" | "subscribe" => {
            follow(words, verb, &["to"])?;
            Ok(Action::Subscribe(name(words.expect("the participant to subscribe to")?)?))
        }
        "unsubscribes" | "unsubscribe" => {
            follow(words, verb, &["from"])?;
            Ok(Action::Unsubscribe(name(words.expect("the participant to unsubscribe from")?)?))
        }
        "mutes" | "mute" => kinds(words).map(Action::Mute),
        "unmutes" | "unmute" => kinds(words).map(Action::Unmute),
        "fails" | "fail" => {
            follow(words, verb, &["with"])?;
            code(words.expect("an error code")?).map(Action::Fail)
        }
        "reconnects" | "reconnect" => Ok(Action::Reconnect),
        "exchanges" | "exchange" => {
            let possessive = if words.take("their") { "token" } else { "" };
            match possessive {
                "" => follow(words, verb, &["its", "token"])?,
                _ if words.take("tokens") || words.take("token") => {}
                _ => return Err(format!("{verb}: must be followed by: their tokens")),
            }
            Ok(Action::Exchange)
        }
        _ => Err(format!(
            "'{verb}': an action is joins, leaves, publishes, stops publishing, subscribes to, unsubscribes from, mutes, \
             unmutes, fails with, reconnects or exchanges its token"
        )),
    }
}

/// Takes the words that follow a verb.
fn follow(words: &mut Words<'_>, verb: &str, expected: &[&str]) -> Result<(), String> {
    if expected.iter().all(|word| words.take(word)) {
        return Ok(());
    }
    Err(format!("{verb}: must be followed by: {}", expected.join(" ")))
}

fn kinds(words: &mut Words<'_>) -> Result<Vec<MediaKind>, String> {
    let mut kinds = Vec::new();
    loop {
        kinds.push(match words.next() {
            Some("audio") => MediaKind::Audio,
            Some("video") => MediaKind::Video,
            _ => return Err("what is muted is audio, video, or audio and video".to_owned()),
        });
        if !words.take("and") {
            return Ok(kinds);
        }
    }
}

fn code(word: &str) -> Result<EventErrorCode, String> {
    EventErrorCode::parse(word).ok_or_else(|| {
        let codes: Vec<_> = EventErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        format!("'{word}': an error code is one of {}", codes.join(", "))
    })
}

/// A time such as `1.5s`, `250ms`, `5m` or `1h`.
fn duration(word: &str) -> Result<Duration, String> {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &word[..word.len() - unit.len()];
    let millis = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        _ => return Err(format!("'{word}': a time is a number and ms, s, m or h, such as 1.5s")),
    };
    let time = number.parse::<f64>().ok().and_then(|number| Duration::try_from_secs_f64(number * millis / 1e3).ok());
    match time {
        None => Err(format!("'{word}': a time is a number and ms, s, m or h, such as 1.5s")),
        Some(time) if time > MAX_TIME => Err(format!("'{word}': a time is one year at most")),
        Some(time) => Ok(time),
    }
}
