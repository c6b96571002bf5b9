//! The proxy that the environment names, by the rules of curl; `kept_library` holds them against hyper-util's.

use std::net::IpAddr;

use super::{Proxy, invalid};
use crate::{Endpoint, EngineError};

/// What the environment says about proxies, read once.
#[derive(Debug)]
pub(crate) struct Environment {
    /// For `wss://`. A value that cannot be used is an error only of the attempts that need it.
    secure: Option<Result<Proxy, EngineError>>,
    /// For `ws://`.
    plain: Option<Result<Proxy, EngineError>>,
    direct: Vec<Direct>,
}

/// An entry of `NO_PROXY`: who is reached without the proxy.
#[derive(Debug, Eq, PartialEq)]
enum Direct {
    Everybody,
    Network {
        address: IpAddr,
        prefix: u32,
    },
    /// A name and all below it; lower case, without dots around it.
    Domain(String),
}

impl Environment {
    /// Reads the variables through `variable`. Lower case comes before upper case, the variable of the scheme
    /// before `ALL_PROXY`; an empty one is as good as none.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| {
                let value = variable(name)?;
                let value = value.trim();
                (!value.is_empty()).then(|| ((*name).to_owned(), value.to_owned()))
            })
        };
        // A CGI server puts a request's header `Proxy` into HTTP_PROXY, where anybody could write it.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let plain: &[&str] = if is_cgi { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
        let all = &["all_proxy", "ALL_PROXY"];
        let proxy =
            |names: &[&str]| first(names).or_else(|| first(all)).map(|(name, url)| parse(&name, &url));
        let no_proxy = first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
        Self {
            secure: proxy(&["https_proxy", "HTTPS_PROXY"]),
            plain: proxy(plain),
            direct: no_proxy
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter_map(Direct::parse)
                .collect(),
        }
    }

    /// The proxy for an endpoint, if there is to be one.
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidConfiguration`](crate::EngineErrorKind::InvalidConfiguration), naming the
    /// variable whose value cannot be used.
    pub(crate) fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, EngineError> {
        if self.direct.iter().any(|entry| entry.covers(endpoint.host())) {
            return Ok(None);
        }
        let proxy = if endpoint.is_secure() { &self.secure } else { &self.plain };
        proxy.as_ref().map(|proxy| proxy.as_ref().map_err(Clone::clone)).transpose()
    }
}

/// A value without a scheme is an HTTP proxy, as everywhere.
fn parse(name: &str, url: &str) -> Result<Proxy, EngineError> {
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    Proxy::parse(&with_scheme, None).map_err(|error| {
        invalid(format!("the environment's {name} is no proxy that can be used")).with_source(error)
    })
}

impl Direct {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::Everybody);
        }
        let (address, prefix) = match entry.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (entry, None),
        };
        let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        if let Ok(address) = address.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let digits = prefix.is_none_or(|prefix| prefix.bytes().all(|byte| byte.is_ascii_digit()));
            let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok()).filter(|_| digits)?;
            return (prefix <= bits).then_some(Self::Network { address, prefix });
        }
        let domain = entry.strip_prefix("*.").unwrap_or(entry).trim_matches('.').to_ascii_lowercase();
        (!domain.is_empty()).then_some(Self::Domain(domain))
    }

    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Everybody => true,
            Self::Network { address, prefix } => match (host.parse(), address) {
                (Ok(IpAddr::V4(host)), IpAddr::V4(network)) => {
                    let differing = host.to_bits() ^ network.to_bits();
                    differing.checked_shr(32 - prefix).unwrap_or(0) == 0
                }
                (Ok(IpAddr::V6(host)), IpAddr::V6(network)) => {
                    let differing = host.to_bits() ^ network.to_bits();
                    differing.checked_shr(128 - prefix).unwrap_or(0) == 0
                }
                _ => false,
            },
            // `3.4` is no part of the address 1.2.3.4.
            Self::Domain(_) if host.parse::<IpAddr>().is_ok() => false,
            Self::Domain(domain) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(domain.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod kept_library;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ConnectRequest;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let request = ConnectRequest::new(url).unwrap();
        environment(variables).proxy_for(request.endpoint()).unwrap().map(ToString::to_string)
    }

    #[test]
    fn the_scheme_chooses_the_variable_and_lower_case_comes_first() {
        let some = |url: &str| Some(url.to_owned());
        let all = [
            ("HTTPS_PROXY", "http://upper:1"),
            ("HTTP_PROXY", "plain:2"),
            ("ALL_PROXY", "socks5://u:p@all:3"),
        ];
        assert_eq!(proxy(&all, "wss://h"), some("http://upper:1"));
        assert_eq!(proxy(&all, "ws://h"), some("http://plain:2"));
        assert_eq!(proxy(&all[2..], "ws://h"), some("socks5://all:3"));
        let both = [("https_proxy", "lower:4"), all[0]];
        assert_eq!(proxy(&both, "wss://h"), some("http://lower:4"));
        assert_eq!(proxy(&both, "ws://h"), None);
        let empty = [("https_proxy", " "), all[2]];
        assert_eq!(proxy(&empty, "wss://h"), some("socks5://all:3"));
        assert_eq!(proxy(&[], "wss://h"), None);
    }

    #[test]
    fn a_cgi_request_cannot_name_the_proxy() {
        let variables = [("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(proxy(&variables, "ws://h"), None);
    }

    #[test]
    fn no_proxy_knows_names_addresses_networks_and_everybody() {
        let list = " .Example.org, localhost 10.0.0.0/8,192.168.1.9,[::1],fd00::/8,*.dev, 0.0.0.0/33,,x/y";
        let variables = [("all_proxy", "p:1"), ("NO_PROXY", list)];
        for host in [
            "example.org",
            "a.EXAMPLE.org",
            "localhost",
            "10.255.0.1",
            "192.168.1.9",
            "[::1]",
            "[fd12::1]",
            "a.dev",
            "example.org.",
        ] {
            assert_eq!(proxy(&variables, &format!("ws://{host}/")), None, "{host}");
        }
        for host in [
            "notexample.org",
            "example.org.evil",
            "11.0.0.1",
            "192.168.1.90",
            "[::2]",
            "[fe00::1]",
            "1.2.3.4",
        ] {
            assert!(proxy(&variables, &format!("ws://{host}/")).is_some(), "{host}");
        }
        assert_eq!(proxy(&[("all_proxy", "p:1"), ("no_proxy", "*")], "ws://h"), None);
        assert_eq!(proxy(&[("all_proxy", "p:1"), ("no_proxy", "0.0.0.0/0")], "ws://1.2.3.4"), None);
    }

    #[test]
    fn a_bad_value_is_named_when_it_is_needed_and_never_shown() {
        let environment = environment(&[("HTTPS_PROXY", "https://u:s3cret@h"), ("NO_PROXY", "direct")]);
        let endpoint = |url| ConnectRequest::new(url).unwrap().endpoint().clone();
        assert!(environment.proxy_for(&endpoint("wss://direct/")).unwrap().is_none());
        assert!(environment.proxy_for(&endpoint("ws://h/")).unwrap().is_none());
        let error = environment.proxy_for(&endpoint("wss://h/")).unwrap_err();
        assert!(error.to_string().contains("HTTPS_PROXY"), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn no_list_panics(list in "[ -~]{0,40}", host in "[a-z0-9.]{1,20}") {
            let entries = list.split(',').filter_map(Direct::parse);
            let covered = entries.map(|entry| entry.covers(&host)).filter(|&covered| covered).count();
            prop_assert!(covered <= list.len() + 1);
        }

        #[test]
        fn a_network_covers_its_addresses_and_no_others(address: [u8; 4], prefix in 0..=32_u32, flip in 0..32_u32) {
            let network = IpAddr::from(address);
            let entry = Direct::parse(&format!("{network}/{prefix}")).unwrap();
            let other = u32::from_be_bytes(address) ^ (1 << (31 - flip));
            let host = std::net::Ipv4Addr::from_bits(other).to_string();
            prop_assert_eq!(entry.covers(&host), flip >= prefix);
        }
    }
}
