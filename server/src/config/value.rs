//! What values are: how each type is read from what was written, and written again.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::config::node::Raw;
use crate::config::suggestions::nearest;

/// A type that a key or a room's description can have.
pub trait Value: Sized {
    /// What is accepted, with an example, to follow "takes".
    fn accepts() -> String;

    /// Reads what was written.
    ///
    /// # Errors
    /// What is wrong with it, to stand under it.
    fn read(raw: &Raw) -> Result<Self, String>;

    /// The value as TOML.
    fn show(&self) -> String;
}

/// What to say about a value of a wrong kind.
#[must_use]
pub fn misfit(raw: &Raw) -> String {
    match raw {
        Raw::Word(_) => String::new(),
        _ => format!("this is {}", raw.kind()),
    }
}

/// What is accepted when a range is, too.
#[must_use]
pub fn accepts_within<T: Value>(range: &RangeInclusive<T>) -> String {
    format!("{}, from {} to {}", T::accepts(), range.start().show(), range.end().show())
}

/// Reads a value that must be in a range.
///
/// # Errors
/// What is wrong with it.
pub fn read_within<T: Value + PartialOrd>(
    raw: &Raw,
    range: &RangeInclusive<T>,
) -> Result<T, String> {
    let value = T::read(raw)?;
    if value < *range.start() {
        return Err("this is too little".to_owned());
    }
    if value > *range.end() {
        return Err("this is too much".to_owned());
    }
    Ok(value)
}

impl Value for bool {
    fn accepts() -> String {
        "true or false".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Bool(truth) => Ok(*truth),
            Raw::Word(word) => word.parse().map_err(|_| String::new()),
            _ => Err(misfit(raw)),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($number:ty: $accepts:literal, $problem:literal;)*) => {$(
        impl Value for $number {
            fn accepts() -> String {
                $accepts.to_owned()
            }

            fn read(raw: &Raw) -> Result<Self, String> {
                let whole = raw.integer().ok_or_else(|| misfit(raw))?;
                let number = u64::try_from(whole).ok().and_then(|number| number.try_into().ok());
                number.ok_or_else(|| $problem.to_owned())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

/// How many there may be of something without which nothing works: at least 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Count(pub NonZeroUsize);

impl Count {
    /// A count that is written into the code.
    ///
    /// # Panics
    /// When it is 0.
    #[must_use]
    pub const fn of(count: usize) -> Self {
        Self(NonZeroUsize::new(count).expect("a default is not 0"))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0.get()
    }

    /// The number, or the most that half as many bits hold.
    #[must_use]
    pub fn get_u32(self) -> u32 {
        u32::try_from(self.get()).unwrap_or(u32::MAX)
    }
}

impl TryFrom<u64> for Count {
    type Error = std::num::TryFromIntError;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        usize::try_from(number).and_then(NonZeroUsize::try_from).map(Self)
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

whole_numbers! {
    u64: "a whole number such as 7", "this is out of range";
    usize: "a whole number such as 100", "this is out of range";
    Count: "a whole number such as 1000, at least 1", "at least 1 is needed";
}

/// A real number: whole ones are real, too.
impl Value for f64 {
    fn accepts() -> String {
        "a number such as 0, -12.5 or 4096".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Float(number) if number.is_finite() => Ok(*number),
            Raw::Float(_) => Err("this is not finite".to_owned()),
            Raw::Integer(number) => Ok(*number as Self),
            _ => Err(misfit(raw)),
        }
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for SocketAddr {
    fn accepts() -> String {
        r#"an IP address and a port such as "127.0.0.1:7420" or "[::]:7420""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.text().ok_or_else(|| misfit(raw))?;
        text.parse().map_err(|_| match text.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_err() => {
                format!("`{port}` is not a port, which is 0 to 65535")
            }
            Some(("", _)) => "the address before the port is missing".to_owned(),
            Some((host, _)) => format!("`{host}` is not an IP address"),
            None => "the port is missing".to_owned(),
        })
    }

    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

/// A folder, which may be left out with `"none"`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Debug)]
pub struct Folder(pub Option<PathBuf>);

impl Value for Folder {
    fn accepts() -> String {
        r#""none" or a folder such as "/var/lib/tickloom""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw.text().ok_or_else(|| misfit(raw))? {
            "none" => Ok(Self(None)),
            "" => Err("the folder's name is missing".to_owned()),
            path => Ok(Self(Some(path.into()))),
        }
    }

    fn show(&self) -> String {
        match &self.0 {
            Some(path) => format!("{:?}", path.display().to_string()),
            None => "\"none\"".to_owned(),
        }
    }
}

/// A file, which may be left out with `"none"`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Debug)]
pub struct NamedFile(pub Option<PathBuf>);

impl Value for NamedFile {
    fn accepts() -> String {
        r#""none" or a file such as "/etc/tickloom/chain.pem""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw.text().ok_or_else(|| misfit(raw))? {
            "none" => Ok(Self(None)),
            "" => Err("the file's name is missing".to_owned()),
            path => Ok(Self(Some(path.into()))),
        }
    }

    fn show(&self) -> String {
        Folder(self.0.clone()).show()
    }
}

/// Nothing special is `"auto"`: the server chooses.
impl<T: Value> Value for Option<T> {
    fn accepts() -> String {
        format!("\"auto\" or {}", T::accepts())
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        if raw.text() == Some("auto") { Ok(None) } else { T::read(raw).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"auto\"".to_owned(), Value::show)
    }
}

/// A type whose values are a handful of words.
pub trait Words: Copy + PartialEq + 'static {
    /// Each word and what it stands for.
    const WORDS: &'static [(&'static str, Self)];
}

/// The word for a value; empty when there is none, because nobody can ask for it by a word.
#[must_use]
pub fn word_for<T: Words>(value: T) -> &'static str {
    T::WORDS.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

impl<T: Words> Value for T {
    fn accepts() -> String {
        let quoted: Vec<_> = T::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        match quoted.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.text().ok_or_else(|| misfit(raw))?;
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let near = nearest(text, T::WORDS.iter().map(|(word, _)| *word));
        Err(near.map_or_else(String::new, |word| format!("did you mean \"{word}\"?")))
    }

    fn show(&self) -> String {
        format!("\"{}\"", word_for(*self))
    }
}
