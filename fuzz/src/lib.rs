//! What targets share.

pub mod heap;
pub mod second;
