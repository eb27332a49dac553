//! Owns the examples and the whole-system tests; has no code of its own.

/// Keeps the code blocks of the README compiling.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
