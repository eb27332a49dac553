//! Owns the examples and the whole-system tests; has no code of its own.
