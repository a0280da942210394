//! A place in a JSON document: the value, the pointer to it, and the simple things that can be wrong
//! with it. What is asked for and not there is reported, and answered with `None`.

use serde_json::{Map, Value};

use super::Problem;

/// A value and where it is.
pub struct At<'a> {
    /// The value.
    pub value: &'a Value,
    pointer: String,
}

/// What was found wrong so far.
pub type Problems = Vec<Problem>;

impl<'a> At<'a> {
    /// A whole document.
    pub const fn root(value: &'a Value) -> Self {
        Self { value, pointer: String::new() }
    }

    pub fn report(&self, message: impl Into<String>, problems: &mut Problems) {
        problems.push(Problem { pointer: self.pointer.clone(), message: message.into() });
    }

    pub fn object(&self, problems: &mut Problems) -> Option<&'a Map<String, Value>> {
        let object = self.value.as_object();
        if object.is_none() {
            self.report("should be an object", problems);
        }
        object
    }

    pub fn child(&self, key: &str, value: &'a Value) -> Self {
        Self { value, pointer: format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1")) }
    }

    pub fn optional(&self, key: &str) -> Option<Self> {
        Some(self.child(key, self.value.get(key)?))
    }

    /// A field that has to be there, `null` included.
    pub fn field(&self, key: &str, problems: &mut Problems) -> Option<Self> {
        let field = self.optional(key);
        if field.is_none() && self.value.is_object() {
            self.report(format!("lacks `{key}`"), problems);
        }
        field
    }

    pub fn items(&self, problems: &mut Problems) -> Vec<Self> {
        match self.value.as_array() {
            Some(items) => {
                items.iter().enumerate().map(|(at, item)| self.child(&at.to_string(), item)).collect()
            }
            None => {
                self.report("should be an array", problems);
                Vec::new()
            }
        }
    }

    pub fn entries(&self, problems: &mut Problems) -> Vec<(&'a str, Self)> {
        let object = self.object(problems).into_iter().flatten();
        object.map(|(key, value)| (key.as_str(), self.child(key, value))).collect()
    }

    pub fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.report("should be a string", problems);
        }
        text
    }

    pub fn whole(&self, problems: &mut Problems) -> Option<u64> {
        let number = self.value.as_u64();
        if number.is_none() {
            self.report("should be a whole number, not negative", problems);
        }
        number
    }

    pub fn number(&self, problems: &mut Problems) -> Option<f64> {
        let number = self.value.as_f64().filter(|number| *number >= 0.0);
        if number.is_none() {
            self.report("should be a number, not negative", problems);
        }
        number
    }

    pub fn flag(&self, problems: &mut Problems) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.report("should be true or false", problems);
        }
        flag
    }

    /// The same, or nothing for `null`.
    pub fn not_null(self) -> Option<Self> {
        (!self.value.is_null()).then_some(self)
    }

    pub fn one_of(&self, known: &[&str], problems: &mut Problems) -> Option<&'a str> {
        let text = self.text(problems)?;
        if known.contains(&text) {
            return Some(text);
        }
        self.report(format!("`{text}` is none of {}", known.join(", ")), problems);
        None
    }

    pub fn filled(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.text(problems)?;
        if text.trim().is_empty() {
            self.report("should not be empty", problems);
        }
        Some(text)
    }
}
