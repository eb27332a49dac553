//! Which policy a run goes by, and where its tokens belong.

use fastrand::Rng;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::{HeaderMap, Request};
use idtoken::{Audience, TokenCache};
use tower_idtoken::header::X_SERVERLESS_AUTHORIZATION;
use tower_idtoken::policy::RequestHead;
use tower_idtoken::{
    AddIdTokenLayer, ByHost, ByOrigin, Fixed, FromExtension, Header, Selection, TokenPolicy,
};

#[derive(Clone, Debug)]
pub(crate) struct Attached {
    policy: Choice,
    header: Header,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    ByHost,
    ByOrigin,
    Fixed,
    FromExtension,
}

impl Attached {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let policies = [
            Choice::ByHost,
            Choice::ByOrigin,
            Choice::Fixed,
            Choice::FromExtension,
        ];
        let headers = [
            Header::Authorization,
            Header::Both,
            Header::Custom(GATE),
            Header::ProxyAuthorization,
            Header::XServerlessAuthorization,
        ];
        Self {
            policy: *rng.choice(&policies).unwrap(),
            header: rng.choice(&headers).unwrap().clone(),
        }
    }

    /// The layer for requests to one audience.
    pub(crate) fn layer(
        &self,
        tokens: &TokenCache,
        audience: &Audience,
    ) -> AddIdTokenLayer<impl TokenPolicy + Clone> {
        let host = audience.as_str().strip_prefix("https://").unwrap();
        let by_origin = ByOrigin::refusing_others(["*.run.app"]).unwrap();
        let by_host = ByHost::refusing_others([(host, audience.clone())]).unwrap();
        let from_extension = FromExtension::refusing_others();
        let choice = self.policy;
        let fixed = matches!(choice, Choice::Fixed).then(|| Fixed::new(tokens.handle(audience)));
        let policy = move |head: RequestHead<'_>| match (choice, &fixed) {
            (Choice::ByHost, _) => by_host.select(head),
            (Choice::ByOrigin, _) => by_origin.select(head),
            (Choice::Fixed, Some(fixed)) => fixed.select(head),
            (Choice::Fixed, None) => Selection::Refuse,
            (Choice::FromExtension, _) => from_extension.select(head),
        };
        AddIdTokenLayer::with_policy(tokens.clone(), policy).header(self.header.clone())
    }

    /// The request, with an `Authorization` of its own or without.
    pub(crate) fn request(&self, audience: &Audience, has_own: bool) -> Request<()> {
        let mut request = Request::get(audience.as_str()).body(()).unwrap();
        request.extensions_mut().insert(audience.clone());
        if has_own {
            request.headers_mut().insert(AUTHORIZATION, OWN);
        }
        request
    }

    /// The token that a request arrives with: in the headers it belongs in, and in no others.
    pub(crate) fn token<'a>(&self, headers: &'a HeaderMap) -> &'a str {
        let has_own = headers.get(AUTHORIZATION) == Some(&OWN);
        let mut expected = match &self.header {
            Header::Authorization | Header::Both if has_own => vec![X_SERVERLESS_AUTHORIZATION],
            Header::Both => vec![AUTHORIZATION, X_SERVERLESS_AUTHORIZATION],
            Header::Custom(name) => vec![name.clone()],
            Header::ProxyAuthorization => vec![PROXY_AUTHORIZATION],
            Header::XServerlessAuthorization => vec![X_SERVERLESS_AUTHORIZATION],
            _ => vec![AUTHORIZATION],
        };
        if has_own {
            expected.push(AUTHORIZATION);
        }
        assert_eq!(headers.len(), expected.len(), "{:?}", headers.keys());
        let mut tokens = expected.iter().filter_map(|name| {
            let value = headers.get(name).expect("a request went out bare");
            (value != OWN).then(|| {
                assert!(value.is_sensitive());
                value.to_str().unwrap().strip_prefix("Bearer ").unwrap()
            })
        });
        let token = tokens.next().unwrap();
        assert!(tokens.all(|other| other == token));
        token
    }
}

const GATE: HeaderName = HeaderName::from_static("x-gate");
const OWN: HeaderValue = HeaderValue::from_static("Basic their-own");
