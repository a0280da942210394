//! What text looks like on a terminal: [`Style`] (how wide, coloured or not), [`Line`] (pieces of
//! text with an [`Ink`] each), and wrapping.
//!
//! An ink only ever repeats what a symbol or a word says already, so that nothing is lost without
//! colour. Whether a terminal wants colour is decided elsewhere.

use unicode_width::UnicodeWidthStr;

/// How a report is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal. Taken as at least [`Style::NARROWEST`].
    pub width: usize,
    /// Whether to write ANSI colours.
    pub color: bool,
}

impl Style {
    /// Fewer columns than this are not laid out for.
    pub const NARROWEST: usize = 60;

    /// The columns that may be used.
    pub fn columns(self) -> usize {
        self.width.max(Self::NARROWEST)
    }
}

/// The look of a piece of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ink {
    /// As it is.
    #[default]
    Plain,
    /// A heading, or a name that the eye should find.
    Strong,
    /// Of less weight: legends, rules, units.
    Faint,
    /// It held.
    Good,
    /// It is unknown.
    Doubtful,
    /// It broke, and nobody had promised otherwise.
    Bad,
    /// It broke a promise.
    Alarm,
}

impl Ink {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Doubtful => Some("33"),
            Self::Bad => Some("31"),
            Self::Alarm => Some("1;97;41"),
        }
    }
}

/// Columns that a text takes on a terminal.
pub fn columns_of(text: &str) -> usize {
    text.width()
}

/// One line of output: pieces of text with an ink each. Never holds a line break or another
/// control character, whatever a program under test put into its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Ink, String)>);

impl Line {
    /// An empty line.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A line of one piece.
    pub fn of(ink: Ink, text: impl AsRef<str>) -> Self {
        Self::new().with(ink, text)
    }

    /// The same line with one more piece.
    pub fn with(mut self, ink: Ink, text: impl AsRef<str>) -> Self {
        self.push(ink, text);
        self
    }

    /// Adds a piece.
    pub fn push(&mut self, ink: Ink, text: impl AsRef<str>) {
        let text = text.as_ref();
        let text = if text.contains(char::is_control) {
            text.chars().flat_map(escape_control).collect()
        } else {
            text.to_owned()
        };
        if !text.is_empty() {
            self.0.push((ink, text));
        }
    }

    /// Adds a plain piece.
    pub fn plain(self, text: impl AsRef<str>) -> Self {
        self.with(Ink::Plain, text)
    }

    /// Adds all pieces of another line.
    pub fn append(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Columns that it takes.
    pub fn columns(&self) -> usize {
        self.0.iter().map(|(_, text)| columns_of(text)).sum()
    }

    /// Fills up with spaces to `columns`.
    pub fn padded(mut self, columns: usize) -> Self {
        let missing = columns.saturating_sub(self.columns());
        self.push(Ink::Plain, " ".repeat(missing));
        self
    }

    /// Fills up with spaces on the left to `columns`.
    pub fn padded_left(self, columns: usize) -> Self {
        let mut line = Self::new();
        line.push(Ink::Plain, " ".repeat(columns.saturating_sub(self.columns())));
        line.append(&self);
        line
    }

    /// Cuts after `columns`, with an ellipsis where something is lost.
    pub fn cut(self, columns: usize) -> Self {
        if self.columns() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(1);
        let mut line = Self::new();
        for (ink, text) in self.0 {
            let mut kept = String::new();
            for c in text.chars() {
                let wide = columns_of(c.encode_utf8(&mut [0; 4]));
                if wide > left {
                    kept.push('…');
                    line.push(ink, kept);
                    return line;
                }
                left -= wide;
                kept.push(c);
            }
            line.push(ink, kept);
        }
        line
    }

    /// Breaks at spaces, so that no line is wider than `columns`; a word that is wider than a whole
    /// line is broken anywhere. Lines after the first begin with `indent` spaces.
    pub fn wrapped(&self, columns: usize, indent: usize) -> Vec<Self> {
        let indent = indent.min(columns / 2);
        let mut lines = Vec::new();
        let mut line = Self::new();
        // Columns that the line takes, and whether anything but its indent is in it.
        let (mut used, mut fresh) = (0, true);
        for word in self.words() {
            let visible = columns_of(word.text().trim_end_matches(' '));
            if visible == 0 && fresh && !lines.is_empty() {
                // A space that would be the first thing in a continued line says nothing.
                continue;
            }
            if used + visible > columns && !fresh && visible > 0 {
                lines.push(std::mem::take(&mut line).trimmed());
                line.push(Ink::Plain, " ".repeat(indent));
                (used, fresh) = (indent, true);
            }
            if used + visible <= columns {
                used += word.columns();
                fresh &= visible == 0;
                line.append(&word);
                continue;
            }
            for (ink, c) in word.0.iter().flat_map(|(ink, text)| text.chars().map(move |c| (*ink, c))) {
                let mut buffer = [0; 4];
                let c: &str = c.encode_utf8(&mut buffer);
                if used + columns_of(c) > columns {
                    lines.push(std::mem::take(&mut line).trimmed());
                    line.push(Ink::Plain, " ".repeat(indent));
                    used = indent;
                }
                line.push(ink, c);
                used += columns_of(c);
            }
            fresh = false;
        }
        lines.push(line.trimmed());
        lines
    }

    /// The words of the line, each with the spaces behind it. A change of ink ends no word.
    fn words(&self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut word = Self::new();
        for (ink, text) in &self.0 {
            for piece in text.split_inclusive(' ') {
                word.push(*ink, piece);
                if piece.ends_with(' ') {
                    words.push(std::mem::take(&mut word));
                }
            }
        }
        words.push(word);
        words
    }

    fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn trimmed(mut self) -> Self {
        while let Some((_, text)) = self.0.last_mut() {
            text.truncate(text.trim_end_matches(' ').len());
            if !text.is_empty() {
                break;
            }
            self.0.pop();
        }
        self
    }

    fn write(&self, color: bool, into: &mut String) {
        let mut pieces = self.0.iter().peekable();
        while let Some((ink, text)) = pieces.next() {
            let mut text = text.clone();
            while let Some((_, more)) = pieces.next_if(|(next, _)| next == ink) {
                text.push_str(more);
            }
            // Words that wrapping was to keep together are together now.
            let text = text.replace('\u{a0}', " ");
            match ink.code().filter(|_| color) {
                Some(code) => into.push_str(&format!("\x1b[{code}m{text}\x1b[0m")),
                None => into.push_str(&text),
            }
        }
    }
}

fn escape_control(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// Lines of a report on their way to a terminal. None of them is wider than the style allows.
#[derive(Debug)]
pub struct Page {
    style: Style,
    text: String,
}

impl Page {
    /// An empty page.
    pub const fn new(style: Style) -> Self {
        Self { style, text: String::new() }
    }

    /// The style that it is laid out in.
    pub const fn style(&self) -> Style {
        self.style
    }

    /// The columns that a line may take.
    pub fn columns(&self) -> usize {
        self.style.columns()
    }

    /// Adds a line, cut where it is too wide.
    pub fn line(&mut self, line: Line) {
        line.cut(self.columns()).trimmed().write(self.style.color, &mut self.text);
        self.text.push('\n');
    }

    /// Adds a line in as many lines as it takes; those after the first are indented.
    pub fn wrap(&mut self, line: &Line, indent: usize) {
        for line in line.wrapped(self.columns(), indent) {
            self.line(line);
        }
    }

    /// Adds an empty line, unless the page is empty or ends in one.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Adds a rule with a title at its left and a remark at its right.
    pub fn rule(&mut self, title: &str, remark: &str) {
        let columns = self.columns();
        let mut line = Line::of(Ink::Faint, "━━ ").with(Ink::Strong, title);
        line.push(Ink::Plain, " ");
        let remark =
            Line::of(Ink::Faint, if remark.is_empty() { String::new() } else { format!(" {remark} ━━") });
        let missing = columns.saturating_sub(line.columns() + remark.columns());
        line.push(Ink::Faint, "━".repeat(missing));
        line.append(&remark);
        self.line(line);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::text).collect()
    }

    #[test]
    fn lines_break_at_spaces_and_continue_indented() {
        let line = Line::of(Ink::Plain, "one two ").with(Ink::Bad, "th").with(Ink::Good, "ree four");
        assert_eq!(texts(&line.wrapped(9, 2)), ["one two", "  three", "  four"]);
    }

    #[test]
    fn a_word_wider_than_a_line_is_broken_anywhere() {
        assert_eq!(
            texts(&Line::of(Ink::Plain, "a bcdefghij k").wrapped(6, 1)),
            ["a", " bcdef", " ghij", " k"]
        );
    }

    #[test]
    fn a_line_that_is_cut_says_so() {
        assert_eq!(texts(&[Line::of(Ink::Plain, "abc").with(Ink::Bad, "def").cut(5)]), ["abcd…"]);
        assert_eq!(texts(&[Line::of(Ink::Plain, "abcde").cut(5)]), ["abcde"]);
    }

    #[test]
    fn control_characters_of_a_program_under_test_do_not_reach_the_terminal() {
        assert_eq!(texts(&[Line::of(Ink::Plain, "a\n\u{1b}[31mb")]), ["a\\n\\u{1b}[31mb"]);
    }

    #[test]
    fn without_colour_no_escape_is_written() {
        for color in [false, true] {
            let mut page = Page::new(Style { width: 80, color });
            page.line(Line::of(Ink::Alarm, "x"));
            assert_eq!(page.finish().contains('\u{1b}'), color);
        }
    }
}
