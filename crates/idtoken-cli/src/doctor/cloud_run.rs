//! Cloud Run's side: which audiences it takes, whom it lets in, and who can change that.

use http::Uri;
use idtoken::{Audience, UnverifiedClaims};

use super::report::Finding;
use crate::exit::Exit;

/// Whether the front end at `target` can be expected to take tokens for `audience`.
pub(super) fn audience(audience: &Audience, target: Option<&Uri>) -> Finding {
    let text = audience.as_str();
    let uri = text
        .parse::<Uri>()
        .ok()
        .filter(|uri| uri.scheme().is_some() && uri.host().is_some());
    let Some(uri) = uri else {
        return custom(audience, target);
    };
    let host = uri.host().unwrap_or_default();
    if uri.scheme_str() != Some("https") {
        return Finding::bad("audience", Exit::Finding, format!("{text} is not https"))
            .with_advice(format!(
                "Cloud Run's audiences are https: ask for https://{host}"
            ));
    }
    let called = target.and_then(Uri::host).unwrap_or(host);
    if !called.eq_ignore_ascii_case(host) {
        return custom(audience, target);
    }
    let rest = text
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)))
        .unwrap_or_default();
    match rest {
        "" if host.ends_with(".run.app") => {
            Finding::good("audience", format!("{text} is the service's own URL"))
        }
        "/" => Finding::note(
            "audience",
            format!("{text} ends with a slash"),
            format!("audiences are compared letter by letter: rather ask for https://{host}"),
        ),
        _ if host.ends_with(".cloudfunctions.net") => Finding::note(
            "audience",
            format!("{text} is right for a first-generation function"),
            "one of the second generation wants its run.app URL",
        ),
        _ if host.ends_with(".run.app") => {
            Finding::bad("audience", Exit::Finding, format!("{text} has a path")).with_advice(
                format!("a service's audience ends with its host: https://{host}"),
            )
        }
        _ => custom(audience, target),
    }
}

fn custom(audience: &Audience, target: Option<&Uri>) -> Finding {
    let service = Service::of(target.and_then(Uri::host));
    Finding::note(
        "audience",
        format!("{audience} works where it is one of the service's custom audiences"),
        format!(
            "gcloud run services update {} --region={} --add-custom-audiences={audience}",
            service.name, service.region
        ),
    )
}

/// Whether the caller may call cannot be seen from here; what would change it can be told.
pub(super) fn permission(
    audience: &Audience,
    target: Option<&Uri>,
    claims: Option<&UnverifiedClaims>,
) -> Finding {
    let host = target.and_then(Uri::host);
    let service = Service::of(host);
    let email = claims.and_then(UnverifiedClaims::email);
    let member = match email {
        Some(email) if email.ends_with(".gserviceaccount.com") => format!("serviceAccount:{email}"),
        Some(email) => format!("user:{email}"),
        None => "serviceAccount:EMAIL".to_owned(),
    };
    let who = email.unwrap_or("the caller");
    let place = host.unwrap_or(audience.as_str());
    Finding::note(
        "permission",
        format!("{place} answers 403 unless {who} has roles/run.invoker there"),
        format!(
            "gcloud run services add-iam-policy-binding {} --region={} --member={member} \
             --role=roles/run.invoker",
            service.name, service.region
        ),
    )
}

/// What a service's URL tells of it: `NAME-HASH-REGION.a.run.app`, where the region is a code, or
/// `NAME-NUMBER.REGION.run.app`; a tag and `---` may stand before either.
#[derive(Debug, Eq, PartialEq)]
struct Service {
    name: String,
    region: String,
}

impl Service {
    fn of(host: Option<&str>) -> Self {
        host.and_then(Self::parse).unwrap_or_else(|| Self {
            name: "SERVICE".to_owned(),
            region: "REGION".to_owned(),
        })
    }

    fn parse(host: &str) -> Option<Self> {
        let (label, region) = host.strip_suffix(".run.app")?.split_once('.')?;
        let label = label.split_once("---").map_or(label, |(_, label)| label);
        let (name, region) = if region == "a" {
            let mut parts = label.rsplitn(3, '-');
            let (_code, _hash) = (parts.next()?, parts.next()?);
            (parts.next()?, "REGION")
        } else {
            let (name, number) = label.rsplit_once('-')?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            (is_number.then_some(name)?, region)
        };
        Some(Self {
            name: name.to_owned(),
            region: region.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_fits_its_url_or_not() {
        for (text, url, told) in [
            ("https://a-x-uc.a.run.app", None, "good: "),
            ("https://a-x-uc.a.run.app/", None, "note: "),
            ("https://a-x-uc.a.run.app/path", None, "bad: "),
            ("http://a-x-uc.a.run.app", None, "bad: "),
            ("my-api", None, "note: "),
            (
                "my-api",
                Some("https://a-12.europe-west1.run.app"),
                "note: my-api works where it is one of the service's custom audiences | gcloud run \
                 services update a --region=europe-west1 --add-custom-audiences=my-api",
            ),
            (
                "https://api.example.com",
                Some("https://a-x-uc.a.run.app"),
                "note: ",
            ),
            ("https://r-p.cloudfunctions.net/hello", None, "note: "),
        ] {
            let url = url.map(|url| url.parse::<Uri>().unwrap());
            let found = audience(&Audience::new(text).unwrap(), url.as_ref()).summary();
            assert!(found.starts_with(told), "{text}: {found}");
        }
    }

    #[test]
    fn a_services_url_tells_its_name() {
        for (host, name, region) in [
            ("hello-abc123-uc.a.run.app", "hello", "REGION"),
            ("my-shop-abc123-ew.a.run.app", "my-shop", "REGION"),
            ("blue---my-shop-abc123-ew.a.run.app", "my-shop", "REGION"),
            (
                "my-shop-1234567890.europe-west1.run.app",
                "my-shop",
                "europe-west1",
            ),
            ("my-shop.europe-west1.run.app", "SERVICE", "REGION"),
            ("api.example.com", "SERVICE", "REGION"),
        ] {
            let service = Service::of(Some(host));
            assert_eq!((&*service.name, &*service.region), (name, region), "{host}");
        }
    }
}
