//! Metadata and commands in every form of AMF.

use crate::support::bytes::{DATA, DATA_AMF3, message};
use crate::support::{Encoder, amf};
use greenroom_rtmp::{Event, Metadata};

fn properties() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("duration", amf::number(0.0)),
        ("width", amf::number(1280.0)),
        ("height", amf::number(720.0)),
        ("framerate", amf::number(29.97)),
        ("stereo", vec![1, 1]),
        ("encoder", amf::string("Lavf61.7.100")),
    ]
}

fn expected() -> Metadata {
    Metadata {
        encoder: Some("Lavf61.7.100".to_owned()),
        width: Some(1280.0),
        height: Some(720.0),
        frame_rate: Some(29.97),
    }
}

fn received(kind: u8, body: &[u8]) -> Vec<Event> {
    let mut encoder = Encoder::publishing();
    encoder.send(&message(4, kind, 1, 0, body));
    encoder.events()
}

/// What is read of metadata with these properties, in AMF0.
fn metadata(properties: &[(&str, Vec<u8>)]) -> Metadata {
    match &received(DATA, &[amf::string("onMetaData"), amf::ecma_array(properties)].concat())[..] {
        [Event::Metadata(metadata)] => metadata.clone(),
        events => panic!("{events:?}"),
    }
}

#[test]
fn metadata_is_read_in_each_form() {
    let name = amf::string("onMetaData");
    let set = [amf::string("@setDataFrame"), name.clone()].concat();
    let without_end = [vec![8, 0, 0, 0, 6], amf::body(&properties())].concat();
    let typed = [vec![16], amf::name("Class"), amf::body(&properties()), vec![0, 0, 9]].concat();
    for object in [amf::ecma_array(&properties()), amf::object(&properties()), without_end, typed] {
        for start in [&name, &set] {
            let body = [&start[..], &object].concat();
            assert_eq!(received(DATA, &body), [Event::Metadata(expected())]);
            assert_eq!(received(DATA_AMF3, &[&[0], &body[..]].concat()), [Event::Metadata(expected())]);
        }
    }
}

#[test]
fn metadata_without_properties_is_empty() {
    for rest in [&[][..], &[5], &[8, 0, 0, 0, 0, 0, 0, 9]] {
        let body = [&amf::string("onMetaData"), rest].concat();
        assert_eq!(received(DATA, &body), [Event::Metadata(Metadata::default())]);
    }
}

#[test]
fn other_data_is_ignored() {
    for body in [amf::string("onFI"), amf::number(1.0), vec![], [amf::string("onTextData"), vec![255]].concat()] {
        assert_eq!(received(DATA, &body), []);
    }
}

#[test]
fn values_of_every_type_precede_the_width() {
    let values: [Vec<u8>; 13] = [
        vec![5],
        vec![6],
        vec![7, 0, 1],
        vec![13],
        vec![1, 0],
        [&[11], &0f64.to_be_bytes()[..], &[0, 0]].concat(),
        [&[12, 0, 1, 0, 0], &[b'x'; 65_536][..]].concat(),
        vec![15, 0, 0, 0, 2, b'<', b'>'],
        [vec![10, 0, 0, 0, 2], amf::string("hvc1"), amf::number(1.0)].concat(),
        amf::object(&[("inner", amf::object(&[]))]),
        amf::ecma_array(&[("0", amf::number(1.0))]),
        vec![2, 0, 2, 0xff, 0xfe],
        vec![17, 1],
    ];
    for value in values {
        let start = value[..value.len().min(8)].to_vec();
        let read = metadata(&[("value", value), ("", amf::null()), ("width", amf::number(640.0))]);
        assert_eq!(read.width, Some(640.0), "{start:?}");
    }
}

#[test]
fn numbers_are_finite_and_texts_bounded() {
    let read = metadata(&[
        ("width", amf::number(f64::NAN)),
        ("height", amf::number(f64::INFINITY)),
        ("framerate", amf::string("30")),
        ("encoder", amf::string(&"é".repeat(1_000))),
    ]);
    assert_eq!(read, Metadata { encoder: Some("é".repeat(256)), ..Metadata::default() });
}

/// A string of AMF3 that has not been sent before.
fn text3(text: &str) -> Vec<u8> {
    [&[(text.len() * 2 + 1) as u8], text.as_bytes()].concat()
}

fn number3(number: f64) -> Vec<u8> {
    [&[5], &number.to_be_bytes()[..]].concat()
}

#[test]
fn values_of_amf3_are_read() {
    // An object without class, with dynamic properties.
    let dynamic = [
        vec![10, 0x0b, 1],
        text3("width"),
        vec![4, 0x8a, 0x00],
        text3("nested"),
        // A reference to the traits of the object, one to "width", and an integer of four bytes, -1.
        vec![10, 0x01, 0, 4, 0xff, 0xff, 0xff, 0xff, 1],
        text3("flag"),
        vec![3],
        text3("list"),
        // An array without names, with a null, a string, and false.
        [vec![9, 7, 1, 1, 6], text3("x"), vec![2]].concat(),
        text3("map"),
        [vec![9, 1], text3("key"), vec![0, 1]].concat(),
        text3("date"),
        [&[8, 1], &0f64.to_be_bytes()[..]].concat(),
        text3("again"),
        // References to an object, an array, a date and bytes.
        vec![9, 5, 1, 10, 0, 9, 0],
        text3("bytes"),
        vec![12, 5, 1, 2],
        text3("xml"),
        [&[11], &text3("<>")[..]].concat(),
        text3("encoder"),
        [vec![6], text3("Lavf")].concat(),
        text3("height"),
        number3(720.0),
        vec![1],
    ];
    // An object of a class with two properties of its own and no others, and another by a reference to its traits.
    let sealed =
        [vec![10, 0x23], text3("Class"), text3("height"), text3("other"), number3(720.0), vec![10, 0x01, 1, 1]];
    for (object, width, encoder) in [(dynamic.concat(), Some(1280.0), Some("Lavf")), (sealed.concat(), None, None)] {
        let body = [&[0][..], &amf::string("onMetaData"), &[17], &object].concat();
        let metadata = Metadata { encoder: encoder.map(str::to_owned), width, height: Some(720.0), frame_rate: None };
        assert_eq!(received(DATA_AMF3, &body), [Event::Metadata(metadata)]);
    }
}

#[test]
fn invalid_values_are_errors() {
    let deep = |start: &[u8]| start.repeat(100);
    let cases: [(Vec<u8>, &str); 17] = [
        (vec![4], "unknown AMF type 4"),
        (vec![255], "unknown AMF type 255"),
        (vec![0, 1, 2], "ends early"),
        (vec![1], "ends early"),
        (vec![2, 0, 5, b'a'], "ends early"),
        (vec![12, 255, 255, 255, 255, b'a'], "ends early"),
        (vec![3, 0, 1, b'a'], "ends early"),
        (vec![10, 255, 255, 255, 255], "ends early"),
        (deep(&[10, 0, 0, 0, 1]), "nested"),
        (deep(&[3, 0, 1, b'a']), "nested"),
        (deep(&[17, 9, 3, 1]), "unknown AMF type 17"),
        ([&[17][..], &deep(&[9, 3, 1])].concat(), "nested"),
        ([&[10, 255, 255, 255, 255][..], &[5; 10_000]].concat(), "more than 2048"),
        ([&[17, 9, 0xff, 0xff, 0xff, 0xff, 1][..], &[1; 10_000]].concat(), "more than 2048"),
        (vec![17, 10, 0x07, 1], "unknown AMF type 10"),
        (vec![17, 6, 8], "reference"),
        (vec![17, 10, 0x0d], "reference"),
    ];
    for (value, reason) in cases {
        let mut encoder = Encoder::publishing();
        let error = encoder.send_bad(&message(4, DATA, 1, 0, &[&amf::string("onMetaData"), &value[..]].concat()));
        assert_eq!(error.label, "amf");
        assert!(error.reason.contains(reason), "{error} for {:?}", &value[..value.len().min(8)]);
    }
}

#[test]
fn references_to_a_long_string_are_bounded() {
    let long = [vec![6, 0x83, 0xf2, 0x01], vec![b'x'; 31_872]].concat();
    let array = [vec![17, 9, 0x8f, 0x01, 1], long, [6, 0].repeat(1_000)].concat();
    let mut encoder = Encoder::publishing();
    let error = encoder.send_bad(&message(4, DATA, 1, 0, &[amf::string("onMetaData"), array].concat()));
    assert_eq!((error.label, error.reason.as_str()), ("amf", "AMF strings are too long"));
}

#[test]
fn values_are_nested_at_most_16_deep() {
    for (depth, is_valid) in [(16, true), (17, false)] {
        let value = [[10, 0, 0, 0, 1].repeat(depth), amf::null()].concat();
        let mut encoder = Encoder::publishing();
        let result = encoder.server.receive(&message(4, DATA, 1, 0, &[amf::string("onMetaData"), value].concat()));
        assert_eq!(result.is_ok(), is_valid, "{depth} deep");
    }
}

#[test]
fn integers_of_amf3_have_a_sign() {
    let cases: [(&[u8], f64); 5] = [
        (&[0x7f], 127.0),
        (&[0xff, 0x7f], 16_383.0),
        (&[0xff, 0xff, 0x7f], 2_097_151.0),
        (&[0xbf, 0xff, 0xff, 0xff], 268_435_455.0),
        (&[0xc0, 0x80, 0x80, 0x00], -268_435_456.0),
    ];
    for (bytes, expected) in cases {
        assert_eq!(metadata(&[("width", [&[17, 4], bytes].concat())]).width, Some(expected));
    }
}
