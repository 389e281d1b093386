//! How a section of the configuration is declared: once, as a struct whose comments are also the help.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// How the text of a flag or of a variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Text,
    /// As several texts with commas between them.
    List,
    /// As a value in TOML: a number, `true`, a table.
    Literal,
}

/// One option of a section.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name within the section.
    pub name: &'static str,
    /// What it does, line by line, each with a leading space.
    pub doc: &'static [&'static str],
    /// A value of it, in TOML.
    pub sample: &'static str,
    /// How its text is read.
    pub kind: Kind,
}

/// A type that an option may have.
pub(crate) trait Setting {
    const KIND: Kind;
}

macro_rules! settings {
    ($($kind:ident: $($ty:ty),+;)+) => { $($(impl Setting for $ty { const KIND: Kind = Kind::$kind; })+)+ };
}
pub(super) use settings;
settings! {
    Text: String, PathBuf, SocketAddr;
    List: Vec<String>;
    Literal: bool, u16, u64, usize;
}

impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;
}

impl<T> Setting for BTreeMap<String, T> {
    const KIND: Kind = Kind::Literal;
}

/// A section: a struct with a default for each field, which refuses what it does not know, and the list of its options.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $ty:ty = $default:expr, $sample:literal; )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[doc = $field_doc])+ #[serde(skip_serializing_if = "crate::config::is_unset")] pub $field: $ty, )+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field: $default, )+ }
            }
        }

        impl $name {
            /// What the section is about, line by line.
            pub const DOC: &'static [&'static str] = &[$($doc),+];
            /// Its options, in the order of the example.
            pub const OPTIONS: &'static [crate::config::Opt] = &[$(
                crate::config::Opt {
                    name: stringify!($field),
                    doc: &[$($field_doc),+],
                    sample: $sample,
                    kind: <$ty as crate::config::section::Setting>::KIND,
                },
            )+];
        }
    };
}
pub(super) use section;
