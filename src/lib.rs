//! Owns the examples and the whole-system tests; has no code of its own.

/// Keeps the code blocks of the README compiling.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Those of the page for people who come from elsewhere.
#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from.md")]
struct ComingFrom;

/// Those of the page on the emulator.
#[cfg(doctest)]
#[doc = include_str!("../docs/emulator.md")]
struct EmulatorPage;
