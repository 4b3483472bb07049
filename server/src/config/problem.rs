//! What is wrong with a configuration, and how people are told: everything at once, each problem
//! with the line it is about.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A text that was read, with the name people know it by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The path, as the user gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// The line a byte is on, from 1.
    #[must_use]
    pub fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
    }
}

/// Bytes of a [`Source`]; `None` for what did not come from one.
pub type Span = Option<Range<usize>>;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    message: String,
    /// Places in the file, the first of which is the culprit, with what is said about them.
    marks: Vec<(Range<usize>, String)>,
    notes: Vec<String>,
    help: Vec<String>,
}

impl Problem {
    /// A problem that one sentence names.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { message, marks: Vec::new(), notes: Vec::new(), help: Vec::new() }
    }

    /// Points at a place. What did not come from a file gets the label as a note.
    #[must_use]
    pub fn at(mut self, span: &Span, label: impl Into<String>) -> Self {
        match span {
            Some(span) => self.marks.push((span.clone(), label.into())),
            None => self = self.note(label),
        }
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        let note = note.into();
        if !note.is_empty() {
            self.notes.push(note);
        }
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The problem as a compiler shows it. Marks are of `source`.
    #[must_use]
    pub fn render(&self, source: Option<&Source>, renderer: &Renderer) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(&*self.message));
        if let Some(source) = source
            && !self.marks.is_empty()
        {
            let kinds = std::iter::once(AnnotationKind::Primary);
            let kinds = kinds.chain(std::iter::repeat(AnnotationKind::Context));
            let marks = self.marks.iter().zip(kinds).map(|((span, label), kind)| {
                let label = (!label.is_empty()).then_some(&**label);
                kind.span(span.clone()).label(label)
            });
            let snippet = Snippet::source(&*source.text).path(&*source.name).annotations(marks);
            group = group.element(snippet);
        }
        let notes = self.notes.iter().map(|note| Level::NOTE.message(&**note));
        let help = self.help.iter().map(|help| Level::HELP.message(&**help));
        renderer.render(&[group.elements(notes).elements(help)])
    }
}

/// In one line, for whoever has no room for a picture.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let labels = self.marks.iter().map(|(_, label)| label).filter(|label| !label.is_empty());
        for detail in labels.chain(&self.notes).chain(&self.help) {
            write!(f, "; {detail}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems {
    problems: Vec<Problem>,
    source: Option<Source>,
}

impl Problems {
    /// What was found, with the file it was found in: first what is in the file, from its top,
    /// then the rest. `None` when all is well.
    #[must_use]
    pub fn found(mut problems: Vec<Problem>, source: Option<Source>) -> Option<Self> {
        let place = |problem: &Problem| problem.marks.first().map(|(span, _)| span.start);
        problems.sort_by_key(|problem| place(problem).unwrap_or(usize::MAX));
        (!problems.is_empty()).then_some(Self { problems, source })
    }

    /// All problems, as a compiler shows them.
    #[must_use]
    pub fn render(&self, renderer: &Renderer) -> String {
        let source = self.source.as_ref();
        let problems = self.problems.iter().map(|problem| problem.render(source, renderer));
        problems.collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Problems {}
