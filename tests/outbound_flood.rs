//! A flood of hosts made up by strangers, through the layer: the audiences in use keep their tokens,
//! and nothing piles up.
//!
//! `IDTOKEN_FLOOD` says how many hosts; a round number of millions wants `--release`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use allocation_counter::measure;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response};
use idtoken::{Audience, IdToken, TokenCache, source};
use tokio::runtime::Runtime;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_idtoken::{AddIdTokenLayer, ByOrigin, FromExtension, TokenPolicy};

const BOUND: usize = 256;
const REGULARS: u64 = 50;

#[test]
fn hostile_hosts_through_by_origin_take_nothing_from_the_regulars() {
    flood_through(
        "ByOrigin",
        ByOrigin::refusing_others(["*.run.app"]).unwrap(),
    );
}

#[test]
fn hostile_hosts_through_from_extension_take_nothing_from_the_regulars() {
    flood_through("FromExtension", FromExtension::refusing_others());
}

fn flood_through<P: TokenPolicy + Clone>(name: &str, policy: P) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let fetched = Fetched::default();
    let tokens = cache(&fetched);
    let layer = AddIdTokenLayer::with_policy(tokens.clone(), policy);
    let flood = |from, to| {
        let allocated = measure(|| flood(&runtime, &layer, from, to));
        assert!(tokens.audiences() <= BOUND, "{}", tokens.audiences());
        allocated.bytes_current
    };
    let rounds = rounds();
    // What is bounded fills up first.
    let filled = flood(0, rounds / 10);
    let grown = flood(rounds / 10, rounds);
    println!(
        "{name}: {rounds} hosts, {filled} bytes after a tenth of them and {grown} more at the end"
    );
    assert!(grown < 256 * 1024, "{grown} bytes more");
    let fetched = fetched.lock().unwrap();
    assert_eq!(fetched.len() as u64, REGULARS);
    assert!(fetched.values().all(|times| *times == 1), "{fetched:?}");
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

/// One request to each stranger, and after each fourth of them one to a regular; before all of them
/// three to each regular, which make it one.
fn flood<P>(runtime: &Runtime, layer: &AddIdTokenLayer<P>, from: u64, to: u64)
where
    P: TokenPolicy + Clone,
{
    let upstream = service_fn(|request: Request<()>| {
        assert!(request.headers().contains_key("authorization"));
        ready(Ok::<_, Infallible>(Response::new(())))
    });
    let service = ServiceBuilder::new().layer(layer.clone()).service(upstream);
    let call = |host: String| {
        let origin = format!("https://{host}.a.run.app");
        let audience = Audience::new(&origin).unwrap();
        let request = Request::get(origin).extension(audience).body(()).unwrap();
        runtime.block_on(service.clone().oneshot(request)).unwrap();
    };
    if from == 0 {
        for n in 0..3 * REGULARS {
            call(format!("regular{}", n % REGULARS));
        }
    }
    for n in from..to {
        call(format!("stranger{n}"));
        if n % 4 == 0 {
            call(format!("regular{}", n / 4 % REGULARS));
        }
    }
}

type Fetched = Arc<Mutex<HashMap<String, u32>>>;

/// Counts what is fetched for regulars.
fn cache(fetched: &Fetched) -> TokenCache {
    let fetched = Arc::clone(fetched);
    let source = source::from_fn(move |audience: Audience| {
        if audience.as_str().contains("regular") {
            let mut fetched = fetched.lock().unwrap();
            *fetched.entry(audience.as_str().to_owned()).or_default() += 1;
        }
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"aud":"{audience}","exp":4000000000}}"#));
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        let token = IdToken::new(&format!("{header}.{claims}.c2lnbmF0dXJl"));
        ready(token.map_err(Into::into))
    });
    TokenCache::builder(source).max_audiences(BOUND).build()
}

#[allow(clippy::disallowed_methods, reason = "says how hard to try")]
fn rounds() -> u64 {
    let told = std::env::var("IDTOKEN_FLOOD").ok();
    told.map_or(20_000, |told| told.parse().unwrap())
}
