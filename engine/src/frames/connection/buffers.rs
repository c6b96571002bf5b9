//! How large tungstenite's buffers are, which it cannot change itself: it is made anew.

use tokio_tungstenite::tungstenite::protocol::WebSocketContext;

use super::TungsteniteConnection;

impl TungsteniteConnection {
    /// Makes the buffers anew after a burst, for they keep the size of the largest message otherwise; small ones when
    /// it has become `quiet`. To be called when a read found nothing more: between messages nothing is held of what was
    /// read then, and after a flush nothing of what is to be written, so the state that is lost is none.
    #[cold]
    pub(super) fn give_back(&mut self, quiet: bool) {
        if self.io.is_between_messages() && self.socket.can_write() && self.flush().is_ok() {
            if quiet {
                self.io.appetite().shrank();
            }
            self.io.appetite().settled();
            self.renew();
            self.io.release();
            self.burst = false;
        }
    }

    /// Makes the read buffer one of the configured size, or larger for a long frame. What is held is whole messages that
    /// were taken out, so that it is lost no more than in [`give_back`](Self::give_back). Where it cannot be, the small
    /// one goes on.
    #[cold]
    pub(super) fn grow(&mut self) {
        if self.socket.can_write() && self.flush().is_ok() {
            let of_frame = self.io.of_frame();
            self.io.appetite().grew(of_frame);
            self.renew();
            self.burst |= self.io.appetite().is_wide();
        }
    }

    fn renew(&mut self) {
        let size = self.io.appetite().size();
        self.socket = WebSocketContext::new(self.role, Some(self.config.tungstenite(size)));
        self.bounded = true;
    }

    /// The bound of the write buffer is for answers, while the transport takes none. What we send ourselves is bounded
    /// by `poll_ready`.
    #[cold]
    pub(super) fn bound(&mut self, bounded: bool) {
        let bound = if bounded { self.config.answers() } else { usize::MAX };
        self.socket.set_config(|config| config.max_write_buffer_size = bound);
        self.bounded = bounded;
    }
}
