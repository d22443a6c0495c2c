//! Kafka's enumerations: a number on the wire, and a word for people.

/// Makes an enumeration with `ALL`, `Display`, `FromStr`, `to_wire` and `from_wire`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $wire:literal, $text:literal;)* }) => {
        $(#[$doc])*
        ///
        /// As text in Kafka's words; capitals, `_` and `-` don't matter when it is read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_doc])* $word,)*
            /// Something newer than this crate, by its number.
            Unknown(i8),
        }

        impl $name {
            /// All that this crate knows.
            pub const ALL: &[Self] = &[$(Self::$word,)*];

            #[allow(dead_code, reason = "not every one is both sent and received")]
            pub(crate) fn to_wire(self) -> i8 {
                match self {
                    $(Self::$word => $wire,)*
                    Self::Unknown(wire) => wire,
                }
            }

            #[allow(dead_code, reason = "not every one is both sent and received")]
            pub(crate) fn from_wire(wire: i8) -> Self {
                match wire {
                    $($wire => Self::$word,)*
                    wire => Self::Unknown(wire),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$word => f.pad($text),)*
                    Self::Unknown(wire) => write!(f, "Unknown({wire})"),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Error;

            /// # Errors
            /// `InvalidArgument`, with what there is.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
                let found = Self::ALL.iter().copied().find(|word| plain(&word.to_string()) == plain(text));
                found.ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
                    let message = format!("{text:?} is none of {}", all.join(", "));
                    $crate::error::Error::with_message($crate::error::ErrorKind::InvalidArgument, message)
                })
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use crate::admin::AclOperation;

    #[test]
    fn words_are_kafkas_however_they_are_written() {
        for operation in AclOperation::ALL {
            assert_eq!(operation.to_string().parse::<AclOperation>().unwrap(), *operation);
            assert_eq!(AclOperation::from_wire(operation.to_wire()), *operation);
        }
        assert_eq!("DESCRIBE_CONFIGS".parse::<AclOperation>().unwrap(), AclOperation::DescribeConfigs);
        let error = "reed".parse::<AclOperation>().unwrap_err().to_string();
        assert!(error.contains("reed") && error.contains("IdempotentWrite"), "{error}");
        let may = AclOperation::from_bits(1 << 3 | 1 << 8).unwrap();
        assert_eq!(may.into_iter().collect::<Vec<_>>(), [AclOperation::Read, AclOperation::Describe]);
        assert_eq!(AclOperation::from_bits(i32::MIN), None);
    }
}
