use std::fmt::Write;

use toml::{Table, Value};

use super::{
    Config, HttpSection, NamespaceSection, NatsSection, NodeSection, Opt, SignaturesSection,
    SnapshotsSection, TokenSection,
};

const HEAD: &str = "\
## A node of Archipelago: archipelago serve --config node.toml
##
## Every value is the default; lines with one # are examples. Each option is a flag and a variable, too: http.listen is
## --http-listen and ARCHIPELAGO_HTTP_LISTEN. A flag goes before a variable, and that before this file.
";

/// A file with every option, its default and what it does. Parsed, it is the default configuration.
pub fn example() -> String {
    let defaults = Table::try_from(Config::default()).expect("the configuration is plain data");
    let mut text = HEAD.to_owned();
    let sections = [
        ("node", NodeSection::DOC, NodeSection::OPTIONS),
        ("http", HttpSection::DOC, HttpSection::OPTIONS),
        ("nats", NatsSection::DOC, NatsSection::OPTIONS),
        ("signatures", SignaturesSection::DOC, SignaturesSection::OPTIONS),
        ("snapshots", SnapshotsSection::DOC, SnapshotsSection::OPTIONS),
    ];
    for (name, doc, options) in sections {
        let values = defaults.get(name).and_then(Value::as_table);
        section(&mut text, name, doc, options, |option| {
            let value = values.and_then(|values| values.get(option.name));
            value.map_or_else(
                || format!("# {} = {}", option.name, option.sample),
                |value| format!("{} = {value}", option.name),
            )
        });
    }
    let sample = |option: &Opt| format!("# {} = {}", option.name, option.sample);
    section(&mut text, "# namespaces.orders", NamespaceSection::DOC, NamespaceSection::OPTIONS, sample);
    section(&mut text, "# tokens.shop", TokenSection::DOC, TokenSection::OPTIONS, sample);
    text
}

fn section(text: &mut String, name: &str, doc: &[&str], options: &[Opt], line: impl Fn(&Opt) -> String) {
    let (mark, name) = name.strip_prefix("# ").map_or(("", name), |name| ("# ", name));
    text.push('\n');
    comment(text, doc);
    let _ = writeln!(text, "{mark}[{name}]");
    for option in options {
        comment(text, option.doc);
        let _ = writeln!(text, "{}", line(option));
    }
}

/// Comments of two marks stay comments where those of one are taken away.
fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(text, "##{line}");
    }
}
