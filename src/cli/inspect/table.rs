//! The table of media connections.

use serde_json::Value;
use std::fmt::Write as _;

/// Maximum characters of a name that clients choose.
const MAX_NAME: usize = 32;

/// Text for a terminal: characters that are invisible, move the cursor or change the direction of writing are escaped.
pub(in crate::cli) fn escape(text: &str) -> String {
    let visible = |c: char| match c {
        '\'' | '"' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    text.chars().map(visible).collect()
}

/// The statistics of a stage as text. `error`: why there is nothing newer.
pub(super) fn table(stage: &str, time: &str, shown: &Value, error: Option<&str>) -> String {
    let connections = shown["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
    let count = connections.len();
    let plural = if count == 1 { "" } else { "s" };
    let node = text(&shown["node"]);
    let mut table = format!("{}  {count} media connection{plural} on {node}  {time}\n", escape(stage));
    if let Some(error) = error {
        let _ = writeln!(table, "not refreshed: {}", escape(error));
    }
    if connections.is_empty() {
        return table;
    }
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(connections.iter().map(row));
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    let header = lines.next().unwrap_or_default();
    let _ = writeln!(table, "\n{header}");
    for (line, connection) in lines.zip(connections) {
        let _ = writeln!(table, "{line}");
        for track in connection["tracks"].as_array().into_iter().flatten() {
            let _ = writeln!(table, "  {}", track_line(track));
        }
    }
    table
}

const HEADER: [&str; 7] = ["PARTICIPANT", "ROLE", "FROM", "RTT", "BITRATE", "ESTIMATE", "PATH"];

fn row(connection: &Value) -> [String; HEADER.len()] {
    let user = name(&connection["userId"]);
    let participant = name(&connection["participantId"]);
    let pair = &connection["candidatePair"];
    let path = match (connection["connected"].as_bool(), pair.is_object()) {
        (Some(true), true) => {
            format!("{} {} to {}", text(&pair["protocol"]), text(&pair["local"]), text(&pair["remote"]))
        }
        // An encoder, which has no path of its own to the media engine.
        (Some(true), false) => "-".to_owned(),
        _ => "connecting".to_owned(),
    };
    [
        if user == "-" { participant } else { format!("{participant} ({user})") },
        text(&connection["role"]),
        name(&connection["remoteParticipantId"]),
        milliseconds(&connection["roundTripSeconds"]),
        bitrate(&connection["bitsPerSecond"]),
        bitrate(&connection["estimatedBitsPerSecond"]),
        path,
    ]
}

fn track_line(track: &Value) -> String {
    let count = |member: &str| track[member].as_u64().unwrap_or_default();
    let mut parts = vec![
        format!("{} {}", text(&track["kind"]), text(&track["codec"])),
        format!("lost {} ({})", count("packetsLost"), percent(&track["lossRatio"])),
        format!("jitter {}", milliseconds(&track["jitterSeconds"])),
        format!("nacks {}", count("nacks")),
    ];
    if track["kind"] == "video" {
        parts.push(format!("key frame requests {}", count("keyFrameRequests")));
    }
    if let Some(layers) = track["layers"].as_array() {
        let shown = layers.iter().map(|received| {
            let rate = if received["live"] == true { bitrate(&received["bitsPerSecond"]) } else { "silent".to_owned() };
            format!("{} {rate}", layer(received))
        });
        parts.push(format!("layers: {}", shown.collect::<Vec<_>>().join(", ")));
        return parts.join("  ");
    }
    parts.push(format!("retransmitted {}", count("packetsRetransmitted")));
    if track["kind"] == "video" {
        let frozen = track["freezeSeconds"].as_f64().unwrap_or_default();
        parts.push(format!("freezes {} ({frozen:.1} s)", count("freezes")));
        let mut sent = format!("sent {}", layer(&track["sentLayer"]));
        if track["sentLayer"]["encodingId"] != track["wantedLayer"]["encodingId"] {
            let _ = write!(sent, ", wanted {}", layer(&track["wantedLayer"]));
        }
        if track["limitation"] != "none" {
            let _ = write!(sent, ", limited by {}", text(&track["limitation"]));
        }
        parts.push(sent);
    }
    parts.join("  ")
}

fn layer(layer: &Value) -> String {
    let size = match (layer["width"].as_u64(), layer["height"].as_u64()) {
        (Some(width), Some(height)) => format!("{width}x{height}"),
        _ => String::new(),
    };
    let name = layer["encodingId"].as_str().map(escape).unwrap_or_default();
    match [name, size].join(" ").trim() {
        "" if layer.is_null() => "nothing".to_owned(),
        "" => "one".to_owned(),
        shown => shown.to_owned(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), escape)
}

/// A name that a client chooses, cut.
fn name(value: &Value) -> String {
    match value.as_str().unwrap_or_default() {
        "" => "-".to_owned(),
        name if name.chars().count() > MAX_NAME => {
            format!("{}…", escape(&name.chars().take(MAX_NAME - 1).collect::<String>()))
        }
        name => escape(name),
    }
}

fn milliseconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{:.0} ms", seconds * 1e3))
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", ratio * 1e2))
}

fn bitrate(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(bits) if bits < 1e6 => format!("{:.0} kbit/s", bits / 1e3),
        Some(bits) => format!("{:.2} Mbit/s", bits / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown() -> Value {
        json!({
            "node": "http://127.0.0.1:4600",
            "connections": [
                {
                    "participantId": "alice", "userId": "", "role": "publish", "remoteParticipantId": null, "connected": true,
                    "candidatePair": {"local": "192.0.2.1:4601", "remote": "198.51.100.7:9", "protocol": "udp"},
                    "roundTripSeconds": 0.0214, "bitsPerSecond": 1_850_000, "estimatedBitsPerSecond": null,
                    "tracks": [{
                        "kind": "video", "codec": "VP8", "lossRatio": 0.0125, "jitterSeconds": 0.003, "packetsLost": 4, "nacks": 5,
                        "keyFrameRequests": 6, "keyFrames": 7,
                        "layers": [
                            {"encodingId": "hi", "width": 1280, "height": 720, "live": true, "bitsPerSecond": 1_500_000},
                            {"encodingId": "lo", "width": 320, "height": 180, "live": false, "bitsPerSecond": 0},
                        ],
                    }],
                },
                {
                    "participantId": "bob", "userId": "b\u{1b}[2J\u{202e}\n\u{7}", "role": "subscribe",
                    "remoteParticipantId": "alice", "connected": false, "candidatePair": null, "roundTripSeconds": null,
                    "bitsPerSecond": 320_000, "estimatedBitsPerSecond": 900_000,
                    "tracks": [{
                        "kind": "video", "codec": null, "lossRatio": null, "jitterSeconds": null, "packetsLost": 0, "nacks": 0,
                        "keyFrameRequests": 1, "packetsRetransmitted": 2, "freezes": 3, "freezeSeconds": 1.25,
                        "sentLayer": null, "wantedLayer": {"encodingId": "lo\u{9b}", "width": 320, "height": 180},
                        "limitation": "bandwidth", "silentSeconds": null,
                    }],
                },
            ],
        })
    }

    #[test]
    fn a_table_has_a_line_for_each_connection_and_each_track() {
        let table =
            table("arn:aws:ivs:us-east-1:123456789012:stage/a", "2026-01-31T12:00:00Z", &shown(), Some("no\nway"));
        let lines: Vec<_> = table.lines().collect();
        let expected = [
            "arn:aws:ivs:us-east-1:123456789012:stage/a  2 media connections on http://127.0.0.1:4600  2026-01-31T12:00:00Z",
            r"not refreshed: no\nway",
            "",
            "PARTICIPANT                      ROLE       FROM   RTT    BITRATE      ESTIMATE    PATH",
            "alice                            publish    -      21 ms  1.85 Mbit/s  -           udp 192.0.2.1:4601 to 198.51.100.7:9",
            "  video VP8  lost 4 (1.2 %)  jitter 3 ms  nacks 5  key frame requests 6  layers: hi 1280x720 1.50 Mbit/s, lo 320x180 silent",
            r"bob (b\u{1b}[2J\u{202e}\n\u{7})  subscribe  alice  -      320 kbit/s   900 kbit/s  connecting",
            r"  video -  lost 0 (-)  jitter -  nacks 0  key frame requests 1  retransmitted 2  freezes 3 (1.2 s)  sent nothing, wanted lo\u{9b} 320x180, limited by bandwidth",
        ];
        assert_eq!(lines, expected, "{table}");
    }

    #[test]
    fn no_connection_is_a_line() {
        let table = table("arn", "now", &json!({"node": "n", "connections": []}), None);
        assert_eq!(table, "arn  0 media connections on n  now\n");
    }

    #[test]
    fn names_are_cut_and_those_of_other_scripts_are_kept() {
        assert_eq!(name(&json!("Zoë 李 \"O'Hara\"")), "Zoë 李 \"O'Hara\"");
        assert_eq!(name(&json!("x".repeat(500))).chars().count(), MAX_NAME);
        assert_eq!(escape("\u{1b}\u{0}\u{200b}\u{2028}\\"), r"\u{1b}\0\u{200b}\u{2028}\\");
    }
}
