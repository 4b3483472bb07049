//! The words of a description: names, and what each choice is called.

use tickloom_protocol::limits;
use tickloom_protocol::quantise::Mode;
use tickloom_protocol::schema::{FieldType, Interpolation, Scope, WritePolicy};

use crate::config::node::Raw;
use crate::config::value::{Value, Words, misfit};
use crate::room::description::Describer;
use crate::room::logic::{Cameras, Compression, Dilation};

/// What something is looked up by.
pub struct Name(pub Box<str>);

impl Value for Name {
    fn accepts() -> String {
        format!("a name of 1 to {} bytes such as \"cursor\"", limits::NAME_BYTES_MAX)
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.text().ok_or_else(|| misfit(raw))?;
        if text.is_empty() || text.len() > limits::NAME_BYTES_MAX {
            return Err(format!("this has {} bytes", text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err("this has a control character".to_owned());
        }
        Ok(Self(text.into()))
    }

    fn show(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// What bytes are. Not checked further: only clients care.
pub struct MediaType(pub Box<str>);

impl Value for MediaType {
    fn accepts() -> String {
        r#"a media type such as "application/json""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let Name(text) = Name::read(raw)?;
        if !text.contains('/') {
            return Err("a media type has a slash".to_owned());
        }
        Ok(Self(text))
    }

    fn show(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// A kind without what belongs to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KindName {
    Packed,
    Opaque,
    Props,
}

impl Words for KindName {
    const WORDS: &'static [(&'static str, Self)] =
        &[("packed", Self::Packed), ("opaque", Self::Opaque), ("props", Self::Props)];
}

impl Words for Describer {
    const WORDS: &'static [(&'static str, Self)] =
        &[("server", Self::Server), ("joiner", Self::Joiner)];
}

impl Words for Compression {
    const WORDS: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];
}

impl Words for Dilation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("never", Self::Never), ("allowed", Self::Allowed)];
}

impl Words for Cameras {
    const WORDS: &'static [(&'static str, Self)] = &[("own", Self::Own), ("free", Self::Free)];
}

impl Words for WritePolicy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("server", Self::Server),
        ("owner", Self::Owner),
        ("members", Self::Members),
        ("host", Self::Host),
    ];
}

/// Who may publish. Nobody owns a topic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Publisher(pub WritePolicy);

impl Words for Publisher {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("server", Self(WritePolicy::Server)),
        ("members", Self(WritePolicy::Members)),
        ("host", Self(WritePolicy::Host)),
    ];
}

impl Words for Scope {
    const WORDS: &'static [(&'static str, Self)] = &[("room", Self::Room), ("owner", Self::Owner)];
}

impl Words for Mode {
    const WORDS: &'static [(&'static str, Self)] = &[("clamp", Self::Clamp), ("wrap", Self::Wrap)];
}

impl Words for Interpolation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("step", Self::Step), ("linear", Self::Linear), ("angle", Self::Angle)];
}

impl Words for FieldType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("u8", Self::U8),
        ("i8", Self::I8),
        ("u16", Self::U16),
        ("i16", Self::I16),
        ("u32", Self::U32),
        ("i32", Self::I32),
        ("f32", Self::F32),
        ("bool", Self::Bool),
        ("quant8", Self::Quant8),
        ("quant16", Self::Quant16),
        ("quant24", Self::Quant24),
        ("quant32", Self::Quant32),
        ("entity", Self::EntityRef),
    ];
}
