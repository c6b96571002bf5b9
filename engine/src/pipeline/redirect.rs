//! Redirects of the upgrade (RFC 9110 §15.4): where one leads, and whether to go there. Pure.

use http::{StatusCode, header};

use super::config::{TungsteniteEngineBuilder, invalid};
use crate::{ConnectRequest, Endpoint, EngineError, Refusal};

/// More are never followed: a server that wants more has lost its way.
pub(crate) const MOST: usize = 5;

/// The redirects of one attempt.
#[derive(Debug)]
pub(crate) struct Redirects {
    limit: usize,
    /// Where the attempt has been: endpoint, path and query.
    visited: Vec<(Endpoint, String)>,
}

impl Redirects {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, visited: Vec::new() }
    }

    /// What to ask for after this answer to the request.
    ///
    /// # Errors
    /// The error itself when it is no redirect; and when it is one that is not followed, with the reason.
    pub(crate) fn handle(
        &mut self,
        request: &ConnectRequest,
        error: EngineError,
    ) -> Result<ConnectRequest, EngineError> {
        let Some(refusal) = error.refusal().filter(|refusal| is_redirect(refusal.status)) else {
            return Err(error);
        };
        match self.next(request, refusal) {
            Ok(next) => {
                tracing::debug!(to = %next.endpoint(), status = refusal.status.as_u16(), "redirected");
                Ok(next)
            }
            Err(words) => Err(error.with_detail(words)),
        }
    }

    fn next(&mut self, request: &ConnectRequest, refusal: &Refusal) -> Result<ConnectRequest, String> {
        if self.limit == 0 {
            return Err("it redirects, which is followed only after follow_redirects".to_owned());
        }
        let so_far = self.visited.len();
        if so_far == self.limit {
            return Err(format!("it redirects once more after {so_far} redirects, which is the limit"));
        }
        let location = refusal.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location else {
            return Err("it redirects, and its Location is missing or no URL".to_owned());
        };
        let next = target(request, location)?;
        self.visited.push(place(request));
        if self.visited.contains(&place(&next)) {
            let count = self.visited.len();
            return Err(format!("redirect {count} leads back to where the attempt has been: a loop"));
        }
        Ok(next)
    }
}

fn place(request: &ConnectRequest) -> (Endpoint, String) {
    (request.endpoint().clone(), request.path_and_query().to_owned())
}

/// Those that are followed by the same method, which is GET here in any case.
const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The request for what a `Location` names, or in words why it is not made. The words show host and port at most:
/// the rest may be secret.
pub(crate) fn target(from: &ConnectRequest, location: &str) -> Result<ConnectRequest, String> {
    let unusable = |why: &str| format!("it redirects to what cannot be used: {why}");
    let url =
        resolve(from, location).ok_or_else(|| unusable("its scheme is none of ws, wss, http, https"))?;
    let to = from.at(&url).map_err(|_| unusable("the Location is malformed"))?;
    let (ours, theirs) = (from.endpoint(), to.endpoint());
    if ours.is_secure() && !theirs.is_secure() {
        return Err(format!("it redirects from wss to ws ({theirs}), which would give up encryption"));
    }
    let is_upgrade = !ours.is_secure() && theirs.is_secure() && (ours.port(), theirs.port()) == (80, 443);
    let is_same_server = ours.host().eq_ignore_ascii_case(theirs.host())
        && (is_upgrade || (ours.is_secure(), ours.port()) == (theirs.is_secure(), theirs.port()));
    if !is_same_server {
        return Err(format!(
            "it redirects to another origin, {theirs}; connect there if you trust it with the headers"
        ));
    }
    Ok(to)
}

/// RFC 3986 §5.2, for a base that is a WebSocket URL. HTTP's schemes are read as those of WebSocket. `None` for
/// other schemes.
fn resolve(base: &ConnectRequest, location: &str) -> Option<String> {
    // HTTP allows a fragment here, a WebSocket URL does not, and it means nothing to either server.
    let location = location.split('#').next().unwrap_or_default();
    let scheme = if base.endpoint().is_secure() { "wss" } else { "ws" };
    let before_path = location.find(['/', '?']).unwrap_or(location.len());
    if let Some((theirs, rest)) = location[..before_path].find(':').map(|colon| location.split_at(colon)) {
        let scheme = match theirs.to_ascii_lowercase().as_str() {
            "ws" | "http" => "ws",
            "wss" | "https" => "wss",
            _ => return None,
        };
        return Some(format!("{scheme}{rest}"));
    }
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    let base_path = base.path_and_query().split('?').next().unwrap_or_default();
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (location, String::new()),
    };
    let path = match path {
        "" if query.is_empty() => {
            return Some(format!("{scheme}://{}{}", base.authority(), base.path_and_query()));
        }
        "" => base_path.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let directory = base_path.rfind('/').map_or("/", |slash| &base_path[..=slash]);
            without_dots(&format!("{directory}{path}"))
        }
    };
    Some(format!("{scheme}://{}{path}{query}", base.authority()))
}

/// RFC 3986 §5.2.4, for a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

impl TungsteniteEngineBuilder {
    /// Follows so many redirects of the upgrade, at most 5 (default 0: a redirect is a refusal as any other). All
    /// of them share the attempt's deadline, and each opens a connection of its own after the old one is closed.
    ///
    /// Followed are 301, 302, 303, 307 and 308 to **the same server**: the same host, scheme and port, or from
    /// `ws://` at port 80 to `wss://` at port 443 of the host; never from `wss` to `ws`. Thus headers and
    /// credentials never reach another origin; who wants to go there makes a request of its own from the refusal's
    /// `Location`. `http` and `https` are read as `ws` and `wss`, relative locations are resolved, and userinfo in
    /// a location is ignored.
    ///
    /// A redirect that is not followed, a loop, and one redirect too many are
    /// [`EngineErrorKind::Refused`](crate::EngineErrorKind::Refused) with the reason in words.
    pub fn follow_redirects(mut self, limit: usize) -> Self {
        if limit > MOST {
            let words = format!("follow_redirects is {limit}, where {MOST} is the most");
            self.error = self.error.or_else(|| Some(invalid(words)));
        }
        self.redirects = limit;
        self
    }
}

/// Whether it is a URL at all, for the fuzzer's sake too: what is resolved always parses or is refused.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn resolves(base: &ConnectRequest, location: &str) -> bool {
    resolve(base, location).is_some_and(|url| url.parse::<http::Uri>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(url: &str, location: &str) -> Result<String, String> {
        let request = ConnectRequest::new(url).unwrap();
        target(&request, location).map(|to| format!("{}{}", to.endpoint(), to.path_and_query()))
    }

    #[test]
    fn a_location_of_the_same_server_is_resolved_against_the_request() {
        for (location, to) in [
            ("/x", "/x"),
            ("/x?y=1#z", "/x?y=1"),
            ("c", "/a/c"),
            ("c?q", "/a/c?q"),
            ("../c", "/c"),
            ("../../../c/./d/..", "/c/"),
            ("./", "/a/"),
            ("?q", "/a/b?q"),
            ("//h:81/x", "/x"),
            ("http://H:81/x", "/x"),
            ("HTTP://h:81", "/"),
            ("ws://h:81/x", "/x"),
            ("ws://other:secret@h:81/x", "/x"),
            ("x:y/z", ""), // a scheme
        ] {
            let expected = if to.is_empty() { None } else { Some(format!("ws://h:81{to}")) };
            let found = from("ws://h:81/a/b?old", location).ok().map(|url| url.to_ascii_lowercase());
            assert_eq!(found, expected, "{location}");
        }
    }

    #[test]
    fn only_the_same_server_is_gone_to_and_never_to_less_security() {
        assert_eq!(from("ws://h/a", "https://h/b").unwrap(), "wss://h:443/b");
        for (url, location, words) in [
            ("ws://h/", "//evil/", "another origin, ws://evil:80"),
            ("ws://h/", "ws://h:81/", "another origin"),
            ("ws://h/", "wss://h:444/", "another origin"),
            ("ws://h:81/", "wss://h/", "another origin"),
            ("wss://h/", "wss://h.evil/", "another origin"),
            ("wss://h/", "wss://h@evil/", "another origin, wss://evil:443"),
            ("wss://h/", "ws://h/", "give up encryption"),
            ("wss://h/", "http://h:443/", "give up encryption"),
            ("wss://h/", "ftp://h/", "its scheme"),
            ("wss://h/", "javascript:alert(1)", "its scheme"),
            ("wss://h/", "https://h:0/", "malformed"),
            ("wss://h/", "a b", "malformed"),
        ] {
            let refused = from(url, location).unwrap_err();
            assert!(refused.contains(words), "{url} {location}: {refused}");
        }
    }

    #[test]
    fn headers_go_along_and_credentials_of_a_location_are_ignored() {
        let request = ConnectRequest::new("wss://me:pw@h/").unwrap().header("cookie", "a=b").unwrap();
        let request = request.subprotocol("v1").unwrap();
        let to = target(&request, "https://you:other@h/x").unwrap();
        assert_eq!(to.headers(), request.headers());
        assert_eq!(to.subprotocols(), request.subprotocols());
        assert_eq!((to.path_and_query(), to.authority()), ("/x", "h"));
    }

    proptest! {
        #[test]
        fn no_location_panics_or_leads_elsewhere(location in "(https?://|wss?://|//|)(h|evil|h:81|h@evil|)[ -~]{0,20}") {
            let request = ConnectRequest::new("wss://h/a/b?c").unwrap();
            if let Ok(to) = target(&request, &location) {
                prop_assert_eq!(to.endpoint(), request.endpoint());
                prop_assert!(resolves(&request, &location));
                prop_assert!(to.path_and_query().starts_with('/'));
            }
        }
    }
}
