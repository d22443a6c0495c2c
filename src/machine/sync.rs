//! Where the accumulator's locks and atomics come from: the standard library, or in its model test shuttle, which tries the
//! orders in which threads can run: `RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/shuttle --lib model`. In unit
//! tests locks are counted.

#[cfg(all(test, not(shuttle)))]
pub(super) mod counted;
#[cfg(all(test, not(shuttle)))]
pub(super) use counted::Mutex;
#[cfg(all(test, shuttle))]
pub(super) use shuttle::sync::{Mutex, MutexGuard, atomic::*};
#[cfg(not(test))]
pub(super) use std::sync::Mutex;
#[cfg(not(all(test, shuttle)))]
pub(super) use std::sync::{
    MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
