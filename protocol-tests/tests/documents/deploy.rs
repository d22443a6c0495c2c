//! YAML that nobody runs here: it is parsed, and held against what the binary has.

use super::{files_of_the_repository, read, root};
use yaml_rust2::{Yaml, YamlLoader};

fn parsed(file: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn text<'a>(yaml: &'a Yaml, what: &str) -> &'a str {
    yaml.as_str().unwrap_or_else(|| panic!("{what} is no text: {yaml:?}"))
}

/// Of the workloads in `deploy/kubernetes`: the file, the object, and its one container.
fn workloads() -> Vec<(String, Yaml, Yaml)> {
    let mut found = Vec::new();
    for file in files_of_the_repository("deploy/kubernetes/*.yaml") {
        for object in parsed(&file) {
            if object["kind"].as_str().is_some_and(|kind| kind == "StatefulSet" || kind == "Deployment") {
                let containers = object["spec"]["template"]["spec"]["containers"].as_vec().expect("containers");
                assert_eq!(containers.len(), 1, "{file}");
                found.push((file.clone(), object.clone(), containers[0].clone()));
            }
        }
    }
    assert_eq!(found.len(), 4, "clickstream, aggregate, merge, sink");
    found
}

/// The sources of the binary with such names.
fn of_binary(pattern: &str) -> String {
    let files = files_of_the_repository(&format!("src/bin/milena/{pattern}"));
    files.iter().map(|file| read(file)).collect()
}

/// Which options `milena COMMAND` and `milena` have, as their sources say.
fn has_option(command: &str, option: &str) -> bool {
    let source = of_binary(&format!("{command}.rs")) + &of_binary("args*");
    let field = format!("{}:", option.trim_start_matches('-').replace('-', "_"));
    match option {
        "-F" => source.contains("short = 'F'"),
        "-X" => source.contains("short = 'X'"),
        "-t" => source.contains(" topic: "),
        long => source.contains(&format!("long = \"{}\"", long.trim_start_matches('-'))) || source.contains(&field),
    }
}

fn check_command(file: &str, args: &[&str]) {
    let command = args.first().unwrap_or_else(|| panic!("{file}: no command"));
    assert!(root().join(format!("src/bin/milena/{command}.rs")).exists(), "{file}: no command {command}");
    for option in args.iter().filter(|arg| arg.starts_with('-')) {
        assert!(has_option(command, option), "{file}: milena {command} has no {option}");
    }
    for pair in args.windows(2).filter(|pair| pair[0] == "-X") {
        let key = pair[1].split('=').next().unwrap_or_default();
        assert!(milena::properties::keys().any(|known| known == key), "{file}: there is no property {key}");
    }
}

#[test]
fn all_yaml_can_be_read() {
    let files = [files_of_the_repository("*.yaml"), files_of_the_repository("*.yml")].concat();
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        assert!(!parsed(&file).is_empty(), "{file} is empty");
    }
}

#[test]
fn what_pods_run_is_what_the_binary_has() {
    for (file, object, container) in workloads() {
        let args: Vec<&str> = container["args"].as_vec().expect("args").iter().map(|arg| text(arg, &file)).collect();
        check_command(&file, &args);
        let env: Vec<&str> =
            container["env"].as_vec().into_iter().flatten().map(|var| text(&var["name"], &file)).collect();
        let used: Vec<_> = args.iter().filter_map(|arg| arg.strip_prefix("$(")?.strip_suffix(')')).collect();
        let is_read = |name: &str| of_binary("*.rs").contains(&format!("\"{name}\""));
        assert!(used.iter().all(|name| env.contains(name)), "{file}: each variable that is used is there");
        assert!(env.iter().all(|name| used.contains(name) || is_read(name)), "{file}: each that is there is used");
        // A Deployment's pods have names that nobody has again.
        assert_eq!(args.contains(&"--instance"), object["kind"].as_str() == Some("StatefulSet"), "{file}");
        let serves = args.contains(&"--http");
        assert_eq!(container["livenessProbe"]["httpGet"]["path"].as_str(), serves.then_some("/healthz"), "{file}");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"].as_str(), serves.then_some("/readyz"), "{file}");
        let port =
            args.iter().skip_while(|arg| **arg != "--http").nth(1).map(|at| at.rsplit(':').next().unwrap_or_default());
        let open = container["ports"][0]["containerPort"].as_i64();
        assert_eq!(port.map(|port| port.parse::<i64>().unwrap()), open, "{file}");
        let routes = read("src/pipeline/http/routes.rs");
        assert!(routes.contains("\"/healthz\"") && routes.contains("\"/readyz\"") && routes.contains("\"/metrics\""));
    }
}

#[test]
fn pods_have_longer_to_stop_than_the_commands_take() {
    const DEADLINE: &str = "const DEADLINE: Duration = Duration::from_secs(";
    let binary = of_binary("*.rs");
    let deadline =
        binary.split(DEADLINE).nth(1).and_then(|rest| rest.split(')').next()).expect("the deadline of a stop");
    let deadline: i64 = deadline.parse().unwrap();
    for (file, object, _) in workloads() {
        let grace =
            object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64().expect("a grace period");
        assert!(
            grace > deadline && grace <= 3 * deadline,
            "{file}: {grace} s, and the commands take {deadline} s at most"
        );
    }
    for (name, service) in parsed("compose.yaml")[0]["services"].as_hash().expect("services") {
        let inherits = !service["<<"].is_badvalue() || !service["profiles"].is_badvalue();
        let grace = service["stop_grace_period"].as_str().or_else(|| service["<<"]["stop_grace_period"].as_str());
        assert_eq!(grace, inherits.then_some("20s"), "{name:?}");
    }
}

#[test]
fn pods_are_nobody_and_may_nothing() {
    for (file, object, container) in workloads() {
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true), "{file}");
        assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false), "{file}");
        let own = &container["securityContext"];
        assert_eq!(own["readOnlyRootFilesystem"].as_bool(), Some(true), "{file}");
        assert_eq!(own["allowPrivilegeEscalation"].as_bool(), Some(false), "{file}");
        assert_eq!(own["capabilities"]["drop"][0].as_str(), Some("ALL"), "{file}");
        assert!(!container["resources"]["requests"].is_badvalue(), "{file}");
    }
}

#[test]
fn selectors_volumes_and_names_fit_together() {
    let mut named = Vec::new();
    for file in files_of_the_repository("deploy/kubernetes/*.yaml") {
        for object in parsed(&file) {
            let kind = text(&object["kind"], &file).to_owned();
            named.push((kind, object["metadata"]["name"].as_str().unwrap_or_default().to_owned()));
            if object["kind"].as_str() == Some("PodDisruptionBudget") {
                assert_eq!(object["spec"]["selector"]["matchLabels"], object["metadata"]["labels"], "{file}");
            }
        }
    }
    let is_there =
        |kind: &str, name: &str| named.iter().any(|known| (known.0.as_str(), known.1.as_str()) == (kind, name));
    for (file, object, container) in workloads() {
        let template = &object["spec"]["template"];
        assert_eq!(object["spec"]["selector"]["matchLabels"], template["metadata"]["labels"], "{file}");
        let volumes = template["spec"]["volumes"].as_vec().expect("volumes");
        for mount in container["volumeMounts"].as_vec().expect("mounts") {
            assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{file}: {mount:?}");
        }
        for volume in volumes {
            let secret = volume["secret"]["secretName"].as_str().is_none_or(|name| is_there("Secret", name));
            let config = volume["configMap"]["name"].as_str().is_none_or(|name| is_there("ConfigMap", name));
            assert!(secret && config, "{file}: {volume:?}");
        }
        let name = text(&object["metadata"]["name"], &file);
        if object["kind"].as_str() == Some("StatefulSet") {
            assert!(is_there("Service", text(&object["spec"]["serviceName"], &file)), "{file}");
        }
        let runs = container["livenessProbe"].is_badvalue() || is_there("PodDisruptionBudget", name);
        assert!(runs, "{file}: an eviction may take all of {name} at once");
    }
    let listed = &parsed("deploy/kubernetes/kustomization.yaml")[0]["resources"];
    let listed: Vec<&str> = listed.as_vec().expect("resources").iter().filter_map(Yaml::as_str).collect();
    for (file, ..) in workloads() {
        assert!(listed.contains(&file.rsplit('/').next().unwrap_or_default()), "{file} is not in the kustomization");
    }
}

#[test]
fn the_configuration_in_the_manifests_is_one_that_is_taken() {
    let config = &parsed("deploy/kubernetes/config.yaml")[0]["data"]["pipeline.toml"];
    for line in text(config, "pipeline.toml").lines().filter(|line| line.starts_with('"')) {
        let key = line.split('"').nth(1).unwrap_or_default();
        let knobs = read("src/pipeline/knobs.rs");
        let known = milena::properties::keys().any(|known| known == key) || knobs.contains(&format!("\"{key}\""));
        assert!(known, "there is no {key}");
    }
    let secret = &parsed("deploy/kubernetes/secret.example.yaml")[0]["stringData"]["client.properties"];
    let properties = milena::properties::Properties::parse(text(secret, "client.properties")).unwrap();
    properties.client().unwrap();
}

#[test]
fn what_compose_runs_is_what_the_binary_has() {
    let services = &parsed("compose.yaml")[0]["services"];
    let mut commands = 0;
    for (name, service) in services.as_hash().expect("services") {
        let Some(command) = service["command"].as_vec().filter(|_| name.as_str() != Some("redpanda")) else { continue };
        check_command("compose.yaml", &command.iter().map(|arg| text(arg, "a command")).collect::<Vec<_>>());
        commands += 1;
    }
    assert_eq!(commands, 4);
}

/// The Containerfile copies a part of the repository: it must be enough for cargo.
#[test]
fn what_the_containerfile_copies_is_enough_for_cargo() {
    let copied: Vec<String> = read("deploy/Containerfile")
        .lines()
        .filter_map(|line| line.strip_prefix("COPY ").filter(|rest| !rest.starts_with("--")))
        .flat_map(|rest| rest.split(' ').map(str::to_owned).rev().skip(1).collect::<Vec<_>>())
        .collect();
    let manifest = read("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
    for member in members.split('"').skip(1).step_by(2).filter(|member| *member != ".") {
        assert!(copied.iter().any(|name| name == member), "{member} is a member of the workspace");
    }
    for file in super::package::files() {
        let top = file.split('/').next().unwrap_or_default();
        let wanted = ["src", "benches", "examples", "docs"].contains(&top);
        assert!(!wanted || copied.iter().any(|name| name == top), "{file} is not copied");
    }
    for needed in ["Cargo.toml", "Cargo.lock", ".cargo"] {
        assert!(copied.iter().any(|name| name == needed), "{needed} is not copied");
    }
}
