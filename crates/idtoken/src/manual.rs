//! The manual: why it is so, what can go wrong, and which knob does what.
//!
//! It has no code of its own. Each part is short and names the items that it is about.
//!
//! # Audiences
//!
//! An ID token is made *for* somebody: its `aud`. The receiver takes no token that is for others, so
//! that a service which you call cannot use your token against a second one. Each service that you
//! call therefore needs a token of its own, and a [`TokenCache`](crate::TokenCache) keeps one for
//! each [`Audience`](crate::Audience).
//!
//! | what you call | its audience |
//! |---|---|
//! | a Cloud Run service, or a function of the second generation | its URL without a path: `https://hello-abc.a.run.app` |
//! | a function of the first generation | its whole URL: `https://REGION-PROJECT.cloudfunctions.net/NAME` |
//! | a service with custom audiences | any of them, letter by letter |
//! | something behind Identity-Aware Proxy | the OAuth client id of the proxy |
//! | anything else that verifies for itself | what its documentation says |
//!
//! Audiences are compared letter by letter: scheme, path, case and trailing slash count. A verifier
//! that is reached under several names is given each of them, or told to
//! [compare URLs](crate::VerifierBuilder::compare_audiences_as_urls) instead of letters.
//!
//! # Identity
//!
//! Who asks Google for a token chooses its audience, and anyone with a Google Cloud project can ask.
//! So a good signature, Google's `iss`, your `aud` and an `exp` ahead prove only that *somebody* wants
//! to talk to you. [`VerifierBuilder`](crate::VerifierBuilder) therefore does not build without an
//! identity rule: a [`Principal`](crate::Principal), a predicate, or the waiver
//! [`danger_any_google_identity`](crate::VerifierBuilder::danger_any_google_identity), for where
//! somebody else decides.
//!
//! Prefer service accounts by their e-mail address, which comes with `email_verified`. Addresses can
//! be deleted and made again by others in the same project; `sub` never is.
//!
//! # Headers
//!
//! Cloud Run looks for the token in `X-Serverless-Authorization` first and then in `Authorization`,
//! and takes the signature off the one that it has checked, so that nobody downstream can use it
//! again. What the function then sees ends in `SIGNATURE_REMOVED_BY_GOOGLE`, and proves nothing by
//! itself.
//!
//! | you want | the caller sends | the receiver |
//! |---|---|---|
//! | IAM decides, the function need not know | `Authorization`, the default | nothing to do |
//! | IAM decides, and the function knows who | both headers: `Header::Both` of `tower-idtoken` | verifies the one that is whole |
//! | the function alone decides (a public service) | `Authorization` | verifies it |
//! | `Authorization` belongs to your application | `X-Serverless-Authorization`, chosen by itself when the other is taken | IAM decides |
//! | Identity-Aware Proxy in front | `Proxy-Authorization` or `Authorization` | [`preset::iap`](crate::preset::iap) |
//!
//! # Senders
//!
//! Pub/Sub, Eventarc, Cloud Scheduler, Cloud Tasks, API Gateway and Identity-Aware Proxy each have
//! their own header, form of audience and identity. [`preset`](crate::preset) has a verifier for
//! each, made from what stands in the sender's configuration.
//!
//! # Order of layers
//!
//! From the outside: timeout, retry, redirect, *token*, client. Outside the token so that a timeout
//! counts the wait for it, a retried request gets one that is fresh then, and each hop of a redirect
//! is judged by its own host. On the server: tracing, limits, *token*, application.
//!
//! # The clock
//!
//! `exp` is wall-clock time, so tokens are compared with the wall clock; a monotonic one stands still
//! while a machine is suspended. The monotonic one is asked beside it: a clock that steps back makes
//! tokens due, not immortal. One that disagrees with Google's is found by the `Date` of an answer, by
//! a token that arrives expired, or by one from the future, and the error says by how much. Fix it
//! with a time service; a larger [`leeway`](crate::VerifierBuilder::leeway) only hides it.
//! [`Clock`](crate::Clock) is the seam for tests, [`ManualClock`](crate::clock::ManualClock) is one to
//! hold still.
//!
//! # When things fail
//!
//! | what happens | what you see |
//! |---|---|
//! | the token endpoint is slow or down while a token is good | nothing; it is asked again beside the requests, with back-off |
//! | the same, with no good token left | [`TokenError`](crate::TokenError) after [`fetch_timeout`](crate::cache::TokenCacheBuilder::fetch_timeout) at most; all who wait get the same one; the request is not sent |
//! | a permanent refusal | the same at once, with advice; asked again on later demand, since grants and accounts come and go |
//! | a caller gives up | the fetch goes on for the others |
//! | a source panics, a runtime ends | an error for those who wait; the next call starts afresh |
//! | the receiver answers 401 | with `distrust_on_401` of `tower-idtoken` the next request gets a new token |
//! | the key endpoint is down | known keys serve on past their cache time, once a fetch has failed, for [`stale_keys_for`](crate::VerifierBuilder::stale_keys_for); without any key 503 with `Retry-After` |
//! | keys rotate | the first token by a new key waits for one shared fetch |
//! | strangers send unknown key ids | one fetch in [`key_refetch_pause`](crate::VerifierBuilder::key_refetch_pause) for all of them; valid callers do not wait |
//!
//! Errors have a `kind()` to branch on, their cause in `source()`, and often `advice()`; none of them
//! ever holds a token.
//!
//! # Watching
//!
//! Each fetch is one [`tracing`] span, `fetch_id_token` at debug level with `audience` and `purpose`,
//! and one event in it: at debug level that a token came and how many milliseconds it took, or at
//! warning level the error and its cause. A clock that is more than 30 s behind is a warning of its
//! own. Requests that find their token say nothing.
//!
//! A refusal is an event at debug level, with its reason and advice;
//! [`explain_refusals`](crate::VerifierBuilder::explain_refusals) adds every check and the values
//! compared, which name callers.
//!
//! With the feature `metrics` the cache counts, through the crate of that name:
//!
//! | metric | what |
//! |---|---|
//! | `idtoken_hits_total` | calls that found a token |
//! | `idtoken_misses_total` | calls that had to wait for one, or were told why there is none |
//! | `idtoken_refreshes_total` | fetches beside a token that was still good; the others were waited for |
//! | `idtoken_fetch_failures_total` | fetches that brought no token, with the label `kind`: `clock`, `interrupted`, `invalid_answer`, `misconfigured`, `refused`, `transient`, `timeout`, `too_many_audiences`, `wrong_audience` |
//! | `idtoken_fetch_seconds` | a histogram of how long fetches took, whatever came of them |
//! | `idtoken_token_age_seconds` | a histogram of how long ago the tokens found had come |
//! | `idtoken_audiences` | a gauge of the audiences held |
//!
//! Instruments are looked up once, when the cache is built: install the recorder before. No label
//! names an audience, for strangers can make those up without end.
//!
//! # Starting and stopping
//!
//! Building needs no runtime and fetches nothing: the first request pays for the first token. To pay
//! before you listen, call [`warm`](crate::TokenCache::warm), or
//! [`warm_within`](crate::TokenCache::warm_within) to start anyway after a while. There is nothing to
//! stop: refreshes are driven by requests, and dropping the last handle ends the fetch that is under
//! way.
//!
//! # Tuning
//!
//! | knob | default | change it when |
//! |---|---|---|
//! | [`refresh_margin`](crate::cache::TokenCacheBuilder::refresh_margin) | 225 s | tokens are not from the metadata server and outages last longer |
//! | [`refresh_jitter`](crate::cache::TokenCacheBuilder::refresh_jitter) | 60 s | a large fleet shares a token endpoint |
//! | [`retry_pause`](crate::cache::TokenCacheBuilder::retry_pause) | 10 s | rarely |
//! | [`fetch_timeout`](crate::cache::TokenCacheBuilder::fetch_timeout) | 10 s | your own timeout is shorter |
//! | [`max_audiences`](crate::cache::TokenCacheBuilder::max_audiences) | 1,024 | you call more services than that |
//! | [`max_fetches`](crate::cache::TokenCacheBuilder::max_fetches) | 64 | a token endpoint limits you |
//! | [`leeway`](crate::VerifierBuilder::leeway) | 10 s | rarely |
//! | [`key_refetch_pause`](crate::VerifierBuilder::key_refetch_pause) | 10 s | tests that rotate keys by hand |
//! | [`stale_keys_for`](crate::VerifierBuilder::stale_keys_for) | 12 h | a withdrawn key must die sooner in an outage |
//! | [`remember_tokens`](crate::VerifierBuilder::remember_tokens) | 4,096 | more callers than that, or memory is short |
