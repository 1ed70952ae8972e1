//! The texts that sockets carry.

use std::fmt;

/// One text frame, as it is on the wire. It may hold bodies and tokens, so `Debug` shows only how long it is (R1).
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}
