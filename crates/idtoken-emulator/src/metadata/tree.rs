//! The metadata that is the same for all who ask: a tree of directories and leaves.

use serde_json::{Value, json};

use crate::access::CLOUD_PLATFORM;
use crate::claims::{INSTANCE_ID, INSTANCE_NAME, ZONE};
use crate::jose::Object;
use crate::world::World;

/// What lies at a path.
pub(super) enum Found {
    Directory(Value),
    Leaf(String),
    Nothing,
}

/// Looks up a path below `computeMetadata/v1/`.
pub(super) fn find(world: &World, path: &str) -> Found {
    let mut entry = tree(world);
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let Some(name) = crate::endpoint::decode_segment(segment) else {
            return Found::Nothing;
        };
        entry = match entry.get_mut(&name) {
            Some(inner) => inner.take(),
            None => return Found::Nothing,
        };
    }
    match entry {
        Value::Object(_) => Found::Directory(entry),
        Value::Array(items) => Found::Leaf(lines(items.iter().map(text))),
        leaf => Found::Leaf(text(&leaf)),
    }
}

/// The names in a directory, one a line; directories end in a slash.
pub(super) fn listing(directory: &Value) -> String {
    let Value::Object(entries) = directory else {
        return String::new();
    };
    lines(entries.iter().map(|(name, entry)| match entry {
        Value::Object(_) => format!("{name}/"),
        _ => name.clone(),
    }))
}

/// A directory as one JSON value, in which names are in camel case.
pub(super) fn camel(entry: &Value) -> Value {
    match entry {
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                // Tokens are made on demand, and left out of the recursive view.
                .filter(|(name, _)| !matches!(name.as_str(), "identity" | "token"))
                .map(|(name, entry)| (camel_case(name), camel(entry)))
                .collect(),
        ),
        leaf => leaf.clone(),
    }
}

fn tree(world: &World) -> Value {
    let owner = world.attached_or_default();
    let number = owner.project_number();
    let mut accounts = Object::new();
    if let Some(account) = world.attached() {
        let entry = json!({
            "aliases": ["default"],
            "email": account.email(),
            "identity": "",
            "scopes": [CLOUD_PLATFORM, "https://www.googleapis.com/auth/userinfo.email"],
            "token": "",
        });
        accounts.insert("default".to_owned(), entry.clone());
        accounts.insert(account.email().to_owned(), entry);
    }
    json!({
        "instance": {
            "attributes": {},
            "id": INSTANCE_ID,
            "name": INSTANCE_NAME,
            "region": format!("projects/{number}/regions/{}", &ZONE[..ZONE.len() - 2]),
            "service-accounts": accounts,
            "zone": format!("projects/{number}/zones/{ZONE}"),
        },
        "project": {
            "attributes": {},
            "numeric-project-id": number,
            "project-id": owner.project(),
        },
        "universe": { "universe-domain": "googleapis.com" },
    })
}

fn camel_case(name: &str) -> String {
    if name.contains('@') {
        return name.to_owned();
    }
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |joined, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        joined + &initial.to_ascii_uppercase() + rest
    })
}

fn text(leaf: &Value) -> String {
    leaf.as_str()
        .map_or_else(|| leaf.to_string(), str::to_owned)
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.map(|item| item + "\n").collect()
}
