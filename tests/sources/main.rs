//! Every source, over sockets, against the emulator: a test for each row of what sources must do.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod child;
mod default;
mod external_account;
mod faults;
mod given;
mod impersonation;
mod metadata;
mod presence;
mod real_addresses;
mod service_account;
mod support;
mod user;
