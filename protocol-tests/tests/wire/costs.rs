//! What the guard charges for a struct is at least what the schema crate spends on it: the ground under
//! `memory_limit`, which `wire_memory.rs` then measures.

use kafka_protocol::messages::*;
use milena::wire::guard::{Kind, NEVER, memory_limit, table};
use protocol_tests::schema::versions;

/// Row of `STRUCTS`, size in the crate; written by `generate_guard … sizes`.
const SIZES: &[(usize, usize)] = &include!("sizes.in");

#[test]
fn the_price_of_a_struct_covers_its_size() {
    assert!(SIZES.len() > 400);
    for &(id, size) in SIZES {
        let cost = usize::from(table::STRUCTS[id].cost);
        assert!(cost >= size, "struct {id}: the table says {cost}, the crate's takes {size}");
        assert!(cost <= 2 * size, "struct {id}: {cost} is far more than {size}, the limit would refuse real frames");
    }
}

/// The dearest element of the schema takes 51 bytes for each of its own, so that the limit refuses no frame of known
/// fields up to 119 kB, whatever is in it.
#[test]
fn small_frames_always_pass_the_memory_limit() {
    let mut worst: f64 = 0.0;
    for (message, version) in versions() {
        let flexible = version >= message.flexible;
        let mut todo = vec![message.root];
        while let Some(id) = todo.pop() {
            let present = |from, to| from <= version && version <= to;
            for field in table::STRUCTS[usize::from(id)].fields.iter().filter(|f| present(f.from, f.to)) {
                match field.kind {
                    Kind::Struct(inner) => todo.push(inner),
                    Kind::Structs(inner) => {
                        let least = least(inner, version, flexible);
                        assert!(least > 0, "struct {inner} takes no bytes in v{version}: a count would cost nothing");
                        worst = worst.max(f64::from(table::STRUCTS[usize::from(inner)].cost) / least as f64);
                        todo.push(inner);
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(worst <= 51.0, "{worst} bytes of memory for each byte");
    assert!(51 * 119_000 <= memory_limit(119_000));
}

/// The fewest bytes a struct takes in a version.
fn least(id: u16, version: u8, flexible: bool) -> usize {
    let length = |long| if flexible { 1 } else { long };
    let fields = table::STRUCTS[usize::from(id)].fields.iter();
    let sizes = fields.filter(|f| f.tag == NEVER && f.from <= version && version <= f.to).map(|f| match f.kind {
        Kind::Fixed(size) => size.into(),
        Kind::Str => length(2),
        Kind::Struct(_) if version >= f.null => 1,
        Kind::Struct(inner) => least(inner, version, flexible),
        _ => length(4),
    });
    sizes.sum::<usize>() + usize::from(flexible)
}
