use super::*;
use clap::Parser as _;

const API: &str = "127.0.0.1:4600";

fn args(flags: &[&str]) -> ServeArgs {
    ServeArgs::parse_from(["greenroom"].iter().chain(flags))
}

/// An address, and whether it is the default one.
type Address = Option<(SocketAddr, bool)>;

fn addresses(flags: &[&str], api: &str) -> (Address, Address) {
    let (args, api) = (args(&[flags, &["--listen", api]].concat()), api.parse().unwrap());
    (rtmp_address(&args, api), rtmps_address(&args, api))
}

fn urls(flags: &[&str], listen: &str, bound: &str, addresses: &IngestAddresses) -> [String; 2] {
    let args = args(&[flags, &["--listen", listen]].concat());
    let (rtmp, rtmps) = public_urls(&args, bound.parse().unwrap(), addresses);
    [rtmp, rtmps].map(|url| url.as_str().to_owned())
}

fn bound(rtmp: &str, rtmps: &str) -> IngestAddresses {
    IngestAddresses { rtmp: rtmp.parse().ok(), rtmps: rtmps.parse().ok(), is_self_signed: false }
}

#[test]
fn the_default_ports_follow_those_of_the_api_and_of_media() {
    let at = |address: &str, is_default| Some((address.parse().unwrap(), is_default));
    assert_eq!(addresses(&[], API), (at("127.0.0.1:4602", true), at("127.0.0.1:4603", true)));
    assert_eq!(addresses(&[], "0.0.0.0:65534"), (at("0.0.0.0:0", true), at("0.0.0.0:0", true)));
    assert_eq!(addresses(&[], "[::1]:0"), (at("[::1]:0", true), at("[::1]:0", true)));
    let chosen = ["--rtmp-listen", "0.0.0.0:1935", "--rtmps-listen", "off"];
    assert_eq!(addresses(&chosen, API), (at("0.0.0.0:1935", false), None));
}

#[test]
fn stage_endpoints_have_the_public_host_and_the_ports_of_the_listeners() {
    let local = bound("127.0.0.1:4602", "127.0.0.1:4603");
    let expected = ["rtmp://127.0.0.1:4602/app/", "rtmps://127.0.0.1:4603/app/"];
    assert_eq!(urls(&[], API, API, &local), expected);
    let public = ["--public-url", "https://ivs.example.org:8443/rt"];
    let expected = ["rtmp://ivs.example.org:4602/app/", "rtmps://ivs.example.org:4603/app/"];
    assert_eq!(urls(&public, API, API, &local), expected);
    let own = bound("192.0.2.1:1935", "[2001:db8::1]:443");
    assert_eq!(urls(&[], API, API, &own), ["rtmp://192.0.2.1/app/", "rtmps://[2001:db8::1]:443/app/"]);
    let every = bound("0.0.0.0:4602", "[::]:4603");
    assert_eq!(
        urls(&[], "0.0.0.0:4600", "0.0.0.0:4600", &every),
        ["rtmp://127.0.0.1:4602/app/", "rtmps://127.0.0.1:4603/app/"]
    );
    let chosen = ["--rtmp-public-url", "rtmp://a.example.org", "--rtmps-public-url", "rtmps://b.example.org"];
    assert_eq!(urls(&chosen, API, API, &local), ["rtmp://a.example.org/app/", "rtmps://b.example.org:443/app/"]);
}

#[test]
fn a_listener_that_is_off_has_the_url_of_its_default_port() {
    let expected = ["rtmp://127.0.0.1:45002/app/", "rtmps://127.0.0.1:45003/app/"];
    assert_eq!(urls(&[], "127.0.0.1:0", "127.0.0.1:45000", &IngestAddresses::default()), expected);
}

#[test]
fn a_self_signed_certificate_is_for_loopback_addresses_and_the_public_host() {
    assert!(open_tls(&args(&[])).unwrap().unwrap().file().is_none());
    assert!(open_tls(&args(&["--rtmps-listen", "off"])).unwrap().is_none());
    let every = ["--listen", "0.0.0.0:4600"];
    assert!(open_tls(&args(&every)).unwrap().is_none(), "off by default");
    let chosen = [&every[..], &["--rtmps-listen", "0.0.0.0:443"]].concat();
    assert!(matches!(open_tls(&args(&chosen)), Err(ServerError::NoRtmpsCertificate(_))));
    let public = args(&["--public-url", "https://ivs.example.org"]);
    let names = certificate_names(&public, API.parse().unwrap());
    assert_eq!(names, ["localhost", "127.0.0.1", "::1", "ivs.example.org"]);
}

#[tokio::test]
async fn a_chosen_address_in_use_is_an_error_and_a_default_one_is_off() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let chosen = address.to_string();
    for flag in ["--rtmp-listen", "--rtmps-listen"] {
        let args = args(&[flag, &chosen, "--listen", "127.0.0.1:0"]);
        let error = bind(&args, address, open_tls(&args).unwrap()).await.err().unwrap().to_string();
        assert!(error.contains(flag) && error.contains(&chosen), "{error}");
    }
    // The API would be two ports below.
    let api = SocketAddr::new(address.ip(), address.port() - RTMP_PORT_OFFSET);
    let args = args(&["--rtmps-listen", "off"]);
    let sockets = bind(&args, api, None).await.unwrap();
    assert_eq!((sockets.addresses().rtmp, sockets.addresses().summary()), (None, None));
}

#[test]
fn the_summary_names_the_listeners_and_a_self_signed_certificate() {
    let both = IngestAddresses { is_self_signed: true, ..bound("0.0.0.0:4602", "127.0.0.1:4603") };
    let text = both.summary().unwrap();
    assert!(text.starts_with("rtmp://127.0.0.1:4602/app/, rtmps://127.0.0.1:4603/app/ (self-signed "), "{text}");
    assert_eq!(bound("127.0.0.1:1935", "").summary().unwrap(), "rtmp://127.0.0.1/app/");
}
