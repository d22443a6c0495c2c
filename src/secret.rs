//! [`Secret`]: text that nobody sees.

use std::fmt;
use zeroize::Zeroizing;

/// A password, a token or a private key. It never shows itself, neither by `Debug` nor in errors and logs, and its memory is
/// overwritten when it is dropped. That holds for this value: what has been sent went through the buffers of a socket.
///
/// ```
/// use milena::secret::Secret;
/// assert_eq!(format!("{:?}", Secret::from("open sesame")), "Secret(…)");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
