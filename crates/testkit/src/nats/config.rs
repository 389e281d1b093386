//! The server's configuration file. Not all of it can be said on the command line.

use std::path::Path;

use super::{builder::NatsServerBuilder, cluster::Hearsay};

/// Renders the configuration; `port` 0 lets the server choose a free one.
pub(crate) fn render(settings: &NatsServerBuilder, port: u16, store_dir: &Path, ports_dir: &Path) -> String {
    let port = if port == 0 { "-1".to_owned() } else { port.to_string() };
    let mut config = format!(
        "host: \"127.0.0.1\"\nport: {port}\nports_file_dir: {}\njetstream {{ store_dir: {}, {} }}\n{}\n",
        quote(&ports_dir.to_string_lossy()),
        quote(&store_dir.to_string_lossy()),
        settings.jetstream,
        settings.settings,
    );
    if let Some(bytes) = settings.max_payload_bytes {
        config.push_str(&format!("max_payload: {bytes}\n"));
    }
    if let Some(given) = &settings.credentials {
        let (user, password) = (quote(&given.user), quote(&given.password));
        config.push_str(&format!("authorization {{ user: {user}, password: {password} }}\n"));
    }
    if let Some(membership) = &settings.membership {
        let routes = membership.route_ports.iter().map(|port| quote(&format!("nats://127.0.0.1:{port}")));
        let routes = routes.collect::<Vec<_>>().join(", ");
        let advertise = match membership.hearsay {
            Hearsay::Trusted => "",
            Hearsay::Misled => "advertise: \"127.0.0.1:1\", ",
        };
        config.push_str(&format!(
            "server_name: {}\ncluster {{ name: test, listen: \"127.0.0.1:{}\", {advertise}no_advertise: true, routes: [{routes}] }}\n",
            quote(&membership.name),
            membership.route_port,
        ));
    }
    config
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_cannot_end_its_quotes() {
        assert_eq!(quote(r#"a "b" \c"#), r#""a \"b\" \\c""#);
    }

    #[test]
    fn port_zero_asks_for_a_free_one() {
        let settings = NatsServerBuilder::default();
        let config = |port| render(&settings, port, Path::new("/s"), Path::new("/p"));
        assert!(config(0).contains("port: -1\n"));
        assert!(config(4222).contains("port: 4222\n"));
    }
}
