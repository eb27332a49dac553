//! The emulator over real sockets, judged by clients and checks that are not its own.

mod faults;
mod keys;
mod lifecycle;
mod metadata;
mod minting;
mod support;
mod token;
