//! The form in which URLs are compared: what is equal then leads to the same page.
//!
//! No parser of URLs: what is no URL comes out trimmed, and nothing is looked up or decoded.

/// Names of query parameters that say where a visitor came from, and nothing of the page; besides them all that begin with `utm_`.
const TRACKING: [&str; 12] =
    ["fbclid", "gclid", "dclid", "gbraid", "wbraid", "msclkid", "yclid", "twclid", "igshid", "mc_cid", "mc_eid", "_ga"];

/// `host/path?query` without scheme, user, `www.`, the scheme's own port, fragment, tracking parameters and slashes at the path's end; the host
/// in lower case. Path and query keep their case, order and escapes, for servers tell those apart.
pub fn url_normal(url: &str) -> String {
    let (scheme, host, rest) = divide(url);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut out = host_normal(host, scheme);
    out.push_str(path.trim_end_matches('/'));
    let mut mark = '?';
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty() && !is_tracking(parameter)) {
        out.push(mark);
        out.push_str(parameter);
        mark = '&';
    }
    out
}

/// The host in lower case, without user, port and `www.`.
pub(crate) fn url_host(url: &str) -> String {
    let (scheme, host, _) = divide(url);
    let host = host_normal(host, scheme);
    match host.rsplit_once(':') {
        // An address of IPv6 has its colons within brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.trim_end_matches('.').to_string(),
        _ => host,
    }
}

/// Scheme (empty where there is none), host with user and port, and the rest without its fragment.
fn divide(url: &str) -> (&str, &str, &str) {
    let url = url.trim();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => (scheme, rest),
        _ => ("", url.strip_prefix("//").unwrap_or(url)),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    (scheme, host, rest)
}

fn host_normal(host: &str, scheme: &str) -> String {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_lowercase();
    let port = match scheme.to_ascii_lowercase().as_str() {
        "https" => ":443",
        _ => ":80",
    };
    let host = host.strip_suffix(port).unwrap_or(&host);
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix("www.").unwrap_or(host).to_string()
}

fn is_tracking(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or(parameter).to_ascii_lowercase();
    name.starts_with("utm_") || TRACKING.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_of_one_page_are_equal() {
        for (url, expected) in [
            ("https://www.Example.org/A/b/", "example.org/A/b"),
            ("http://example.org:80/A/b#top", "example.org/A/b"),
            ("https://example.org:443/A/b?utm_source=x&gclid=1", "example.org/A/b"),
            ("//example.org/A/b?", "example.org/A/b"),
            ("example.org/A/b", "example.org/A/b"),
            ("http://example.org:443", "example.org:443"),
            ("https://user:word@example.org./?b=2&a=1&UTM_Medium=m", "example.org?b=2&a=1"),
            ("https://example.org/?page=a#b?c", "example.org?page=a"),
            ("https://example.org/r?to=http://www.x.org/", "example.org/r?to=http://www.x.org/"),
            ("https://例子.测试/路径/", "例子.测试/路径"),
            ("mailto:a@b.c", "b.c"),
            ("  ", ""),
            ("www.", "www"),
        ] {
            assert_eq!(url_normal(url), expected, "{url:?}");
        }
    }

    proptest! {
        #[test]
        fn any_string_is_taken(url in any::<String>()) {
            url_normal(&url);
        }

        #[test]
        fn scheme_www_and_fragment_say_nothing(host in "[a-z]{1,8}\\.[a-z]{2,3}", path in "(/[a-zA-Z0-9%]{1,5}){0,3}", query in "(\\?[a-z]=[0-9])?") {
            prop_assume!(!host.starts_with("www."));
            let plain = url_normal(&format!("{host}{path}{query}"));
            prop_assert_eq!(url_normal(&format!("https://www.{host}{path}/{query}#part")), plain.clone());
            prop_assert_eq!(url_normal(&plain), plain);
        }
    }
}
