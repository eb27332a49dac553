//! Other people's software against the emulator, our clients and our verifier.
//!
//! What to run is told by `IDTOKEN_PYTHON`, `IDTOKEN_NODE`, `IDTOKEN_CLOUD_AUTH`, `IDTOKEN_ENVOY`,
//! `IDTOKEN_NGINX` and `IDTOKEN_GCLOUD`; for each that is not set nothing is run, and the output says
//! so. `tests/interop/run` sets them. Each line that begins with `|` is a row of docs/interop.md.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod attacks;
mod counterpart;
mod differential;
mod envoy;
mod faults;
mod gcloud;
mod iap;
mod nginx;
mod receiver;
mod tokens;
mod verdicts;
mod wire;
mod world;
