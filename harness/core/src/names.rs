//! Closed sets of names: how enums are spelt in definitions, output and `run.json`.

/// A closed set of names: the enum, its names as they are written in definitions, output and
/// `run.json`, and the conversions between them.
macro_rules! names {
    ($(#[$meta:meta])* $type:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $name)] $variant),+
        }

        impl $type {
            /// Every value, in the order in which tables show them.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The name as it is written in definitions and results.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(text: &str) -> Result<Self, $crate::names::UnknownName> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| $crate::names::UnknownName {
                    what: $what,
                    name: text.to_owned(),
                    known: Self::ALL.iter().map(|value| value.name()).collect(),
                })
            }
        }
    };
}
pub(crate) use names;

/// A name that is not in its closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`; known: {}", known.join(", "))]
pub struct UnknownName {
    /// What the name should have been, for example `guarantee`.
    pub what: &'static str,
    /// The name as it was given.
    pub name: String,
    /// The names there are.
    pub known: Vec<&'static str>,
}
