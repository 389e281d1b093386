//! The configuration that the nodes of the compose file have in common.

use std::{collections::BTreeMap, path::Path};

use archipelago_server::{
    ApiToken, Config,
    config::{ConfigError, Mode, Sources},
};

/// The configuration of a node, with `lines` at the end of the file that is shipped.
fn loaded(lines: &str) -> Result<Config, ConfigError> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compose/node.toml");
    let text = std::fs::read_to_string(shipped).expect("the file") + lines;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.toml");
    std::fs::write(&file, text).expect("a file");
    let variables = BTreeMap::from([("ARCHIPELAGO_NODE_NAME".to_owned(), "node1".to_owned())]);
    Config::load(&Sources { file: Some(file), variables, flags: BTreeMap::new() })
}

#[test]
fn the_nodes_start_once_somebody_may_use_them_and_not_before() {
    let nobody = loaded("").expect_err("no token");
    assert!(nobody.to_string().contains("token"), "{nobody}");
    let hash = ApiToken::mint().hash();
    let config = loaded(&format!("\n[tokens.operator]\nrole = \"admin\"\nsha256 = \"{hash}\"\n"));
    let config = config.expect("a usable file");
    assert_eq!(config.namespaces["orders"].mode, Mode::LeaderFollower);
    assert_eq!(config.namespaces["default"].mode, Mode::MultiMaster);
}
