//! [`RunId`] and [`PlanId`]: 16 bytes each, written like a UUID.

use std::fmt;
use std::str::FromStr;

/// A text that is not an id: 32 hexadecimal digits, with or without hyphens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits")]
pub struct ParseIdError;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Text form: lowercase hexadecimal in groups of 8-4-4-4-12, as a UUID; hyphens are optional when read.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps the 16 bytes of a UUID.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hyphenated(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match prefix_bounds(text) {
                    Some((low, high)) if low == high => Ok(Self(low)),
                    _ => Err(ParseIdError),
                }
            }
        }
    };
}

id_type! {
    /// Names one run of a command.
    RunId
}
id_type! {
    /// Names one plan.
    PlanId
}

fn hyphenated(bytes: &[u8; 16]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The smallest and largest id whose text starts with `prefix`; `None` if no id can.
pub(crate) fn prefix_bounds(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    let (mut low, mut high) = ([0_u8; 16], [0xff_u8; 16]);
    for (at, c) in prefix.chars().filter(|&c| c != '-').enumerate() {
        let digit = c.to_digit(16)? as u8;
        let (low, high) = (low.get_mut(at / 2)?, high.get_mut(at / 2)?);
        if at % 2 == 0 {
            *low = digit << 4;
            *high = digit << 4 | 0x0f;
        } else {
            *low = *low & 0xf0 | digit;
            *high = *low;
        }
    }
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_form_round_trips(bytes: [u8; 16]) {
            let id = PlanId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().replace('-', "").parse(), Ok(id));
        }

        #[test]
        fn bounds_hold_exactly_the_ids_with_the_prefix(bytes: [u8; 16], other: [u8; 16], len in 0_usize..=36) {
            let prefix = &hyphenated(&bytes)[..len];
            let (low, high) = prefix_bounds(prefix).expect("digits");
            prop_assert!(low <= bytes && bytes <= high);
            let digits = |text: &str| text.replace('-', "");
            let starts = digits(&hyphenated(&other)).starts_with(&digits(prefix));
            prop_assert_eq!(low <= other && other <= high, starts);
        }

        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,40}") {
            if let Ok(id) = text.parse::<RunId>() {
                prop_assert_eq!(id.to_string().replace('-', ""), text.replace('-', "").to_lowercase());
            }
        }
    }
}
