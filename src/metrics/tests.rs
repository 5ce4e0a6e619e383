use super::*;
use std::time::Duration;

fn page() -> (Metrics, impl Fn(&Metrics) -> Vec<String>) {
    let metrics = Metrics::new(true, &["GetStage"], "sqlite");
    (metrics, |metrics: &Metrics| metrics.page(Form::Text).lines().map(str::to_owned).collect())
}

#[test]
fn requests_are_counted_by_operation_and_status() {
    let (metrics, lines) = page();
    let took = Duration::from_millis(2);
    metrics.requests.answered(Some("GetStage"), 200, took);
    metrics.requests.answered(Some("GetStage"), 200, took);
    metrics.requests.answered(Some("Invented"), 418, took);
    metrics.requests.answered(None, 404, took);
    let lines = lines(&metrics);
    for line in [
        r#"greenroom_requests_total{operation="GetStage",status="200"} 2"#,
        r#"greenroom_requests_total{operation="Unknown",status="0"} 1"#,
        r#"greenroom_requests_total{operation="Unknown",status="404"} 1"#,
        r#"greenroom_request_duration_seconds_bucket{le="0.0025",operation="GetStage"} 2"#,
        r#"greenroom_request_duration_seconds_count{operation="GetStage"} 2"#,
    ] {
        assert!(lines.iter().any(|given| given == line), "{line} is not in {lines:#?}");
    }
}

#[test]
fn what_is_switched_off_counts_no_requests() {
    let metrics = Metrics::new(false, &["GetStage"], "sqlite");
    metrics.requests.answered(Some("GetStage"), 200, Duration::ZERO);
    metrics.doors.answered("events", "OK", Duration::ZERO);
    assert_eq!(metrics.store.begin(), None);
    assert!(!metrics.page(Form::Text).contains("GetStage"));
}

#[test]
fn the_older_format_names_counters_by_their_series_and_marks_no_end() {
    let openmetrics = "# HELP a b.\n# TYPE a counter\na_total 1\n# HELP c d.\n# TYPE c gauge\n# UNIT c x\nc 2\n# EOF\n";
    let older = "# HELP a_total b.\n# TYPE a_total counter\na_total 1\n# HELP c d.\n# TYPE c gauge\nc 2\n";
    assert_eq!(text(openmetrics), older);
    let (metrics, lines) = page();
    assert!(metrics.page(Form::OpenMetrics).ends_with("# EOF\n"));
    assert!(!lines(&metrics).iter().any(|line| line.contains("# EOF") || line.is_empty()));
}

#[test]
fn who_asks_for_openmetrics_is_given_it() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Form::accepted(prometheus), Form::OpenMetrics);
    assert_eq!(Form::accepted("*/*"), Form::Text);
    assert_eq!(Form::accepted(""), Form::Text);
}

#[test]
fn targets_come_and_go_and_their_names_are_escaped() {
    let (metrics, lines) = page();
    metrics.target("a \"b\"").delivered.inc_by(3);
    metrics.target("gone").failed.inc();
    let taken = r#"greenroom_event_target_delivered_total{target="a \"b\""} 3"#;
    assert!(lines(&metrics).iter().any(|line| line == taken));
    metrics.keep_targets(&["a \"b\""]);
    let lines = lines(&metrics);
    assert!(lines.iter().any(|line| line == taken) && !lines.iter().any(|line| line.contains("gone")));
}

#[test]
fn what_the_store_cannot_count_is_left_out() {
    let (metrics, lines) = page();
    let shown = || {
        let lines = lines(&metrics);
        let dead = r#"greenroom_event_target_dead_letters{target="hook"} 4"#;
        let has = |wanted: &str| lines.iter().any(|line| line == wanted);
        assert_eq!(has("greenroom_concurrent_publishers 2"), has(dead));
        has(dead) && has("greenroom_outbox_oldest_seconds 1.5")
    };
    assert!(!shown());
    let living = Living { publishers: 2, ..Living::default() };
    let outbox = Backlog { events: 1, oldest_seconds: 1.5, ..Backlog::default() };
    let targets = vec![Backlog { target: "hook".into(), dead: 4, ..Backlog::default() }];
    metrics.whole.set(Some(Population { living, outbox, targets }));
    assert!(shown());
    metrics.whole.set(None);
    assert!(!shown());
}

#[test]
fn what_is_looked_at_is_looked_at_for_each_page() {
    let (metrics, lines) = page();
    metrics.sample(|metrics| {
        metrics.media.held(Kind::Publish, 4);
        let datagrams = Datagrams { packets: 7, bytes: 70 };
        metrics.media.counted(datagrams, datagrams, 1, 0);
        metrics.store.pool(Pool { name: "read", size: 2, idle: 3, most: 8 });
    });
    let lines = lines(&metrics);
    for line in [
        r#"greenroom_participant_connections{kind="publish"} 4"#,
        r#"greenroom_media_bytes_total{direction="in"} 70"#,
        r#"greenroom_store_pool_in_use{pool="read"} 0"#,
    ] {
        assert!(lines.iter().any(|given| given == line), "{line} is not in {lines:#?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_described_in_the_usual_names() {
    let (metrics, lines) = page();
    let lines = lines(&metrics);
    for name in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_start_time_seconds ",
    ] {
        let value = lines.iter().find_map(|line| line.strip_prefix(name)).and_then(|value| value.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value >= 0.0), "{name}");
    }
    assert!(lines.iter().any(|line| line.starts_with("greenroom_build_info{version=")), "{lines:#?}");
}
