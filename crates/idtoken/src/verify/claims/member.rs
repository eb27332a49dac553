//! One member of a JSON object by name, without building the rest.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::ClaimError;

/// The member `name` of the object `text` as a `T`.
pub(super) fn find<T: DeserializeOwned>(text: &str, name: &str) -> Result<Option<T>, ClaimError> {
    serde_json::Deserializer::from_str(text)
        .deserialize_map(Find {
            name,
            value: PhantomData,
        })
        .map_err(ClaimError::new)
}

struct Find<'n, T> {
    name: &'n str,
    value: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Find<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == self.name {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
