//! Admin client: topics, configs, groups.
