//! The answer to an upgrade request (RFC 6455 §4.2.2), written by hand.

use std::io;

use bytes::BytesMut;
use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// RFC 6455 §1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Answers the request; gives its path, and what was read behind it. The answer tells in a header whether TLS
/// resumed a session.
pub(super) async fn accept<S>(io: &mut S, resumed: Option<bool>) -> io::Result<(String, BytesMut)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(4096);
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > 16 << 10 || io.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let head = buffer.split_to(end);
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let resumed = resumed.map(|resumed| format!("x-resumed: {resumed}\r\n")).unwrap_or_default();
    let answer = answer_with(&head, &resumed).ok_or(io::ErrorKind::InvalidData)?;
    io.write_all(answer.as_bytes()).await?;
    io.flush().await?;
    Ok((path, buffer))
}

/// The answer to a request that was read whole.
pub(crate) fn answer(head: &str) -> String {
    answer_with(head, "").unwrap_or_default()
}

fn answer_with(head: &str, more: &str) -> Option<String> {
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    })?;
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n{more}\
         sec-websocket-accept: {}\r\n\r\n",
        digest(key)
    ))
}

fn digest(key: &str) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_that_of_the_rfc() {
        assert_eq!(super::digest("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
