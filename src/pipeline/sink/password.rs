//! The password of a database whose URL has none, so that no command line needs one: `PGPASSWORD`, or a line of a password
//! file, found as libpq finds them.
//!
//! The file is the one that the URL names as `passfile`, or else `PGPASSFILE`, or else `~/.pgpass`: no other is looked into.
//! Its lines are `host:port:database:user:password`; `*` is any, `\` takes the meaning from `:` and `\`, `#` begins a comment,
//! and the first line that fits counts. An empty password is none. A file that the group or others may read or write is not
//! used, with a warning.
//!
//! Other than in libpq, the URL has to name the user, and a URL of several hosts has to have one password for all of them:
//! what is meant for one is not shown to another.
//!
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use zeroize::Zeroizing;

/// What is not on a command line.
#[derive(Default)]
pub(super) struct Environment {
    /// `PGPASSWORD`.
    password: Option<OsString>,
    /// `PGPASSFILE`.
    file: Option<OsString>,
    home: Option<PathBuf>,
}

impl Environment {
    pub(super) fn of_this_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self { password: variable("PGPASSWORD"), file: variable("PGPASSFILE"), home: std::env::home_dir() }
    }

    /// Gives the configuration a password if it has none and there is one. `passfile`: as the URL has it.
    ///
    /// # Errors
    /// Hosts that are not alike.
    pub(super) fn complete(&self, config: &mut Config, passfile: Option<&str>) -> Result<(), String> {
        if config.get_password().is_some_and(|password| !password.is_empty()) {
            return Ok(());
        }
        if let Some(password) = &self.password {
            config.password(password.as_encoded_bytes());
            return Ok(());
        }
        let named =
            passfile.filter(|path| !path.is_empty()).map(PathBuf::from).or(self.file.clone().map(PathBuf::from));
        let is_named = named.is_some();
        let Some(path) = named.or_else(|| Some(self.home.as_ref()?.join(".pgpass"))) else { return Ok(()) };
        let Some(user) = config.get_user().filter(|user| !user.is_empty()).map(str::to_owned) else { return Ok(()) };
        let Some(file) = read(&path, is_named) else { return Ok(()) };
        let database = config.get_dbname().filter(|name| !name.is_empty()).unwrap_or(&user).to_owned();
        let mut found = servers(config).into_iter().map(|(host, port)| {
            let wanted = [host.as_bytes(), port.as_bytes(), database.as_bytes(), user.as_bytes()];
            file.split(|byte| *byte == b'\n').find_map(|line| password_of(line, wanted))
        });
        let Some(first) = found.next() else { return Ok(()) };
        if found.any(|other| other != first) {
            let path = path.display();
            return Err(format!(
                "{path} has not the same password for all hosts of the URL, and all of them would see it"
            ));
        }
        if let Some(password) = first.filter(|password| !password.is_empty()) {
            config.password(&*password);
        }
        Ok(())
    }
}

/// Host and port as a password file names them: a socket at the usual place is `localhost`.
fn servers(config: &Config) -> Vec<(String, String)> {
    let name = |host: &Host| match host {
        Host::Tcp(name) if name.is_empty() => "localhost".to_owned(),
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) if ["/tmp", "/var/run/postgresql"].iter().any(|usual| path == Path::new(usual)) => {
            "localhost".to_owned()
        }
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    };
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432).to_string();
    config.get_hosts().iter().enumerate().map(|(at, host)| (name(host), port(at))).collect()
}

/// The file, if it is one that nobody else can read.
fn read(path: &Path, is_named: bool) -> Option<Zeroizing<Vec<u8>>> {
    let not_used = |why: &str| tracing::warn!("the password file {} is not used: {why}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(_) if !is_named => return None, // most have none
        Err(error) => {
            not_used(&error.to_string());
            return None;
        }
    };
    let metadata = file.metadata().inspect_err(|error| not_used(&error.to_string())).ok()?;
    if !metadata.is_file() {
        not_used("it is no plain file");
        return None;
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        not_used("group or others have access to it; chmod 600 takes that away");
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1)));
    file.read_to_end(&mut bytes).inspect_err(|error| not_used(&error.to_string())).ok()?;
    Some(bytes)
}

/// What the line says, if it is about this host, port, database and user.
fn password_of(line: &[u8], wanted: [&[u8]; 4]) -> Option<Zeroizing<Vec<u8>>> {
    if line.starts_with(b"#") {
        return None;
    }
    let mut left = line;
    while let [before @ .., b'\r'] = left {
        left = before;
    }
    for wanted in wanted {
        let (field, is_any, rest) = field(left);
        if !is_any && *field != wanted {
            return None;
        }
        left = rest?;
    }
    Some(field(left).0)
}

/// The line's first field without its backslashes, whether it is `*`, and what is behind its colon.
fn field(line: &[u8]) -> (Zeroizing<Vec<u8>>, bool, Option<&[u8]>) {
    let mut value = Zeroizing::new(Vec::with_capacity(line.len()));
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        match (byte, line.get(at + 1)) {
            (b':', _) => break,
            (b'\\', Some(meant)) => {
                value.push(*meant);
                at += 1;
            }
            _ => value.push(*byte),
        }
        at += 1;
    }
    let (field, rest) = line.split_at(at);
    (value, field == b"*", rest.get(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password for this URL, of an environment with this file at `~/.pgpass`.
    #[track_caller]
    fn found(file: &str, url: &str) -> Result<Option<String>, String> {
        let home = Home::new(file);
        let environment = Environment { home: Some(home.0.clone()), ..Environment::default() };
        completed(&environment, url, None)
    }

    fn completed(environment: &Environment, url: &str, passfile: Option<&str>) -> Result<Option<String>, String> {
        let mut config: Config = url.parse().unwrap();
        environment.complete(&mut config, passfile)?;
        Ok(config.get_password().map(|password| String::from_utf8(password.to_vec()).unwrap()))
    }

    /// A directory with a `.pgpass`.
    struct Home(PathBuf);

    impl Home {
        fn new(file: &str) -> Self {
            let name = format!("milena-pgpass-{}-{:016x}", std::process::id(), fastrand::u64(..));
            let home = Self(std::env::temp_dir().join(name));
            std::fs::create_dir(&home.0).unwrap();
            home.write(".pgpass", file, 0o600);
            home
        }

        fn write(&self, name: &str, text: &str, mode: u32) -> String {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            #[cfg(unix)]
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            path.display().to_string()
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let file = "# h:5432:d:u:comment\n\nother:5432:d:u:host\nh:5433:d:u:port\nh:5432:e:u:database\nh:5432:d:v:user\n\
                    h:5432:d:u\nh:5432:d:u:right\r\n*:*:*:*:any\nh:5432:d:u:late";
        for (url, expected) in [
            ("postgres://u@h/d", "right"),
            ("postgres://u@other/d", "host"),
            ("postgres://u@h:5433/d", "port"),
            ("postgres://u@h/e", "database"),
            ("postgres://v@h/d", "user"),
            ("postgres://u:@h/d", "right"),
            ("postgres://w@h/d", "any"),
            ("postgres://u:its%20own@h/d", "its own"),
        ] {
            assert_eq!(found(file, url), Ok(Some(expected.to_owned())), "{url}");
        }
    }

    #[test]
    fn fields_are_whole_and_a_backslash_takes_the_meaning_away() {
        for (line, url, expected) in [
            (r"h:*:u:u:a\:b\\c", "postgres://u@h", Some(r"a:b\c")),
            (r"h:*:u:u:a:b", "postgres://u@h", Some("a")),
            (r"h:*:d:u:a\", "postgres://u@h/d", Some(r"a\")),
            (r"h:*:a\:b:u:x", "postgres://u@h/a%3Ab", Some("x")),
            (r"\*:*:d:u:x", "postgres://u@h/d", None),
            (r"h*:*:d:u:x", "postgres://u@h/d", None),
            (r"hh:*:d:u:x", "postgres://u@h/d", None),
            (r"::1:*:d:u:x", "postgres://u@[::1]/d", None),
            (r"\:\:1:*:d:u:x", "postgres://u@[::1]/d", Some("x")),
            (r"localhost:*:d:u:x", "postgres://u@%2Fvar%2Frun%2Fpostgresql/d", Some("x")),
            (r"/run/pg:*:d:u:x", "postgres://u@%2Frun%2Fpg/d", Some("x")),
            (r"*:*:*:*:x", "postgres://h/d", None), // nobody in the URL
            (r"*:*:*:*:", "postgres://u@h/d", None),
            (r"h:*:d:u", "postgres://u@h/d", None),
        ] {
            assert_eq!(found(line, url), Ok(expected.map(str::to_owned)), "{line} {url}");
        }
    }

    #[test]
    fn one_file_is_looked_into_and_the_variable_comes_first() {
        let home = Home::new("*:*:*:*:home");
        let (named, other) = (home.write("named", "*:*:*:*:named", 0o600), home.write("other", "*:*:x:*:no", 0o400));
        let mut environment = Environment { home: Some(home.0.clone()), ..Environment::default() };
        fn of(environment: &Environment, passfile: Option<&str>) -> Option<String> {
            completed(environment, "postgres://u@h/d", passfile).unwrap()
        }
        assert_eq!(of(&environment, None).as_deref(), Some("home"));
        assert_eq!(of(&environment, Some("")).as_deref(), Some("home"));
        environment.file = Some(named.clone().into());
        assert_eq!(of(&environment, None).as_deref(), Some("named"));
        assert_eq!(of(&environment, Some(&other)), None, "and no other file is looked into");
        assert_eq!(of(&environment, Some(&home.0.join("none").display().to_string())), None);
        environment.password = Some("variable".into());
        assert_eq!(of(&environment, Some(&named)).as_deref(), Some("variable"));
        assert_eq!(completed(&environment, "postgres://u:own@h/d", None).unwrap().as_deref(), Some("own"));
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_read_is_not_used() {
        let home = Home::new("");
        let environment = Environment::default();
        for (mode, expected) in [(0o600, Some("x")), (0o400, Some("x")), (0o640, None), (0o604, None), (0o620, None)] {
            let file = home.write(&format!("{mode:o}"), "*:*:*:*:x", mode);
            let found = completed(&environment, "postgres://u@h/d", Some(&file)).unwrap();
            assert_eq!(found.as_deref(), expected, "{mode:o}");
        }
        let directory = home.0.display().to_string();
        assert_eq!(completed(&environment, "postgres://u@h/d", Some(&directory)), Ok(None));
    }

    #[test]
    fn no_host_sees_what_is_meant_for_another() {
        let file = "a:5432:d:u:one\nb:5432:d:u:one\nc:5432:d:u:two";
        assert_eq!(found(file, "postgres://u@a,b/d"), Ok(Some("one".to_owned())));
        for url in ["postgres://u@a,c/d", "postgres://u@a,other/d", "postgres://u@a,b:5433/d"] {
            let error = found(file, url).unwrap_err();
            assert!(error.contains("not the same password") && !error.contains("one"), "{url}: {error}");
        }
    }
}
