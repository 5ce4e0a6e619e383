use greenroom_rtmp::{PublishUrl, UrlError};

/// Host, port, TLS, application, `tcUrl` and stream key.
fn parts(url: &PublishUrl) -> (String, u16, bool, String, String, String) {
    let options = url.options("");
    (url.host().to_owned(), url.port(), url.is_secure(), options.app, options.tc_url, options.stream_key)
}

#[track_caller]
fn check(url: Result<PublishUrl, UrlError>, host: &str, port: u16, is_secure: bool, [app, tc_url, key]: [&str; 3]) {
    let expected = (host.to_owned(), port, is_secure, app.to_owned(), tc_url.to_owned(), key.to_owned());
    assert_eq!(url.as_ref().map(parts), Ok(expected));
}

#[test]
fn the_last_part_is_the_stream_key() {
    let parse = PublishUrl::parse;
    check(parse("rtmp://host/app/KEY"), "host", 1935, false, ["app", "rtmp://host/app", "KEY"]);
    check(parse("RTMPS://host/app/KEY"), "host", 443, true, ["app", "rtmps://host/app", "KEY"]);
    check(
        parse("rtmp://10.0.0.1:19350/a/b/c/KEY"),
        "10.0.0.1",
        19350,
        false,
        ["a/b/c", "rtmp://10.0.0.1:19350/a/b/c", "KEY"],
    );
    check(parse("rtmp://[::1]:1935/app//KEY"), "::1", 1935, false, ["app", "rtmp://[::1]:1935/app", "KEY"]);
    check(
        parse("rtmp://[fe80::1]/app/KEY?token=a/b"),
        "fe80::1",
        1935,
        false,
        ["app", "rtmp://[fe80::1]/app", "KEY?token=a/b"],
    );
}

#[test]
fn the_stream_key_may_be_given_apart() {
    let url = |url| PublishUrl::with_key(url, "KEY/1");
    let options = ["app", "rtmps://x.live-video.net:443/app", "KEY/1"];
    check(url("rtmps://x.live-video.net:443/app/"), "x.live-video.net", 443, true, options);
    check(url("rtmp://host/app?a=b/c"), "host", 1935, false, ["app?a=b/c", "rtmp://host/app?a=b/c", "KEY/1"]);
    check(url("rtmp://host/app?a=b/"), "host", 1935, false, ["app?a=b/", "rtmp://host/app?a=b/", "KEY/1"]);
    check(url("rtmp://host/a/b"), "host", 1935, false, ["a/b", "rtmp://host/a/b", "KEY/1"]);
}

#[test]
fn invalid_urls_are_errors() {
    for (url, error) in [
        ("", UrlError::Scheme),
        ("host/app/KEY", UrlError::Scheme),
        ("rtmpt://host/app/KEY", UrlError::Scheme),
        ("https://host/app/KEY", UrlError::Scheme),
        ("rtmp:///app/KEY", UrlError::Host),
        ("rtmp://ho$t/app/KEY", UrlError::Host),
        ("rtmp://::1/app/KEY", UrlError::Host),
        ("rtmp://[::1/app/KEY", UrlError::Host),
        ("rtmp://[host]/app/KEY", UrlError::Host),
        ("rtmp://[::1]1/app/KEY", UrlError::Host),
        ("rtmp://user:secret@host/app/KEY", UrlError::UserName),
        ("rtmp://host:/app/KEY", UrlError::Port),
        ("rtmp://host:0/app/KEY", UrlError::Port),
        ("rtmp://host:+1/app/KEY", UrlError::Port),
        ("rtmp://host:65536/app/KEY", UrlError::Port),
        ("rtmp://[::1]:x/app/KEY", UrlError::Port),
        ("rtmp://host", UrlError::App),
        ("rtmp://host/KEY", UrlError::App),
        ("rtmp://host?a=b", UrlError::App),
        ("rtmp://host/?app/KEY", UrlError::App),
        ("rtmp://host/app/", UrlError::StreamKey),
        ("rtmp://host/app/KE Y", UrlError::Characters),
        ("rtmp://host/app/KEY\n", UrlError::Characters),
        ("rtmp://host\0/app/KEY", UrlError::Characters),
    ] {
        assert_eq!(PublishUrl::parse(url), Err(error), "{url}");
    }
    let long = "k".repeat(5_000);
    assert_eq!(PublishUrl::parse(&format!("rtmp://host/app/{long}")), Err(UrlError::Length));
    assert_eq!(PublishUrl::with_key("rtmp://host/app", &long), Err(UrlError::Length));
    assert_eq!(PublishUrl::with_key("rtmp://host/app", ""), Err(UrlError::StreamKey));
    assert_eq!(PublishUrl::with_key("rtmp://host/app", "a b"), Err(UrlError::Characters));
    assert_eq!(PublishUrl::with_key("rtmp://host/", "KEY"), Err(UrlError::App));
}

#[test]
fn errors_do_not_repeat_the_url() {
    for url in ["SECRET://SECRET/SECRET", "rtmp://SECRET@SECRET/SECRET", "rtmp://h/SECRET", "rtmp://h:SECRET/a/SECRET"]
    {
        let error = PublishUrl::parse(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("SECRET"));
    }
}
