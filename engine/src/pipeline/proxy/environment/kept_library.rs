//! Our rules against those of hyper-util's `Matcher`, which reads the same variables for HTTP clients: equal on what
//! both understand, and each difference by name.

use hyper_util::client::proxy::matcher::Matcher;
use proptest::{prelude::*, sample::select};

use super::*;
use crate::ConnectRequest;

/// What the variables say.
#[derive(Clone, Debug, Default)]
struct Variables {
    all: String,
    http: String,
    https: String,
    no: String,
}

/// Where a connection goes: `direct`, a proxy as `scheme://host:port` with its credentials, or `refused`.
type Way = String;

impl Variables {
    fn no(list: &str) -> Self {
        Self { all: "http://proxy:1".to_owned(), no: list.to_owned(), ..Self::default() }
    }

    fn all(proxy: &str) -> Self {
        Self { all: proxy.to_owned(), ..Self::default() }
    }

    fn ours(&self, host: &str, is_secure: bool) -> Way {
        let environment = Environment::read(|name| {
            let value = match name {
                "ALL_PROXY" => &self.all,
                "HTTP_PROXY" => &self.http,
                "HTTPS_PROXY" => &self.https,
                "NO_PROXY" => &self.no,
                _ => return None,
            };
            Some(value.clone())
        });
        let scheme = if is_secure { "wss" } else { "ws" };
        let request = ConnectRequest::new(&format!("{scheme}://{host}/")).unwrap();
        match environment.proxy_for(request.endpoint()) {
            Ok(None) => "direct".to_owned(),
            Err(_) => "refused".to_owned(),
            Ok(Some(proxy)) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let credentials = proxy.credentials.as_ref().map(|credentials| {
                    format!(" as {}:{}", text(&credentials.user), text(&credentials.password))
                });
                format!("{proxy}{}", credentials.unwrap_or_default())
            }
        }
    }

    fn theirs(&self, host: &str, is_secure: bool) -> Way {
        let Self { all, http, https, no } = self;
        let matcher = Matcher::builder().all(all).http(http).https(https).no(no).build();
        let scheme = if is_secure { "https" } else { "http" };
        let Some(found) = matcher.intercept(&format!("{scheme}://{host}/").parse().unwrap()) else {
            return "direct".to_owned();
        };
        let uri = found.uri();
        let scheme = uri.scheme_str().unwrap().replace("socks5h", "socks5");
        let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 1080 });
        let basic = found.basic_auth().map(|value| {
            let base64 = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            String::from_utf8(data_encoding::BASE64.decode(base64.as_bytes()).unwrap()).unwrap()
        });
        let raw = found.raw_auth().map(|(user, password)| format!("{user}:{password}"));
        let credentials = basic.or(raw).map(|both| format!(" as {both}"));
        format!("{scheme}://{}:{port}{}", uri.host().unwrap(), credentials.unwrap_or_default())
    }
}

#[test]
fn where_we_differ_from_hyper_util_is_known_and_has_its_reason() {
    let no = Variables::no;
    let all = Variables::all;
    let proxy = "http://proxy:1";
    for (variables, host, ours, theirs, _reason) in [
        (no("*"), "1.2.3.4", "direct", proxy, "as curl: everybody means addresses, too"),
        (no("a b"), "b", "direct", proxy, "curl parts the list by blanks, too"),
        (no("*.dev"), "a.dev", "direct", proxy, "often written, and it cannot mean anything else"),
        (no("[::1]"), "[::1]", "direct", proxy, "an address as a URL writes it"),
        (no("h."), "h", "direct", proxy, "as curl: a dot at the end is the same name"),
        (no("h"), "h.", "direct", proxy, "the same, of the server"),
        (no("1.2.3.4/+8"), "1.9.9.9", proxy, proxy, "neither takes a sign"),
        (all("socks4://h"), "h", "refused", "socks4://h:1080", "not supported: said, not passed by"),
        (all("https://h"), "h", "refused", "https://h:1080", "not supported: said, not passed by"),
        (
            all("ftp://h"),
            "h",
            "refused",
            "direct",
            "who sets a proxy may rely on it: never around it in silence",
        ),
        (all("http://h h"), "h", "refused", "direct", "the same"),
        (all("http://h:0"), "h", "refused", "http://h:0", "a port that cannot be"),
        (all(" http://h "), "h", "http://h:80", "direct", "a blank around it is nobody's intention"),
        (all("http://@h"), "h", "http://h:80", "http://h:80 as :", "no userinfo is no credentials"),
    ] {
        assert_eq!(variables.ours(host, true), ours, "{variables:?} {host}");
        assert_eq!(variables.theirs(host, true), theirs, "{variables:?} {host}: hyper-util has changed");
    }
    // And of names, which their builder does not see: lower case first, as curl; a CGI server's HTTP_PROXY is ignored,
    // where they ignore all variables; an empty one is as good as none.
}

#[test]
fn both_read_the_forms_that_are_in_use_in_the_same_way() {
    let no = Variables::no;
    let all = Variables::all;
    for (variables, host) in [
        (all("http://h:3128"), "x"),
        (all("h:3128"), "x"),
        (all("h"), "x"),
        (all("http://us%40r:p%3Aw@h:1/path"), "x"),
        (all("user:pw@h:1"), "x"),
        (all("http://user@h"), "x"),
        (all("socks5://u:p@h"), "x"),
        (all("socks5h://h:9"), "x"),
        (all("http://[::1]:3128"), "x"),
        (no("*"), "name"),
        (no(".Example.org"), "example.ORG"),
        (no("example.org"), "a.b.example.org"),
        (no("example.org"), "notexample.org"),
        (no("org,.net"), "example.net"),
        (no("10.0.0.0/8, fd00::/8"), "10.255.0.1"),
        (no("10.0.0.0/8, fd00::/8"), "[fd12::1]"),
        (no("10.0.0.0/8, fd00::/8"), "11.0.0.1"),
        (no("::1"), "[::1]"),
        (no("0.0.0.0/0"), "8.8.8.8"),
        (no("0.0.0.0/33"), "0.0.0.0"),
        (no("3.4"), "1.2.3.4"),
        (no(".4,4"), "1.2.3.4"),
        (no("::1"), "name"),
        (no(",,"), "name"),
        (no("h:80"), "h"),
        (no("10.0.0.0/8"), "10.0.0.0.example.org"),
    ] {
        for is_secure in [false, true] {
            let (ours, theirs) = (variables.ours(host, is_secure), variables.theirs(host, is_secure));
            assert_eq!(ours, theirs, "{variables:?} {host}");
        }
    }
}

fn any_proxy() -> impl Strategy<Value = String> {
    let userinfo = select(vec!["", "", "user:pw@", "u%40:p%25@", "user@"]);
    let host = prop_oneof![
        "[a-z][a-z0-9-]{0,6}(\\.[a-z]{1,4}){0,2}",
        any::<[u8; 4]>().prop_map(|address| IpAddr::from(address).to_string()),
        any::<[u8; 16]>().prop_map(|address| format!("[{}]", IpAddr::from(address))),
    ];
    let port = prop_oneof![Just(String::new()), (1..=u16::MAX).prop_map(|port| format!(":{port}"))];
    (select(vec!["http://", "socks5://", "socks5h://", ""]), userinfo, host, port)
        .prop_map(|(scheme, userinfo, host, port)| format!("{scheme}{userinfo}{host}{port}"))
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 2 => any_proxy()]
}

/// Hosts and entries of few letters, so that they meet often.
fn any_host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{1,2}(\\.[abA]{1,2}){0,3}",
        [0..3_u8, 0..3, 0..3, 0..3].prop_map(|address| IpAddr::from(address).to_string()),
        (0..4_u128).prop_map(|low| format!("[fd00::{low}]")),
    ]
}

fn any_entry() -> impl Strategy<Value = String> {
    prop_oneof![
        any_host().prop_map(|host| host.trim_matches(['[', ']']).to_owned()),
        "\\.?[ab]{1,2}(\\.[ab]{1,2}){0,2}",
        ([0..3_u8, 0..3, 0..3, 0..3], 0..=34_u8)
            .prop_map(|(at, bits)| format!("{}/{bits}", IpAddr::from(at))),
        (0..4_u128, 120..=130_u8).prop_map(|(low, bits)| format!("fd00::{low}/{bits}")),
        select(vec!["", "0.1", ".1", "::", "1.2.3", "a:80", "/", "a/8"]).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_choose_the_same_way(
        (all, http, https) in (any_value(), any_value(), any_value()),
        entries in prop::collection::vec(any_entry(), 0..5),
        host in any_host(),
        is_secure: bool,
    ) {
        let variables = Variables { all, http, https, no: entries.join(", ") };
        prop_assert_eq!(variables.ours(&host, is_secure), variables.theirs(&host, is_secure));
    }
}
