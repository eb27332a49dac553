//! Peers that verify tokens: the same tokens, the same keys, audience, issuer and expiry checked.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use google_cloud_auth::credentials::idtoken::verifier;
use http::{Request, Response};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use jwt_authorizer::JwtAuthorizer;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;
use tower::{BoxError, Layer, Service, service_fn};
use tower_oauth2_resource_server::claims::DefaultClaims;
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;

use super::{World, in_turn};
use crate::fixtures::{AUDIENCE, EMAIL};
use crate::measure::{Case, at_once};

/// jsonwebtoken with its key ready: the least that a hand-written verifier does.
pub fn jsonwebtoken(world: &World) -> Case {
    let name = "jsonwebtoken: decode, key and rules ready";
    decode_each(name, Algorithm::RS256, ISSUER, &world.jwks, &world.tokens)
}

pub fn jsonwebtoken_es256(world: &World) -> Case {
    let name = "jsonwebtoken: decode, key and rules ready";
    decode_each(
        name,
        Algorithm::ES256,
        IAP_ISSUER,
        &world.iap_jwks,
        &world.iap,
    )
}

fn decode_each(
    name: &str,
    algorithm: Algorithm,
    issuer: &str,
    jwks: &str,
    tokens: &Arc<[String]>,
) -> Case {
    let header = decode_header(&tokens[0]).expect("a token");
    let keys: JwkSet = serde_json::from_str(jwks).expect("a key set");
    let jwk = keys.find(&header.kid.unwrap_or_default()).expect("the key");
    let key = DecodingKey::from_jwk(jwk).expect("a key");
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&[AUDIENCE]);
    rules.set_issuer(&[issuer]);
    in_turn(name, Arc::clone(tokens), move |token| {
        black_box(decode::<Map<String, Value>>(token, &key, &rules)).expect("good");
    })
}

/// Verifiers that fetch or are given the key set.
pub fn verifiers(runtime: &Runtime, world: &World) -> Result<Vec<Case>, BoxError> {
    let google = verifier::Builder::new([AUDIENCE])
        .with_email(EMAIL)
        .with_jwks_url(world.emulator.jwks_url())
        .build();
    runtime.block_on(google.verify(&world.tokens[0]))?;
    let rules = jwt_authorizer::Validation::new()
        .aud(&[AUDIENCE])
        .iss(&[ISSUER]);
    let authorizer = runtime.block_on(
        JwtAuthorizer::<Claims>::from_jwks_text(&world.jwks)
            .validation(rules)
            .check(|claims| {
                claims.email.as_deref() == Some(EMAIL) && claims.email_verified == Some(true)
            })
            .build(),
    )?;
    runtime.block_on(authorizer.check_auth(&world.tokens[0]))?;
    Ok(vec![
        in_turn(
            "google-cloud-auth: Verifier::verify, keys fetched",
            Arc::clone(&world.tokens),
            move |token| drop(black_box(at_once(google.verify(token))).expect("good")),
        )
        // Two at once, and one of them is refused: it could not take the lock on the keys.
        .alone(),
        in_turn(
            "jwt-authorizer: check_auth",
            Arc::clone(&world.tokens),
            move |token| drop(black_box(at_once(authorizer.check_auth(token))).expect("good")),
        ),
    ])
}

#[derive(Clone, serde::Deserialize)]
struct Claims {
    email: Option<String>,
    email_verified: Option<bool>,
}

/// tower-oauth2-resource-server, which verifies as a layer only.
pub fn layer(world: &World, request: Request<()>) -> Result<Case, BoxError> {
    let tenant = TenantConfiguration::static_builder(&world.jwks)
        .audiences(&[AUDIENCE])
        .build()?;
    let server = at_once(
        <OAuth2ResourceServer<DefaultClaims>>::builder()
            .add_tenant(tenant)
            .build(),
    )?;
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
    let service = server.into_layer::<()>().layer(inner);
    let answer = at_once(service.clone().call(request.clone()))?;
    if !answer.status().is_success() {
        return Err(format!("it answers a good token with {}", answer.status()).into());
    }
    Ok(Case::new(
        "tower-oauth2-resource-server: whole layer, request cloned",
        move |n| {
            let mut service = service.clone();
            for _ in 0..n {
                let answer = at_once(service.call(request.clone())).expect("an answer");
                assert!(black_box(answer).status().is_success());
            }
        },
    ))
}

const ISSUER: &str = "https://accounts.google.com";
const IAP_ISSUER: &str = "https://cloud.google.com/iap";
