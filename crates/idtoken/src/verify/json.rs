//! Strict JSON, on top of `serde_json`: what two readers could read differently is refused.
//!
//! RFC 8259 §4 leaves it open what a repeated member name means, and RFC 7515 §4 lets verifiers
//! refuse it. `serde_json` keeps the last one, so every object is walked here with its names
//! compared, nested ones as well.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// As much of a JSON value as a header field or a known claim can need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'de> {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number within `u64`, however it was written: `1e3` and `1000.0` are 1,000.
    Integer(u64),
    /// Anything else.
    Other,
    /// A string.
    Text(Cow<'de, str>),
    /// A list that holds only strings.
    Texts(Vec<Cow<'de, str>>),
}

/// Reads one JSON object, with nothing after it, and hands each of its members to `each`.
///
/// `None` when the text is anything else, or repeats a name at any depth, or has an object with
/// more than `max_members` members, or nests deeper than 16.
pub(crate) fn read_object<'de>(
    text: &'de str,
    max_members: usize,
    each: impl FnMut(&str, Value<'de>),
) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer
        .deserialize_map(Object { max_members, each })
        .ok()?;
    deserializer.end().ok()
}

struct Object<F> {
    max_members: usize,
    each: F,
}

impl<'de, F: FnMut(&str, Value<'de>)> Visitor<'de> for Object<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut names = Names::new(self.max_members);
        while let Some(name) = map.next_key_seed(TextSeed)? {
            let value = map.next_value_seed(ValueSeed {
                max_members: self.max_members,
            })?;
            (self.each)(&name, value);
            names.add(name)?;
        }
        Ok(())
    }
}

/// Reads a top-level value.
struct ValueSeed {
    max_members: usize,
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).map_or(Value::Other, Value::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(from_float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut texts = Some(Vec::new());
        let nested = Nested {
            max_members: self.max_members,
            depth: 2,
        };
        while let Some(element) = seq.next_element_seed(nested)? {
            match (element, &mut texts) {
                (Some(text), Some(texts)) => texts.push(text),
                (None, _) => texts = None,
                (Some(_), None) => {}
            }
        }
        Ok(texts.map_or(Value::Other, Value::Texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let nested = Nested {
            max_members: self.max_members,
            depth: 1,
        };
        Ok(nested.walk(map)?.unwrap_or(Value::Other))
    }
}

/// Walks a nested value; of it, only a string is kept.
#[derive(Clone, Copy)]
struct Nested {
    max_members: usize,
    depth: usize,
}

impl Nested {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    /// Walks an object; the number, when it is one in disguise.
    fn walk<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value<'de>>, A::Error> {
        let mut next = map.next_key_seed(TextSeed)?;
        if next.as_deref() == Some(NUMBER) {
            return map.next_value_seed(NumberSeed).map(Some);
        }
        let deeper = self.deeper()?;
        let mut names = Names::new(self.max_members);
        while let Some(name) = next {
            map.next_value_seed(deeper)?;
            names.add(name)?;
            next = map.next_key_seed(TextSeed)?;
        }
        Ok(None)
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let deeper = self.deeper()?;
        while seq.next_element_seed(deeper)?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.walk(map).map(|_| None)
    }
}

/// Reads the text of a number behind [`NUMBER`], and refuses a token that made up such a member:
/// only `serde_json` itself hands over a `String`.
struct NumberSeed;

impl<'de> DeserializeSeed<'de> for NumberSeed {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NumberSeed {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Err(E::invalid_type(Unexpected::Str(text), &self))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        if let Ok(integer) = text.parse() {
            return Ok(Value::Integer(integer));
        }
        match text.parse() {
            Ok(float) if f64::is_finite(float) => Ok(from_float(float)),
            _ => Err(E::custom("number out of range")),
        }
    }
}

/// Reads a member's name, borrowed unless JSON escapes forbid it.
struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

/// The member names of one object: on the stack for as many as real tokens have.
struct Names<'de> {
    max: usize,
    len: usize,
    first: [Cow<'de, str>; INLINE_NAMES],
    rest: Vec<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    fn new(max: usize) -> Self {
        Self {
            max,
            len: 0,
            first: [const { Cow::Borrowed("") }; INLINE_NAMES],
            rest: Vec::new(),
        }
    }

    fn add<E: Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        if self.len == self.max {
            return Err(E::custom("too many members"));
        }
        if self
            .first
            .iter()
            .take(self.len)
            .chain(&self.rest)
            .any(|known| *known == name)
        {
            return Err(E::custom("repeated member name"));
        }
        match self.first.get_mut(self.len) {
            Some(slot) => *slot = name,
            None => self.rest.push(name),
        }
        self.len += 1;
        Ok(())
    }
}

fn from_float(value: f64) -> Value<'static> {
    // Below 2^53 every whole number has a float of its own, so that the cast loses nothing.
    if value.fract() == 0.0 && (0.0..MAX_EXACT_FLOAT).contains(&value) {
        Value::Integer(value as u64)
    } else {
        Value::Other
    }
}

/// Under this name `serde_json` hands over every number as text, in an object of one member, as
/// soon as any crate in the build turns on its feature `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";
const MAX_DEPTH: usize = 16;
const INLINE_NAMES: usize = 20;
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Option<Vec<(String, Value<'_>)>> {
        let mut members = Vec::new();
        read_object(text, 4, |name, value| {
            members.push((name.to_owned(), value))
        })?;
        Some(members)
    }

    #[test]
    fn tells_apart_what_claims_need() {
        let text = r#"{"a":"x","b":true,"c":["x","y"],"d":{"e":[1,{}]}}"#;
        assert_eq!(
            members(text).unwrap(),
            [
                ("a".into(), Value::Text("x".into())),
                ("b".into(), Value::Bool(true)),
                ("c".into(), Value::Texts(vec!["x".into(), "y".into()])),
                ("d".into(), Value::Other),
            ]
        );
    }

    #[test]
    fn whole_numbers_are_integers_however_written() {
        for (text, expected) in [
            ("1000", Value::Integer(1000)),
            ("1e3", Value::Integer(1000)),
            ("1000.0", Value::Integer(1000)),
            ("-0", Value::Integer(0)),
            ("18446744073709551615", Value::Integer(u64::MAX)),
            ("18446744073709551616", Value::Other),
            ("1000.5", Value::Other),
            ("-1", Value::Other),
            ("-9223372036854775809", Value::Other),
            ("9007199254740992.0", Value::Other),
            ("-1.0", Value::Other),
            ("1e300", Value::Other),
            ("null", Value::Other),
            (r#"["a",1]"#, Value::Other),
        ] {
            let object = format!(r#"{{"n":{text}}}"#);
            assert_eq!(members(&object).unwrap()[0].1, expected, "{text}");
        }
    }

    #[test]
    fn refuses_repeated_names_at_any_depth_and_through_escapes() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"o":{"a":1,"a":2}}"#,
            r#"{"o":[{"a":1,"a":2}]}"#,
            r#"{"o":{"p":{"a":1,"b":2,"a":3}}}"#,
        ] {
            assert_eq!(members(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_single_object() {
        for text in [
            "",
            "null",
            "7",
            r#""x""#,
            "[]",
            "{} {}",
            "{}x",
            "{",
            r#"{"a":1,}"#,
            "{a:1}",
        ] {
            assert_eq!(members(text), None, "{text}");
        }
        assert_eq!(members(" {\n} ").unwrap(), []);
    }

    /// Whether `serde_json` is built with `arbitrary_precision` or not: `.ci/run features` runs this
    /// both ways.
    #[test]
    fn a_member_cannot_pass_for_a_number() {
        for text in [
            r#"{"exp":{"$serde_json::private::Number":"1000"}}"#,
            r#"{"exp":{"$serde_json::private::Number":1000}}"#,
            r#"{"exp":{"\u0024serde_json::private::Number":"1000"}}"#,
            r#"{"exp":[{"$serde_json::private::Number":"1000"}]}"#,
            r#"{"exp":1e999}"#,
            r#"{"exp":[1e999]}"#,
        ] {
            assert_eq!(members(text), None, "{text}");
        }
    }

    #[test]
    fn bounds_members_and_depth() {
        assert!(members(r#"{"a":1,"b":1,"c":1,"d":1}"#).is_some());
        assert!(members(r#"{"a":1,"b":1,"c":1,"d":1,"e":1}"#).is_none());
        assert!(members(r#"{"o":{"a":1,"b":1,"c":1,"d":1,"e":1}}"#).is_none());

        let nested =
            |depth: usize| format!("{{\"o\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(members(&nested(15)).is_some());
        assert!(members(&nested(17)).is_none());
    }

    #[test]
    fn compares_names_beyond_the_inline_ones() {
        let many = |last: &str| {
            let names: Vec<_> = (0..40).map(|i| format!("\"n{i}\":0")).collect();
            format!("{{{},\"{last}\":0}}", names.join(","))
        };
        let count = |text: &str| {
            let mut count = 0;
            read_object(text, 128, |_, _| count += 1).map(|()| count)
        };
        assert_eq!(count(&many("n40")), Some(41));
        assert_eq!(count(&many("n0")), None);
        assert_eq!(count(&many("n39")), None);
    }
}
