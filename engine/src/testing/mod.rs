//! For tests, yours and ours: an in-memory connection, a scripted engine, the conformance suite.
