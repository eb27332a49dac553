//! PURE: when two spellings of an audience are one.

/// The normal form of an audience that is a URL: scheme and host in lower case, no default port,
/// no trailing slash. Any other audience is its own.
pub(crate) fn normal_form(audience: &str) -> String {
    let as_it_is = || audience.to_owned();
    let Some((scheme, rest)) = audience.split_once("://") else {
        return as_it_is();
    };
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return as_it_is(),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return as_it_is();
    }
    let authority = authority.to_ascii_lowercase();
    let host = authority.strip_suffix(default_port).unwrap_or(&authority);
    let path = match path.strip_suffix('/') {
        Some(shorter) if !path.contains(['?', '#']) => shorter,
        _ => path,
    };
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_have_one_form() {
        for (text, form) in [
            ("HTTPS://F.a.Run.App/", "https://f.a.run.app"),
            ("https://f.a.run.app:443", "https://f.a.run.app"),
            ("http://f.a.run.app:80/", "http://f.a.run.app"),
            ("https://f.a.run.app:80", "https://f.a.run.app:80"),
            ("https://[::1]:443/", "https://[::1]"),
            ("https://f.a.run.app/Push/", "https://f.a.run.app/Push"),
            ("https://f.a.run.app//", "https://f.a.run.app/"),
            ("https://f.a.run.app/?x=/", "https://f.a.run.app/?x=/"),
            ("https://A@f.a.run.app/", "https://A@f.a.run.app/"),
            ("MyService/", "MyService/"),
            ("/projects/1/apps/P", "/projects/1/apps/P"),
            ("ftp://F/", "ftp://F/"),
            ("", ""),
        ] {
            assert_eq!(normal_form(text), form, "{text}");
        }
    }
}
