//! The emulator over real sockets, judged by clients and checks that are not its own.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, helpers included"
)]

mod cloud_run;
mod faults;
mod federation;
#[cfg(unix)]
mod home;
mod iam;
mod keys;
mod lifecycle;
mod metadata;
mod minting;
mod page;
mod support;
mod tls;
mod token;
mod users;
