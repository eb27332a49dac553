//! A caller and a function that may have something between them.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use axum_idtoken::Caller;
use idtoken::source::MetadataServer;
use idtoken::{Audience, Principal, TokenCache, Verifier};
use idtoken_emulator::{Account, Emulator};
use reqwest::{Client, ClientBuilder};
use tokio::net::TcpListener;
use tower_idtoken::{AddIdTokenLayer, Fixed};

use tower_idtoken::redirect;

use crate::attacks::AUDIENCE;
use crate::world::ATTACHED;

/// A function for the attached account alone; gives its port. HTTP/1.1, and HTTP/2 in plain text.
pub(crate) async fn function(google: &Emulator) -> u16 {
    let verifier = Verifier::builder()
        .audience(AUDIENCE)
        .allow(Principal::service_account(ATTACHED))
        // Envoy asks for tokens without an e-mail address.
        .allow(Principal::subject(Account::new(ATTACHED).unique_id()))
        .jwks_url(google.jwks_url())
        .build()
        .unwrap();
    serve(verifier).await
}

/// A function that tells callers what they are called, if this verifier lets them in; gives its port.
pub(crate) async fn serve(verifier: Verifier) -> u16 {
    let router = Router::new()
        .route("/", get(greet))
        .route("/open", get(async || "open"))
        .with_state(verifier);
    listen(router).await
}

/// Serves a router for as long as the test lives; gives its port.
pub(crate) async fn listen(router: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// Who called, by which headers.
async fn greet(caller: Caller, headers: HeaderMap) -> String {
    let names = ["authorization", "x-serverless-authorization"];
    let sent: Vec<_> = names
        .into_iter()
        .filter(|name| headers.contains_key(*name))
        .collect();
    let who = caller.email().unwrap_or_else(|| caller.sub());
    format!("{who} by {}", sent.join(" and "))
}

/// Adds the token of the attached account, for requests to 127.0.0.1 by a [`client`].
pub(crate) fn layer(google: &Emulator) -> AddIdTokenLayer {
    let source = MetadataServer::builder().host(google.host()).build();
    let tokens = TokenCache::new(Arc::new(source.unwrap()));
    let handle = tokens.handle(&Audience::new(AUDIENCE).unwrap());
    let policy = Fixed::new(handle).for_hosts(["127.0.0.1"]).unwrap();
    AddIdTokenLayer::with_policy(tokens, policy).assume_no_cross_host_redirects()
}

/// What the layer is around, and what asks without it.
pub(crate) fn client() -> ClientBuilder {
    Client::builder().no_proxy().redirect(redirect::same_host())
}
