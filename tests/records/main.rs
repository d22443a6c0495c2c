//! `milena consume` and `milena produce` as people run them: processes, over TCP, on the test broker.
#![allow(clippy::disallowed_methods, reason = "processes have a time of their own")]

mod consuming;
mod copy;
mod deadlines;
mod decoding;
mod groups;
mod producing;
mod support;
mod transactions;
