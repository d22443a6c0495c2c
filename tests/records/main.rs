//! `milena consume` and `milena produce` as people run them: processes, over TCP, on the test broker.

mod consuming;
mod copy;
mod decoding;
mod groups;
mod producing;
mod support;
mod transactions;
