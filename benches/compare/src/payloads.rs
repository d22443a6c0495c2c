//! The values that all clients send: lines of text like the pipeline's events, each different from the others.

use std::fmt::Write;

/// A few thousand lines of `size` bytes.
pub fn payloads(size: usize) -> String {
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut line = || {
        let mut line = String::new();
        while line.len() < size {
            let kind = ["view", "add_to_cart", "purchase"][random(3) as usize];
            let (id, user, product) = (random(1 << 31), random(5000), random(1000));
            write!(
                line,
                r#"{{"event_id":"{id:08x}","user_id":{user},"event_type":"{kind}","product_id":"P{product}","#
            )
            .expect("a string takes everything");
            write!(line, r#""price":{}.{:02}}}"#, random(500), random(100)).expect("a string takes everything");
        }
        line.truncate(size);
        line + "\n"
    };
    (0..4096).map(|_| line()).collect()
}
