//! Numbers of fixed length, by rpk's names for them: what `consume` writes by `%p{big32}`, `produce` reads by it.

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    /// So many hexadecimal digits.
    Hex(usize),
    /// So many bytes, the greatest first.
    Big(usize),
    /// So many bytes, the least first.
    Little(usize),
}

impl Fixed {
    /// The one that is called so.
    pub fn named(modifier: &str) -> Option<Self> {
        Some(match modifier {
            "hex4" => Self::Hex(1),
            "hex8" => Self::Hex(2),
            "hex16" => Self::Hex(4),
            "hex32" => Self::Hex(8),
            "hex64" => Self::Hex(16),
            "byte" | "big8" => Self::Big(1),
            "big16" => Self::Big(2),
            "big32" => Self::Big(4),
            "big64" => Self::Big(8),
            "little8" => Self::Little(1),
            "little16" => Self::Little(2),
            "little32" => Self::Little(4),
            "little64" => Self::Little(8),
            _ => return None,
        })
    }
}
