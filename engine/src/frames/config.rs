//! The sizes of a connection.

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// So much more than the write buffer may be held for answers to pings while the transport takes nothing. Of the
/// pings beyond, the latest is answered (RFC 6455 §5.5.3 allows it).
const ANSWERS: usize = 16 << 10;

/// Sizes, as the builder of the engine has checked them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameConfig {
    /// While little comes.
    pub(crate) small_read_buffer: usize,
    pub(crate) read_buffer: usize,
    /// While very much comes, for as long as that lasts.
    pub(crate) flood_read_buffer: usize,
    pub(crate) write_buffer: usize,
    pub(crate) max_frame: usize,
    pub(crate) max_message: usize,
}

impl FrameConfig {
    /// With a read buffer of this size.
    pub(super) fn tungstenite(&self, read_buffer: usize) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(read_buffer)
            .write_buffer_size(self.write_buffer)
            .max_write_buffer_size(self.answers())
            .max_frame_size(Some(self.max_frame))
            .max_message_size(Some(self.max_message))
    }

    /// How much may be held that is not written yet, answers to pings included.
    pub(super) const fn answers(&self) -> usize {
        self.write_buffer.saturating_add(ANSWERS)
    }
}
