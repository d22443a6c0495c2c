//! Ready-made clients for tests.
