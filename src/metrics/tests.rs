use super::*;
use std::time::Duration;

fn page() -> (Metrics, impl Fn(&Metrics) -> Vec<String>) {
    let metrics = Metrics::new(true, &["GetStage"], "sqlite");
    (metrics, |metrics: &Metrics| metrics.page(Format::Prometheus).lines().map(str::to_owned).collect())
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
fn switched_off_metrics_count_no_requests() {
    let metrics = Metrics::new(false, &["GetStage"], "sqlite");
    metrics.requests.answered(Some("GetStage"), 200, Duration::ZERO);
    metrics.participant_requests.answered("events", "OK", Duration::ZERO);
    assert_eq!(metrics.store.begin(), None);
    assert!(!metrics.page(Format::Prometheus).contains("GetStage"));
}

#[test]
fn the_prometheus_format_names_counters_by_their_series_and_has_no_end_mark() {
    let openmetrics = "# HELP a b.\n# TYPE a counter\na_total 1\n# HELP c d.\n# TYPE c gauge\n# UNIT c x\nc 2\n# EOF\n";
    let older = "# HELP a_total b.\n# TYPE a_total counter\na_total 1\n# HELP c d.\n# TYPE c gauge\nc 2\n";
    assert_eq!(prometheus_text(openmetrics), older);
    let (metrics, lines) = page();
    assert!(metrics.page(Format::OpenMetrics).ends_with("# EOF\n"));
    assert!(!lines(&metrics).iter().any(|line| line.contains("# EOF") || line.is_empty()));
}

#[test]
fn the_format_is_negotiated_by_accept() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
    assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    assert_eq!(Format::accepted(""), Format::Prometheus);
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
fn store_counts_are_omitted_while_the_store_fails() {
    let (metrics, lines) = page();
    let shown = || {
        let lines = lines(&metrics);
        let dead = r#"greenroom_event_target_dead_letters{target="hook"} 4"#;
        let has = |wanted: &str| lines.iter().any(|line| line == wanted);
        assert_eq!(has("greenroom_concurrent_publishers 2"), has(dead));
        has(dead) && has("greenroom_outbox_oldest_seconds 1.5")
    };
    assert!(!shown());
    let active = ActiveCounts { publishers: 2, ..ActiveCounts::default() };
    let outbox = Backlog { events: 1, oldest_seconds: 1.5, ..Backlog::default() };
    let targets = vec![("hook".into(), Backlog { dead: 4, ..Backlog::default() })];
    metrics.store_counts.set(Some(StoreCounts { active, outbox, targets }));
    assert!(shown());
    metrics.store_counts.set(None);
    assert!(!shown());
}

#[test]
fn samplers_run_for_each_page() {
    let (metrics, lines) = page();
    metrics.sample(|metrics| {
        metrics.media.set_connections(ConnectionKind::Publish, 4);
        let datagrams = DatagramCounts { packets: 7, bytes: 70 };
        metrics.media.set_traffic(datagrams, datagrams, 1, 0);
        metrics.store.set_pool(Pool { name: "read", size: 2, idle: 3, limit: 8 });
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
fn the_process_has_the_usual_metrics() {
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
