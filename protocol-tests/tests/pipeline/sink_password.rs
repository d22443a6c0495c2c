//! A password file for a real PostgreSQL, that asks by SCRAM: `protocol-tests/postgres.sh with cargo test …`.

use milena::pipeline::sink::postgres::PostgresStore;
use milena::pipeline::sink::{Class, Scope, Store, StoreError, What};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A password file that is gone with this value.
struct File(PathBuf);

impl File {
    fn new(text: &str, mode: u32) -> Self {
        let name = format!("milena-passfile-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let file = Self(std::env::temp_dir().join(name));
        std::fs::write(&file.0, text).unwrap();
        std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether the user `secured` comes in with this file.
async fn claim(file: &File) -> Result<(), StoreError> {
    let plain = std::env::var("POSTGRES_URL").expect("POSTGRES_URL names a server: protocol-tests/postgres.sh start");
    let url = plain.replace("//postgres@", "//secured@") + &format!("&passfile={}", file.0.display());
    let scope = Scope { group: "g".to_owned(), topic: "sink_password".to_owned(), what: What::Purchases };
    PostgresStore::new(&url, scope)?.claim(&[(0, 0)]).await.map(drop)
}

#[tokio::test]
#[ignore = "needs a PostgreSQL with TLS: POSTGRES_URL=… POSTGRES_TLS=…"]
async fn the_line_of_a_password_file_lets_its_user_in() {
    let right = r"*:*:postgres:secured:its\:own";
    // It may connect; that it may not make tables is told by the server.
    match claim(&File::new(right, 0o600)).await {
        Ok(()) => {}
        Err(error) => assert!(error.to_string().contains("42501"), "{error}"),
    }
    for (text, mode, why) in [
        ("*:*:*:secured:wrong", 0o600, "28P01"),
        ("*:*:*:other:wrong", 0o600, "password missing; PGPASSWORD or a password file"),
        (right, 0o640, "password missing; PGPASSWORD or a password file"),
    ] {
        match claim(&File::new(text, mode)).await {
            Err(StoreError::Database { class: Class::Configuration, message }) => {
                assert!(message.contains(why) && !message.contains("wrong"), "{text}: {message}");
            }
            other => panic!("{text}: {other:?} is no reason to stop"),
        }
    }
}
