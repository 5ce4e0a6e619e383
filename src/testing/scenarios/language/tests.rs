use super::*;
use proptest::prelude::*;

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn every_form_of_a_step_is_parsed() {
    let one = |name: &str| Who::One(name.to_owned());
    let viewers = || Who::Group(Group { name: "viewers".into(), count: 3 });
    let attributes = |pairs: &[(&str, &str)]| {
        Action::Join(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    let joined = "at 0s alice joins\nat 0s bob joins\nat 0s 3 viewers join\n";
    for (line, at, over, who, action) in [
        ("at 1.5s carl joins", 1.5, 0.0, one("carl"), attributes(&[])),
        (
            r#"at 250ms carl joins as {"role": "a; # b", "n": "1"} # host"#,
            0.25,
            0.0,
            one("carl"),
            attributes(&[("role", "a; # b"), ("n", "1")]),
        ),
        ("at 2m alice publishes", 120.0, 0.0, one("alice"), Action::Publish),
        ("at 1h alice stops publishing", 3600.0, 0.0, one("alice"), Action::Unpublish),
        ("at 3s bob subscribes to alice", 3.0, 0.0, one("bob"), Action::Subscribe("alice".into())),
        ("at 3s bob unsubscribes from alice", 3.0, 0.0, one("bob"), Action::Unsubscribe("alice".into())),
        ("at 3s bob mutes audio", 3.0, 0.0, one("bob"), Action::Mute(vec![MediaKind::Audio])),
        (
            "at 3s bob unmutes audio and video",
            3.0,
            0.0,
            one("bob"),
            Action::Unmute(vec![MediaKind::Audio, MediaKind::Video]),
        ),
        ("at 3s bob fails with QUOTA_EXCEEDED", 3.0, 0.0, one("bob"), Action::Fail(EventErrorCode::QuotaExceeded)),
        ("at 3s bob reconnects", 3.0, 0.0, one("bob"), Action::Reconnect),
        ("at 3s bob exchanges its token", 3.0, 0.0, one("bob"), Action::Exchange),
        ("at 3s viewers exchange their tokens", 3.0, 0.0, viewers(), Action::Exchange),
        ("at 3s viewers leave over 5s", 3.0, 5.0, viewers(), Action::Leave),
        ("at 3s viewers subscribe to bob over 5s", 3.0, 5.0, viewers(), Action::Subscribe("bob".into())),
        ("at 3s viewer-3 leaves", 3.0, 0.0, one("viewer-3"), Action::Leave),
        ("at 3s everyone leaves", 3.0, 0.0, Who::Everyone, Action::Leave),
    ] {
        let scenario = parse(&format!("{joined}{line}")).unwrap_or_else(|error| panic!("{line}: {error}"));
        let step = Step { line: 4, at: seconds(at), over: seconds(over), who, action };
        assert_eq!(scenario.steps.last(), Some(&step), "{line}");
    }
}

#[test]
fn steps_are_sorted_by_time_and_may_share_a_line() {
    let text = "# A call\n\nat 60s everyone leaves\nstage demo\nat 0s alice joins; at 2s alice publishes;\n";
    let scenario = parse(text).unwrap();
    assert_eq!(scenario.stage, Some(("demo".to_owned(), 4)));
    assert_eq!(scenario.steps.iter().map(|step| step.line).collect::<Vec<_>>(), [5, 5, 3]);
    let again = "at 0s a joins\nat 1s a leaves\nat 2s a joins\nat 3s everyone leaves\nat 4s a joins";
    assert_eq!(parse(again).unwrap().steps.len(), 5);
}

#[test]
fn the_members_of_a_group_have_numbers() {
    let group = |name: &str| Group { name: name.into(), count: 9 };
    assert_eq!([group("viewers").member(0), group("staff").member(8)], ["viewer-1", "staff-9"]);
}

#[test]
fn errors_name_the_line_and_what_is_wrong_with_it() {
    for (text, expected) in [
        ("", "line 1: the scenario has no steps"),
        ("stage a\n\nstage b", "line 3: a scenario has one stage, which line 1 names"),
        ("stage", "line 1: the name or the ARN of a stage is missing"),
        ("\nalice joins", "line 2: 'alice': a step begins with at"),
        ("at", "line 1: a time, such as 2s, is missing"),
        ("at 2", "line 1: '2': a time is"),
        ("at s alice joins", "line 1: 's': a time is"),
        ("at 1.2.3s alice joins", "line 1: '1.2.3s': a time is"),
        ("at 9000h alice joins", "line 1: '9000h': a time is one year at most"),
        ("at 2s", "line 1: a participant"),
        ("at 2s al/ice joins", "line 1: 'al/ice': a name has"),
        ("at 2s 0 viewers join", "line 1: 0: a group has"),
        ("at 2s 999999999999 viewers join", "line 1: 999999999999: a group has"),
        ("at 2s 5 everyone join", "line 1: 'everyone': a name has"),
        ("at 2s alice", "line 1: an action"),
        ("at 2s alice dances", "line 1: 'dances': an action is"),
        ("at 2s alice joins now", "line 1: 'now': the step has ended"),
        ("at 2s alice joins as {\"a\": 1}", "line 1: as: attributes are"),
        ("at 2s alice joins as {\"a\"", "line 1: as: attributes are"),
        ("at 2s alice stops", "line 1: stops: must be followed by: publishing"),
        ("at 2s alice subscribes bob", "line 1: subscribes: must be followed by: to"),
        ("at 2s alice mutes screen", "line 1: what is muted is"),
        ("at 2s alice fails with NOTHING", "line 1: 'NOTHING': an error code is one of INSUFFICIENT_CAPABILITIES"),
        ("at 2s alice exchanges her token", "line 1: exchanges: must be followed by: its token"),
        ("at 2s alice joins over 5s", "line 1: over is for groups"),
        ("at 2s 5 viewers leave", "line 1: only who joins is counted"),
        ("at 1s 5 viewers join\nat 2s 5 viewers join", "line 2: viewers have a number in line 1 already"),
        ("at 1s 150000 viewers join\nat 2s 150000 hosts join", "line 2: a scenario has 200000 participants"),
        ("at 1s alice joins\nat 2s alice joins", "line 2: alice has joined in line 1 already"),
        ("at 1s alice joins\nat 0s alice publishes", "line 2: alice has not joined"),
        ("at 1s 5 viewers join\nat 0s viewers leave", "line 2: viewers have not joined"),
        ("at 1s 5 viewers join\nat 2s viewer-6 leaves", "line 2: viewer-6 has not joined"),
        ("at 1s alice joins\nat 2s alice subscribes to bob", "line 2: bob has not joined"),
        ("at 1s alice joins\nat 2s alice subscribes to alice", "line 2: alice: is not another participant"),
        ("at 0s everyone joins", "line 1: everyone: name who joins"),
    ] {
        let message = error(text);
        assert!(message.starts_with(expected), "{text}: {message}");
    }
    assert!(error(&"#".repeat(MAX_BYTES + 1)).starts_with("line 1: a scenario has"));
    assert!(error(&"at 0s everyone leaves\n".repeat(MAX_STEPS + 1)).starts_with("line 10001: "));
}

proptest! {
    #[test]
    fn no_text_panics_and_errors_are_within_the_text(text in "(at|stage|#|;|[0-9]s| |\n|[a-z]{1,4}|joins|leaves|everyone|[0-9]{1,2}|as|over|\\{|\"|\\PC){0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1));
        }
    }

    #[test]
    fn a_time_is_parsed_as_it_is_written(millis in 0u32..100_000_000) {
        let scenario = parse(&format!("at {}.{:03}s a joins", millis / 1000, millis % 1000)).unwrap();
        let difference = scenario.steps[0].at.as_secs_f64() - f64::from(millis) / 1000.0;
        prop_assert!(difference.abs() < 1e-6);
    }
}
