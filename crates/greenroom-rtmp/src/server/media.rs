//! Messages of a publication: audio, video, metadata, and aggregates of them.

use crate::amf::{Reader, Value};
use crate::chunks::Message;
use crate::command::bounded;
use crate::error::ProtocolError;
use crate::messages::{amf0, kind};
use crate::{Event, Metadata};
use std::collections::VecDeque;

/// Appends the events of a message of type audio, video, data or aggregate. Others have none.
pub(crate) fn handle(message: Message, events: &mut VecDeque<Event>) -> Result<(), ProtocolError> {
    let Message { kind, timestamp, body, .. } = message;
    match kind {
        kind::AGGREGATE => split_aggregate(timestamp, &body, events)?,
        kind::DATA | kind::DATA_AMF3 => events.extend(metadata(kind, &body)?.map(Event::Metadata)),
        // A message without a body says nothing.
        _ if body.is_empty() => {}
        kind::AUDIO => events.push_back(Event::Audio { timestamp, body }),
        kind::VIDEO => events.push_back(Event::Video { timestamp, body }),
        _ => {}
    }
    Ok(())
}

/// Splits an aggregate message into its tags, each of which is followed by its length. Their timestamps are relative: the first tag has
/// that of the message.
fn split_aggregate(timestamp: u32, mut rest: &[u8], events: &mut VecDeque<Event>) -> Result<(), ProtocolError> {
    let mut first = None;
    while !rest.is_empty() {
        let tag = AggregateTag::read(&mut rest)
            .ok_or_else(|| ProtocolError::new("aggregate", "aggregate message ends within a tag"))?;
        if tag.kind == kind::AGGREGATE {
            return Err(ProtocolError::new("aggregate", "aggregate message within an aggregate message"));
        }
        let offset = tag.timestamp.wrapping_sub(*first.get_or_insert(tag.timestamp));
        let timestamp = timestamp.wrapping_add(offset);
        handle(Message { kind: tag.kind, timestamp, stream: 0, body: tag.body.to_vec() }, events)?;
    }
    Ok(())
}

struct AggregateTag<'a> {
    kind: u8,
    timestamp: u32,
    body: &'a [u8],
}

impl<'a> AggregateTag<'a> {
    /// Takes a tag and the length that follows it, which may be missing after the last one.
    fn read(rest: &mut &'a [u8]) -> Option<AggregateTag<'a>> {
        let ([kind, l1, l2, l3, t1, t2, t3, t0, _, _, _], after) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes([0, *l1, *l2, *l3]) as usize;
        let (body, after) = after.split_at_checked(length)?;
        *rest = match after {
            [] => &[],
            after => after.split_first_chunk::<4>()?.1,
        };
        Some(AggregateTag { kind: *kind, timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]), body })
    }
}

/// `onMetaData`, plain or within `@setDataFrame`. Other data messages are ignored.
fn metadata(kind: u8, body: &[u8]) -> Result<Option<Metadata>, ProtocolError> {
    let mut values = Reader::new(amf0(kind, body));
    let mut name = values.next()?;
    if name.as_ref().and_then(Value::as_str) == Some("@setDataFrame") {
        name = values.next()?;
    }
    if name.as_ref().and_then(Value::as_str) != Some("onMetaData") {
        return Ok(None);
    }
    let properties = values.next()?.unwrap_or(Value::Null);
    let number = |name| properties.get(name).and_then(Value::as_number);
    Ok(Some(Metadata {
        encoder: properties.get("encoder").and_then(Value::as_str).map(bounded),
        width: number("width"),
        height: number("height"),
        frame_rate: number("framerate"),
    }))
}
