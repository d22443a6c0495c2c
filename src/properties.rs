//! Kafka properties.
