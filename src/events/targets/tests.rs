use super::{Kind, parse};
use serde_json::json;
use std::time::Duration;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr";

fn webhook(more: &str) -> String {
    format!(
        "[[target]]\nname = \"billing\"\ntype = \"webhook\"\nurl = \"https://example.com/in?key=x\"\nsecret = \"{SECRET}\"\n{more}"
    )
}

#[test]
fn a_webhook_requires_url_and_secret_and_has_defaults_for_other_keys() {
    let targets = parse(&webhook(""), true).unwrap();
    let target = &targets[0];
    assert_eq!(
        (target.name.as_str(), target.retry, target.from_oldest),
        ("billing", Duration::from_secs(259_200), false)
    );
    let Kind::Webhook(webhook) = &target.kind else { panic!("{target:?}") };
    assert_eq!((webhook.timeout, webhook.concurrency, webhook.keys.len()), (Duration::from_secs(15), 8, 1));
    assert_eq!(target.kind.place(), "https://example.com/in", "a query can contain a secret");
    let shown = format!("{target:?}");
    assert!(!shown.contains("MfKQ9r8G") && !shown.contains("77, 242"), "{shown}");
}

#[test]
fn patterns_are_tables_or_json() {
    let event = json!({"detail-type": "IVS Stage Update", "detail": {"n": 1}});
    for (text, matches) in [
        ("pattern = { detail-type = [\"IVS Stage Update\"] }", true),
        ("[target.pattern]\ndetail-type = [{ prefix = \"IVS \" }]\ndetail.n = [{ numeric = [\">\", 0.5] }]", true),
        ("pattern = '{\"detail\": {\"n\": [null]}}'", false),
    ] {
        let targets = parse(&webhook(text), true).unwrap();
        assert_eq!(targets[0].pattern.as_ref().unwrap().matches(&event), matches, "{text}");
    }
}

#[test]
fn all_kinds_are_parsed() {
    let text = "
        [[target]]
        name = \"bus\"
        type = \"eventbridge\"
        endpoint_url = \"http://127.0.0.1:5000\"
        region = \"us-east-1\"
        access_key_id = \"test\"
        secret_access_key = \"test\"
        [[target]]
        name = \"log\"
        type = \"file\"
        path = \"/tmp/events.jsonl\"
        from = \"oldest\"
        source = \"mine\"
        retry_seconds = 0
        [[target]]
        name = \"out\"
        type = \"stdout\"";
    let targets = parse(text, true).unwrap();
    let kinds: Vec<_> = targets.iter().map(|target| (target.kind.name(), target.kind.place())).collect();
    let expected = [
        ("eventbridge", "default at http://127.0.0.1:5000"),
        ("file", "/tmp/events.jsonl"),
        ("stdout", "standard output"),
    ];
    assert_eq!(kinds, expected.map(|(kind, place)| (kind, place.to_owned())));
    assert!(targets[1].from_oldest && targets[1].source.as_deref() == Some("mine"));
    assert_eq!(parse("", true).unwrap(), []);
}

#[test]
fn errors_name_target_and_key() {
    let out = |more: &str| format!("[[target]]\nname = \"out\"\ntype = \"stdout\"\n{more}");
    let bus = |more: &str| format!("[[target]]\nname = \"bus\"\ntype = \"eventbridge\"\n{more}");
    for (text, message) in [
        ("x = ".to_owned(), "line 1: "),
        ("\n[targets]\n".to_owned(), "targets: there is no such key"),
        ("[target]\nname = \"a\"".to_owned(), "target: write each target under [[target]]"),
        ("[[target]]\ntype = \"stdout\"".to_owned(), "target 1: name: is missing"),
        ("[[target]]\nname = \"Out\"\ntype = \"stdout\"".to_owned(), "target 1: name: use"),
        ("[[target]]\nname = \"out\"".to_owned(), "target 'out': type: is missing"),
        ("[[target]]\nname = \"out\"\ntype = \"kafka\"".to_owned(), "target 'out': type: 'kafka'"),
        (out("url = \"x\""), "target 'out': url: there is no such key; a target of the type stdout has from, name,"),
        (out("from = \"middle\""), "target 'out': from: "),
        (out("retry_seconds = \"1\""), "target 'out': retry_seconds: must be a whole number from 0 to 2592000"),
        (out("retry_seconds = -1"), "target 'out': retry_seconds: "),
        (out("source = \"\""), "target 'out': source: "),
        (out("pattern = { a = \"b\" }"), "target 'out': pattern: a: values stand in an array"),
        (out("pattern = '{'"), "target 'out': pattern: the pattern: is not JSON"),
        (out("pattern = { a = [1979-05-27] }"), "target 'out': pattern: dates"),
        (format!("{}{}", out(""), out("")), "target 'out': name: another target has it"),
        (format!("{}{}", out(""), out("").replace("\"out\"", "\"b\"")), "target 'b': another target writes"),
        (webhook("timeout_seconds = 0"), "target 'billing': timeout_seconds: "),
        (webhook("secret_env = \"GREENROOM_NO_SUCH_VARIABLE\""), "target 'billing': secret_env: the variable"),
        (webhook("secret_file = \"/no/such/file\""), "target 'billing': secret_file: cannot read"),
        (webhook("").replace(SECRET, "whsec_short"), "target 'billing': secret: use whsec_"),
        (webhook("").replace("https:", "ftp:"), "target 'billing': url: "),
        (webhook("").replace("//", "//me:pass@"), "target 'billing': url: use a URL without"),
        (webhook("").replace("secret", "#"), "target 'billing': secret: a webhook is signed"),
        (bus(""), "target 'bus': source: AWS refuses"),
        (bus("source = \"aws.ivs\""), "target 'bus': source: AWS refuses"),
        (bus("source = \"mine\"\naccess_key_id = \"x\""), "target 'bus': access_key_id: "),
        (bus("endpoint_url = \"here\""), "target 'bus': endpoint_url: "),
    ] {
        let error = parse(&text, true).unwrap_err();
        assert!(error.starts_with(message), "{text}\n{error}");
        assert!(!error.contains('\n') && !error.contains("whsec_short"), "{error}");
    }
}

#[test]
fn targets_can_be_listed_without_secrets() {
    let text = webhook("ca_file = \"/no/such/file\"").replace("secret =", "secret_env =");
    assert!(parse(&text, true).is_err());
    assert_eq!(parse(&text, false).unwrap()[0].kind.place(), "https://example.com/in");
    assert!(parse(&webhook("").replace("secret", "#"), false).is_err(), "a secret must be configured");
}
