//! Properties that can't be, generated: whatever is wrong, the error names the property, and shows nothing of a secret.
//!
//! Each is written as a file into `target/tmp/wrong`, so that a command line can be tried with it, too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use milena::client::Client;
use milena::error::{Error, ErrorKind};
use milena::properties::Properties;
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

/// In every secret.
const HUSH: &str = "hushhush";

/// One configuration: what is wrong, its lines, and the property that the error begins with.
struct Wrong {
    what: String,
    lines: Vec<(String, String)>,
    named: String,
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong");
    fs::create_dir_all(&folder).expect("a folder for the files");
    folder
}

fn empty_folder() -> String {
    let folder = folder().join("empty");
    fs::create_dir_all(&folder).expect("a folder");
    folder.to_str().expect("a path of letters").to_owned()
}

/// Of `vectors/tls`; all keys are of `key.pem`, the password is `open`.
fn vector(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/tls").join(name);
    fs::read_to_string(path).expect("it is committed")
}

fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder().join(name);
    fs::write(&path, content).expect("it can be written");
    path.to_str().expect("a path of letters").to_owned()
}

/// Java's way to write a value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n")
}

/// What a PEM property can be instead: what is wrong with it, and the text.
fn texts(is_key: bool) -> Vec<(&'static str, String)> {
    let (good, other) = (vector("cert.pem"), vector("key.pem"));
    let (good, other) = if is_key { (other, good) } else { (good, other) };
    let label = if is_key { "PRIVATE KEY" } else { "CERTIFICATE" };
    let dashed = |body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let mut texts = vec![
        ("no PEM", format!("not {HUSH} at all\n")),
        ("a section without its end", good.replace("-----END", "-----AND")),
        ("no base64", dashed(&format!("{HUSH}!!!"))),
        ("nothing in it", dashed("")),
        ("no DER", dashed(&BASE64.encode(HUSH))),
        ("the other kind", other),
        ("dashes too few", good.replace("-----BEGIN", "----BEGIN")),
        ("all on one line and cut", good.replace('\n', " ").replace("-----END", "")),
    ];
    if is_key {
        texts.push(("another's key", vector("other-key.pem")));
        texts.push(("encrypted, and no password", vector("key-aes.pem")));
        texts.push(("encrypted in OpenSSL's old way", vector("key-openssl.pem")));
    }
    texts
}

/// The same as files, and what only a file can be.
fn files(is_key: bool) -> Vec<(&'static str, String)> {
    let kind = if is_key { "key" } else { "certificate" };
    let der = |pem: String| {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        BASE64.decode(body).expect("base64 in PEM")
    };
    let mut files: Vec<_> = texts(is_key)
        .into_iter()
        .enumerate()
        .map(|(number, (what, text))| (what, file(&format!("{kind}-{number}.pem"), text)))
        .collect();
    files.extend([
        ("a file that is not there", "no/such/file.pem".to_owned()),
        ("a folder without any", empty_folder()),
        ("an empty file", file("empty.pem", "")),
        ("DER", file(&format!("{kind}.der"), der(vector(if is_key { "key.pem" } else { "cert.pem" })))),
        ("a JKS store", file("store.jks", [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2])),
    ]);
    files
}

type Lines<'a> = Vec<(&'a str, String)>;

/// Every property of PEM, with everything that it can be instead; the others are sound.
fn pem(wrong: &mut Vec<Wrong>) {
    let (cert, key) = (vector("cert.pem"), vector("key.pem"));
    let (cert_file, key_file) = (file("cert.pem", &cert), file("key.pem", &key));
    let both = file("both.pem", format!("{cert}{key}"));
    let store = ("ssl.keystore.type", "PEM".to_owned());
    let trust = ("ssl.truststore.type", "PEM".to_owned());
    let ours: Lines<'_> = vec![("ssl.certificate.location", cert_file.clone()), ("ssl.key.location", key_file)];
    let ours_as_text = vec![("ssl.certificate.pem", cert.clone()), ("ssl.key.pem", key.clone())];
    let java = vec![store.clone(), ("ssl.keystore.certificate.chain", cert.clone()), ("ssl.keystore.key", key)];
    let java_file = vec![store, ("ssl.keystore.location", both)];
    for lines in [
        [vec![("ssl.ca.location", cert_file.clone())], ours].concat(),
        [vec![("ssl.ca.pem", cert.clone())], ours_as_text].concat(),
        [vec![trust.clone(), ("ssl.truststore.certificates", cert)], java].concat(),
        [vec![trust, ("ssl.truststore.location", cert_file)], java_file].concat(),
    ] {
        for at in 0..lines.len() {
            let (property, _) = lines[at];
            if property.ends_with(".type") {
                continue;
            }
            let is_key = property.contains("key.") || property.ends_with("keystore.key");
            let is_store = property == "ssl.keystore.location";
            let instead = if property.ends_with(".location") { files(is_key && !is_store) } else { texts(is_key) };
            for (what, value) in instead {
                let mut lines = lines.clone();
                lines[at].1 = value;
                wrong.push(tls(format!("{property}: {what}"), lines, property));
            }
        }
    }
    let encrypted = |password: &str, pem: &str| {
        let lines = vec![("ssl.certificate.pem", vector("cert.pem")), ("ssl.key.pem", vector(pem))];
        [lines, vec![("ssl.key.password", password.to_owned())]].concat()
    };
    wrong.push(tls("a wrong password".into(), encrypted(HUSH, "key-aes.pem"), "ssl.key.password"));
    wrong.push(tls("PBES1".into(), encrypted("open", "key-pbes1.pem"), "ssl.key.pem"));
    let no_file = vec![("ssl.certificate.pem", vector("cert.pem")), ("ssl.key.location", "no/password.pem".to_owned())];
    let no_file = [no_file, vec![("ssl.key.password", HUSH.to_owned())]].concat();
    wrong.push(tls("a file with the word in its name".into(), no_file, "ssl.key.location"));
    wrong.push(tls("triple DES".into(), encrypted("open", "key-des3.pem"), "ssl.key.pem"));
}

/// Trusts the built-in list, where nothing else is said of it.
fn tls(what: String, lines: Lines<'_>, named: &str) -> Wrong {
    let mut all = vec![("security.protocol", "SSL".to_owned())];
    if !lines.iter().any(|(key, _)| key.starts_with("ssl.ca.") || key.starts_with("ssl.truststore.")) {
        all.push(("ssl.ca.location", "bundled".to_owned()));
    }
    let lines = all.into_iter().chain(lines).map(|(key, value)| (key.to_owned(), value)).collect();
    Wrong { what, lines, named: named.to_owned() }
}

/// Single properties of TLS, and pairs that contradict each other.
fn settings_of_tls(wrong: &mut Vec<Wrong>) {
    let (cert, key) = (vector("cert.pem"), vector("key.pem"));
    let some_file = file("cert.pem", &cert);
    for (property, values) in [
        ("ssl.endpoint.identification.algorithm", vec!["ldaps", "true", "off"]),
        ("enable.ssl.certificate.verification", vec!["yes", "0", ""]),
        ("ssl.enabled.protocols", vec!["SSLv3", "TLSv1.1,TLSv1", "TLSv1.2,TLS", "TLS", ","]),
        ("ssl.protocol", vec!["SSL", "TLSv1"]),
        ("ssl.cipher.suites", vec!["TLS_NULL", "ECDHE-RSA-AES128-GCM-SHA256"]),
        ("ssl.crl.location", vec!["crl.pem"]),
    ] {
        for value in values {
            let what = format!("{property}={value}");
            wrong.push(tls(what, vec![(property, value.to_owned())], property));
        }
    }
    for (side, pem) in [("truststore", "ssl.truststore.certificates"), ("keystore", "ssl.keystore.certificate.chain")] {
        let (kind, password) = (format!("ssl.{side}.type"), format!("ssl.{side}.password"));
        for value in ["JKS", "PKCS12", "BCFKS", ""] {
            let lines = vec![(pem, cert.clone()), (&*kind, value.to_owned()), (&*password, HUSH.to_owned())];
            wrong.push(tls(format!("{kind}={value}"), lines, &kind));
        }
        wrong.push(tls(format!("no {kind}"), vec![(pem, cert.clone())], &kind));
        let lines = vec![(pem, cert.clone()), (&*kind, "PEM".to_owned()), (&*password, HUSH.to_owned())];
        wrong.push(tls(format!("{password} of PEM"), lines, &password));
    }
    for (one, other) in [
        ("ssl.ca.pem", "ssl.ca.location"),
        ("ssl.ca.location", "ssl.truststore.location"),
        ("ssl.ca.pem", "ssl.truststore.certificates"),
        ("ssl.certificate.pem", "ssl.certificate.location"),
        ("ssl.certificate.location", "ssl.keystore.location"),
        ("ssl.key.pem", "ssl.key.location"),
        ("ssl.key.pem", "ssl.keystore.key"),
    ] {
        let value = |property: &str| match property {
            property if property.ends_with(".location") => some_file.clone(),
            property if property.contains("key.pem") || property.ends_with(".key") => key.clone(),
            _ => cert.clone(),
        };
        let lines = vec![
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.keystore.type", "PEM".to_owned()),
            (one, value(one)),
            (other, value(other)),
        ];
        wrong.push(tls(format!("{one} and {other}"), lines, other));
    }
    wrong.push(tls("no key".into(), vec![("ssl.certificate.pem", cert)], "ssl.certificate.pem"));
    wrong.push(tls("no certificate".into(), vec![("ssl.key.pem", key)], "ssl.key.pem"));
}

fn sasl(wrong: &mut Vec<Wrong>) {
    let mut push = |what: &str, lines: &[(&str, &str)], named: &str| {
        let lines = lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        wrong.push(Wrong { what: what.to_owned(), lines, named: named.to_owned() });
    };
    for protocol in ["TLS", "SASL", "SASL-SSL", "SASL_TLS", "", "PLAINTEXT,SSL"] {
        push("a protocol that there is not", &[("security.protocol", protocol)], "security.protocol");
    }
    for (property, value) in [
        ("config.providers", HUSH),
        ("offset.store.method", "file"),
        ("partitioner.class", HUSH),
        ("sasl.client.callback.handler.class", HUSH),
        ("sasl.login.class", HUSH),
        ("ssl.engine.factory.class", HUSH),
    ] {
        push("what can't be had here", &[(property, value)], property);
    }
    let ours = ("security.protocol", "SASL_PLAINTEXT");
    let (name, password) = (("sasl.username", "alice"), ("sasl.password", HUSH));
    push("no mechanism", &[ours, name, password], "sasl.mechanism");
    for mechanism in ["GSSAPI", "SCRAM-SHA-1", "SCRAM", "DIGEST-MD5", "PLAIN,SCRAM-SHA-256", ""] {
        let property = "sasl.mechanism";
        push("a mechanism that there is not", &[ours, name, password, (property, mechanism)], property);
        let property = "sasl.mechanisms";
        push("a mechanism that there is not", &[ours, name, password, (property, mechanism)], property);
    }
    let two = [ours, name, password, ("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "SCRAM-SHA-256")];
    push("two mechanisms", &two, "sasl.mechanisms");
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mechanism = ("sasl.mechanism", mechanism);
        push("no name", &[ours, mechanism, password], "sasl.username");
        push("an empty name", &[ours, mechanism, ("sasl.username", ""), password], "sasl.username");
        push("no password", &[ours, mechanism, name], "sasl.password");
        push("an empty password", &[ours, mechanism, name, ("sasl.password", "")], "sasl.password");
        let module = if mechanism.1 == "PLAIN" { "PlainLoginModule" } else { "ScramLoginModule" };
        let jaas = format!("{module} required username=\"alice\" password=\"{HUSH}\";");
        let jaas = ("sasl.jaas.config", jaas.as_str());
        push("JAAS and a name", &[ours, mechanism, jaas, name], "sasl.username");
        push("JAAS and a password", &[ours, mechanism, jaas, password], "sasl.password");
        let other = if mechanism.1 == "PLAIN" { "ScramLoginModule" } else { "PlainLoginModule" };
        for jaas in [
            String::new(),
            HUSH.to_owned(),
            format!("{module} password=\"{HUSH}\";"),
            format!("{module} required username=\"alice\" password=\"{HUSH}\""),
            format!("{module} required username=\"alice\" password=\"{HUSH};"),
            format!("{module} required username=\"alice\" password='{HUSH}\";"),
            format!("{module} required username=\"alice\" password=my {HUSH};"),
            format!("{module} required username=\"alice\" password=\"my\"{HUSH};"),
            format!("{module} required username=\"alice\" password {HUSH};"),
            format!("{module} required username=\"alice\" password=\"my\" \"{HUSH}\";"),
            format!("{module} required username=\"alice\" \"password\"=\"{HUSH}\";"),
            format!("{module} required username=\"alice\" password=\"{HUSH}\"; {module} required;"),
            format!("{module} required username=\"alice\" pasword=\"{HUSH}\";"),
            format!("{module} required user=\"alice\" password=\"{HUSH}\";"),
            format!("{module} required username=\"alice\" password=\"\";"),
            format!("{module} required username=\"\" password=\"{HUSH}\";"),
            format!("{module} always username=\"alice\" password=\"{HUSH}\";"),
            format!("Client {{ {module} required username=\"alice\" password=\"{HUSH}\"; }};"),
            format!("org.example.{other} required username=\"alice\" password=\"{HUSH}\";"),
            format!("{module} required username=\"alice\" password={HUSH}\\"),
        ] {
            push("JAAS", &[ours, mechanism, ("sasl.jaas.config", &jaas)], "sasl.jaas.config");
        }
    }
}

/// Everything that an error may show.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error}\n{error:?}\n{error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        shown.push_str(&format!("\n{cause}\n{cause:?}"));
        source = cause.source();
    }
    shown
}

#[tokio::test]
async fn each_names_its_property_and_none_shows_a_secret() {
    let mut wrong = Vec::new();
    pem(&mut wrong);
    settings_of_tls(&mut wrong);
    sasl(&mut wrong);
    assert!(wrong.len() >= 60, "{} configurations", wrong.len());
    let mut complaints = Vec::new();
    for (number, Wrong { what, lines, named }) in wrong.iter().enumerate() {
        let mut text = format!("# {what}: {named}\nbootstrap.servers=127.0.0.1:1\n");
        for (key, value) in lines {
            text.push_str(&format!("{key}={}\n", escaped(value)));
        }
        file(&format!("{number:03}.properties"), &text);
        let made = Properties::parse(&text).and_then(|properties| Client::new(properties.client()?));
        let Err(error) = made else {
            complaints.push(format!("{number} {what}: taken"));
            continue;
        };
        let names = [":", "="].iter().any(|mark| error.to_string().starts_with(&format!("{named}{mark}")));
        let shown = shown(&error);
        let secret = shown.contains(HUSH) || shown.contains(&BASE64.encode(HUSH)) || shown.contains("[104, 117, 115");
        if !names || secret || error.kind() != ErrorKind::Config {
            complaints.push(format!("{number} {what}: {shown}"));
        }
    }
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), wrong.len(), complaints.join("\n"));
}
