//! `docs/properties.md`: no property is missing, none too much, and setting a default changes nothing.

use super::{quoted, read, rows};
use milena::client::ClientConfig;
use milena::consumer::ConsumerConfig;
use milena::producer::ProducerConfig;
use milena::properties;
use milena::schema::RegistryConfig;
use std::collections::BTreeSet;

/// What one property makes of the three configurations, or of a registry's.
fn configured(key: &str, value: &str) -> String {
    if RegistryConfig::KEYS.contains(&key) {
        return registry(Some((key, value)));
    }
    let set = || {
        let mut properties = properties::Properties::default();
        properties.insert(key, value)?;
        Ok::<_, milena::error::Error>((properties.client()?, properties.producer()?, properties.consumer()?))
    };
    format!("{:?}", set().unwrap_or_else(|error| panic!("{key}={value}: {error}")))
}

fn registry(property: Option<(&str, &str)>) -> String {
    let url = ("schema.registry.url", "http://a:8081");
    let config = RegistryConfig::from_properties([url].into_iter().chain(property));
    let config = config.unwrap_or_else(|error| panic!("{property:?}: {error}"));
    format!("{config:?}").split("seed: ").next().unwrap_or_default().to_owned() // which is another one each time
}

/// Another value than this, if it is of a kind of which there are others.
fn another(value: &str) -> Option<String> {
    match value {
        "true" => Some("false".into()),
        "false" => Some("true".into()),
        // Not more: some have a limit, and deadlines contain others.
        value => value.parse::<u64>().ok().map(|number| if number < 3 { number + 1 } else { number / 2 }.to_string()),
    }
}

#[test]
fn every_property_has_a_row_and_every_row_a_property() {
    let page = read("docs/properties.md");
    let rows = rows(&page);
    let named: Vec<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    let once: BTreeSet<&str> = named.iter().copied().collect();
    assert_eq!(named.len(), once.len(), "a property has two rows");
    let there: BTreeSet<&str> = properties::keys().chain(RegistryConfig::KEYS.iter().copied()).collect();
    let missing: Vec<_> = there.difference(&once).collect();
    let unknown: Vec<_> = once.difference(&there).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
    assert!(rows.iter().all(|row| row.len() == 4 && !row[1].is_empty()), "four cells, and a default");
}

#[test]
fn a_default_on_the_page_is_the_code_s() {
    let clients = format!("{:?}", (ClientConfig::default(), ProducerConfig::default(), ConsumerConfig::default()));
    let registries = registry(None);
    let (mut held, mut differ) = (0, 0);
    for row in rows(&read("docs/properties.md")) {
        // What is not in backticks depends on something, or is none.
        let [default] = quoted(&row[1])[..] else { continue };
        for key in quoted(&row[0]) {
            let defaults = if RegistryConfig::KEYS.contains(&key) { &registries } else { &clients };
            assert_eq!(&configured(key, default), defaults, "{key}={default} is another default");
            held += 1;
            let other = another(default).filter(|_| key != "check.crcs");
            if let Some(other) = other {
                assert_ne!(&configured(key, &other), defaults, "{key}={other} changes nothing");
                differ += 1;
            }
        }
    }
    assert!(held > 50 && differ > 40, "{held} defaults were held against the code, {differ} other values");
}

/// Where the page says in words what the default is, its numbers are these.
#[test]
fn defaults_that_depend_on_others_are_what_the_setters_say() {
    for (key, beginning) in
        [("linger.ms", "5, "), ("delivery.timeout.ms", "120000, "), ("enable.idempotence", "true, ")]
    {
        let rows = rows(&read("docs/properties.md"));
        let row = rows.iter().find(|row| quoted(&row[0]).contains(&key)).expect("has a row");
        assert!(row[1].starts_with(beginning), "{key}: {}", row[1]);
    }
}
