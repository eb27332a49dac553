//! The proxy, the real binary, between clients of all kinds and services behind the front end of
//! an emulated Cloud Run.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod bounds;
mod endings;
mod grpc;
mod protocols;
mod support;
mod tls;
mod tokens;
mod websocket;
