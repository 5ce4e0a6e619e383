//! Secrets are in no text for logs.

use super::support::{Scripted, client, client_events, options, status};
use crate::support::bytes::{control, handshake};
use crate::support::{KEY, amf, command};
use greenroom_rtmp::{ClientConnection, ClientEvent, PublishUrl};

#[test]
fn debug_forms_show_no_key() {
    let url = PublishUrl::parse(&format!("rtmp://host/app/{KEY}?token=secret")).unwrap();
    let with_key = PublishUrl::with_key("rtmp://host/app?token=secret", KEY).unwrap();
    for text in [
        format!("{:?}", client()),
        format!("{:?} {:?}", options(), with_key.options("")),
        format!("{url:?} {url} {with_key:?} {with_key}"),
    ] {
        assert!(!text.contains(KEY) && !text.contains("secret"), "{text}");
    }
    assert_eq!((url.to_string(), with_key.to_string()), ("rtmp://host/app".to_owned(), "rtmp://host/app".to_owned()));
}

#[test]
fn the_key_is_removed_from_what_servers_say_and_the_rest_is_bounded() {
    let mut scripted = Scripted::requested();
    let text = format!("{KEY} is in use: {}", "x".repeat(1_000));
    scripted.send(&command(1, "onStatus", 0.0, &[amf::null(), status("error", KEY, &text)]));
    match &scripted.events()[..] {
        [ClientEvent::Refused { code, description, .. }] => {
            assert_eq!(code, "<stream key>");
            assert!(description.starts_with("<stream key> is in use: xxx"));
            assert_eq!(description.len(), 256);
        }
        events => panic!("{events:?}"),
    }
}

#[test]
fn a_key_with_a_query_is_removed_with_and_without_it() {
    let options = PublishUrl::with_key("rtmp://host/app", "KEY?token=secret").unwrap().options("");
    let mut client = ClientConnection::new(options, [9; 32]);
    client.receive(&[handshake(), control(1, &[0, 0, 16, 0])].concat()).unwrap();
    let info = status("error", "NetConnection.Connect.Rejected", "KEY?token=secret\r\nKEY");
    client.receive(&command(0, "_error", 1.0, &[amf::null(), info])).unwrap();
    let refused = ClientEvent::Refused {
        code: "NetConnection.Connect.Rejected".to_owned(),
        description: "<stream key>  <stream key>".to_owned(),
        redirect: None,
    };
    assert_eq!(client_events(&mut client), [refused]);
}
