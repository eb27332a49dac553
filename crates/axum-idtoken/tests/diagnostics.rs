//! What the compiler tells people who forgot something.
//!
//! Each mistake is compiled only when asked for by name, by `.ci/run diagnostics`, which expects the
//! text after `says:`. `correct` is the same without the mistake.

#![allow(dead_code, unused_imports, reason = "compiled, not run")]

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use axum_idtoken::Caller;
use idtoken::Verifier;
use serde::Deserialize;

async fn hello(caller: Caller) -> String {
    caller.sub().to_owned()
}

#[derive(Deserialize)]
struct Extra {
    locale: String,
}

async fn locale(caller: Caller<Extra>) -> String {
    caller.extra().locale.clone()
}

#[derive(Clone)]
struct State {
    verifier: Verifier,
}

impl FromRef<State> for Verifier {
    fn from_ref(state: &State) -> Self {
        state.verifier.clone()
    }
}

#[test]
fn correct() {
    let _: fn(State) -> Router = |state| {
        Router::new()
            .route("/", get(hello))
            .route("/l", get(locale))
            .with_state(state)
    };
    let _: fn(Verifier) -> Router =
        |verifier| Router::new().route("/", get(hello)).with_state(verifier);
}

/// says: the state `()` holds no `Verifier` to verify callers with
/// says: use the verifier itself as state: `Router::with_state(verifier)`
#[cfg(mistake = "no_verifier_in_state")]
fn no_verifier_in_state() {
    fn is_extractor<S, T: axum::extract::FromRequestParts<S>>() {}
    is_extractor::<(), Caller>();
}

/// says: cannot be read from a token's claims
/// says: derive `serde::Deserialize` for it
#[cfg(mistake = "claims_that_nobody_can_read")]
fn claims_that_nobody_can_read() {
    struct Opaque;
    fn is_extractor<S, T: axum::extract::FromRequestParts<S>>() {}
    is_extractor::<Verifier, Caller<Opaque>>();
}

/// says: the state `()` holds no `Verifier` to verify callers with
#[cfg(mistake = "no_verifier_in_the_state_of_a_handler")]
#[axum::debug_handler(state = ())]
async fn no_verifier_in_the_state_of_a_handler(_: Caller) {}
