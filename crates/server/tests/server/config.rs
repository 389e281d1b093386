use std::{collections::BTreeMap, net::SocketAddr};

use archipelago_server::{
    Config, ConfigError, Sources,
    config::{ConflictStrategyName, example, flag, variable},
};

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.toml");
    std::fs::write(&path, text).expect("a writable folder");
    (folder, Sources { file: Some(path), ..Sources::default() })
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let (_folder, sources) = file(text);
    Config::load(&sources)
}

#[test]
fn the_example_is_the_default_configuration() {
    assert_eq!(toml::from_str::<Config>(&example()).unwrap(), Config::default());
}

#[test]
fn every_example_in_the_example_can_be_used() {
    let text: String =
        example().lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
    let config = toml::from_str::<Config>(&text).unwrap();
    let (namespace, token) = (&config.namespaces["orders"], &config.tokens["shop"]);
    assert!(namespace.prefix_strategies.contains_key("counter/") && token.sha256.is_some());
    assert!(config.nats.tls_ca.is_some() && config.http.tls_key.is_some() && config.node.name.is_some());
}

#[test]
fn a_flag_goes_before_a_variable_and_that_before_the_file() {
    let (_folder, mut sources) =
        file("[node]\nname = \"a\"\n[http]\nlisten = \"127.0.0.1:1\"\nbody_bytes_max = 5\n");
    assert_eq!(Config::load(&sources).unwrap().http.listen, SocketAddr::from(([127, 0, 0, 1], 1)));
    let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    sources.variables = given("ARCHIPELAGO_HTTP_LISTEN", "127.0.0.1:2");
    assert_eq!(Config::load(&sources).unwrap().http.listen.port(), 2);
    sources.flags = given("http-listen", "127.0.0.1:3");
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.http.listen.port(), config.http.body_bytes_max), (3, 5));
}

#[test]
fn every_option_has_a_flag_and_a_variable_of_its_own() {
    let options = Config::options();
    let flags: std::collections::BTreeSet<_> = options.iter().map(flag).collect();
    let variables: std::collections::BTreeSet<_> = options.iter().map(variable).collect();
    assert_eq!((flags.len(), variables.len()), (options.len(), options.len()));
    let mut sources = Sources::default();
    sources.variables.insert("ARCHIPELAGO_NODE_NAME".into(), "a".into());
    sources.variables.insert("ARCHIPELAGO_NATS_SERVERS".into(), "nats://one, nats://two".into());
    sources.flags.insert("namespaces".into(), "{ orders = { strategy = \"manual\" } }".into());
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.nats.servers, ["nats://one", "nats://two"]);
    assert_eq!(config.namespaces["orders"].strategy, ConflictStrategyName::Manual);
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let wrong = [
        ("[node]\nnam = \"a\"", "node.nam"),
        ("[node]\nname = \"a\"\n[http]\nbody_bytes_max = \"x\"", "http.body_bytes_max"),
        ("[node]\nname = \"a\"\n[namespaces.orders]\nmode = \"none\"", "namespaces.orders.mode"),
        ("[node]\nname = \"a b\"", "node.name"),
        ("[node]\nname = \"a\"\n[namespaces.\"a b\"]", "namespaces.a b"),
        ("[node]\nname = \"a\"\n[tokens.shop]\nrole = \"read\"", "tokens.shop.sha256"),
        ("[node]\nname = \"a\"\n[nats]\nuser = \"a\"", "nats.user"),
        ("[node]\nname = \"a\"\n[signatures]\ntrusted = [\"b=ed25519:00\"]", "signatures.trusted"),
        ("[node]\nname = \"a\"\n[signatures]\nkey = \"x\"\ntrusted = [\"b\"]", "signatures.trusted"),
        ("[node]\nname = \"a\"\n[signatures]\nkey = \"x\"\nkey_file = \"y\"", "signatures.key"),
        ("[node]\nname = \"a\"\n[namespaces.x]\nmode = \"leader-follower\"", "namespaces.x.mode"),
        ("[node]\nname = \"a\"\n[namespaces.x]\nforward_writes = true", "namespaces.x.forward_writes"),
        ("[node]\nname = \"a\"\n[http]\nadvertise = \"us-east:7070\"", "http.advertise"),
        ("[node]\nname = \"a\"\n[snapshots]\nevery_ms = 5", "snapshots.every_ms"),
        ("[http]\n", "node.name"),
        ("[http", "TOML"),
    ];
    for (text, path) in wrong {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains(path), "{text:?}: {error}");
    }
    let mut sources = Sources::default();
    sources.variables.insert("ARCHIPELAGO_HTTP_STREAMS_MAX".into(), "many".into());
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.starts_with("ARCHIPELAGO_HTTP_STREAMS_MAX: http.streams_max: "), "{error}");
}

#[test]
fn a_namespace_with_a_leader_has_the_options_of_its_mode_and_no_others() {
    let with = |options: &str| {
        load(&format!(
            "[node]\nname = \"a\"\n[nats]\nservers = [\"nats://a\"]\n[namespaces.x]\nmode = \"leader-follower\"\n{options}"
        ))
    };
    with("role = \"follower\"\nleader = \"b\"\nlease_ms = 500\nack = \"majority\"\npriority = 0").unwrap();
    let wrong = [
        ("strategy = \"manual\"", "strategy"),
        ("outbox_events_max = 5", "outbox_events_max"),
        ("lease_ms = 99", "lease_ms"),
        ("heartbeat_timeout_ms = 1000", "heartbeat_timeout_ms"),
        ("priority = 101", "priority"),
        ("leader = \"b\"", "leader"),
        ("role = \"king\"", "role"),
    ];
    for (options, path) in wrong {
        let error = with(options).unwrap_err().to_string();
        assert!(error.contains(&format!("namespaces.x.{path}: ")), "{options:?}: {error}");
    }
}

#[test]
fn passwords_are_shown_by_nothing_that_is_logged() {
    let text = "[node]\nname = \"a\"\n[nats]\nuser = \"app\"\npassword = \"hunter2\"";
    let config = load(text).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
}
