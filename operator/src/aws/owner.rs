//! Whose a stream is, by its tags.

use std::collections::BTreeMap;

use streamfleet_crds::ownership_tags;

/// Whose a stream is: which object of which installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The installation.
    pub installation: String,
    /// The namespace of the `VideoStream`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Owner {
    /// The tags that say so.
    pub fn tags(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (ownership_tags::INSTALLATION.to_owned(), self.installation.clone()),
            (ownership_tags::NAMESPACE.to_owned(), self.namespace.clone()),
            (ownership_tags::NAME.to_owned(), self.name.clone()),
            (ownership_tags::UID.to_owned(), self.uid.clone()),
        ])
    }

    /// Whether a stream with these tags is this object's. The UID does not count: an object that was deleted and applied
    /// again, or restored from a backup, has another, and is to find its own stream.
    pub fn owns(&self, tags: &BTreeMap<String, String>) -> bool {
        let says = |key, value: &str| tags.get(key).is_some_and(|tag| tag == value);
        says(ownership_tags::INSTALLATION, &self.installation)
            && says(ownership_tags::NAMESPACE, &self.namespace)
            && says(ownership_tags::NAME, &self.name)
    }
}

/// Whose a stream with these tags is, for people.
pub fn describe_owner(tags: &BTreeMap<String, String>) -> String {
    let tag = |key| tags.get(key).map_or("?", String::as_str);
    if !tags.contains_key(ownership_tags::INSTALLATION) {
        return "its tags name no owner".to_owned();
    }
    format!(
        "its tags say that it belongs to VideoStream {}/{} of installation {}",
        tag(ownership_tags::NAMESPACE),
        tag(ownership_tags::NAME),
        tag(ownership_tags::INSTALLATION)
    )
}
