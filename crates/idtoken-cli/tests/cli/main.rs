//! The command as people and scripts run it: the real binary against an emulated Google.

#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod doctor;
mod emulate;
mod exit_codes;
mod inspect;
mod manual;
mod print;
mod source;
mod streams;
mod support;
mod verify;
mod world_file;
