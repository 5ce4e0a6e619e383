/// Bounds of a server's connection. Memory for messages that are not complete is bounded by that of one message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum bytes of a message before publishing is accepted.
    pub max_command_bytes: usize,
    /// Maximum bytes of a message (a video frame, mostly) after that.
    pub max_message_bytes: usize,
    /// Maximum chunk streams.
    pub max_chunk_streams: usize,
    /// Maximum bytes that are received before publishing is accepted.
    pub max_bytes_before_publish: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // The longest command of an encoder, a connect with the codecs of Enhanced RTMP, has less than 2 KiB.
            max_command_bytes: 64 * 1024,
            // 8.5 Mbit/s for almost 4 seconds in one frame.
            max_message_bytes: 4 * 1024 * 1024,
            // Encoders use four to eight.
            max_chunk_streams: 64,
            // Encoders that send media without waiting for the answer to publish send a frame or two meanwhile.
            max_bytes_before_publish: 256 * 1024,
        }
    }
}
