use std::{sync::Arc, time::Duration};

use archipelago_pipeline::PipelineError;
use async_nats::{
    Client, ConnectOptions, ServerAddr,
    jetstream::{
        self,
        context::{AccountErrorKind, ContextBuilder, Yes},
    },
};
use tokio::time::Instant;

use crate::{
    address::Addresses,
    config::{Credentials, NatsConfig, OnStart},
    error,
    link::{Links, Role},
    parts::PARTS_IN_FLIGHT_MAX,
};

/// A server that does not answer three pings in a row is taken for lost, as a frozen one closes no connection.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// A broker that comes back is noticed within this time.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);

/// Makes one of the two connections.
pub(crate) async fn connect(
    config: &NatsConfig,
    addresses: &Addresses,
    links: &Arc<Links>,
    role: Role,
) -> Result<Client, PipelineError> {
    let (events, attempts) = (links.clone(), links.clone());
    let mut options = ConnectOptions::new()
        .name(format!("archipelago {} {role:?}", config.namespace))
        .connection_timeout(config.connect_timeout)
        .request_timeout(Some(config.ack_timeout))
        .ping_interval(PING_INTERVAL)
        .custom_inbox_prefix(config.inbox_prefix())
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        .reconnect_to_server_callback(move |servers, _| {
            // Which server is next is not our business: this is where to learn why the last attempts failed.
            attempts.handle_attempts(role, servers.into_iter().filter_map(|server| server.last_error));
            std::future::ready(None)
        })
        .event_callback(move |event| {
            events.handle_event(role, event);
            std::future::ready(())
        });
    options = secured(identify(options, config, addresses).await?, config);
    if config.on_start == OnStart::Background {
        options = options.retry_on_initial_connect();
    }
    let servers: &[ServerAddr] = &addresses.servers;
    options.connect(servers).await.map_err(|error| error::from_connect(&error, links))
}

/// At once after a loss, then after 16, 32, ... milliseconds.
fn reconnect_delay(attempt: usize) -> Duration {
    match u32::try_from(attempt).unwrap_or(u32::MAX) {
        0 | 1 => Duration::ZERO,
        attempt => Duration::from_millis(4).saturating_mul(1 << attempt.min(8)).min(RECONNECT_DELAY_MAX),
    }
}

/// With TLS as it is configured.
pub(crate) fn secured(mut options: ConnectOptions, config: &NatsConfig) -> ConnectOptions {
    if let Some(certificate) = &config.tls_ca {
        options = options.add_root_certificates(certificate.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &config.tls_client {
        options = options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
    }
    options
}

/// With who we are.
pub(crate) async fn identify(
    options: ConnectOptions,
    config: &NatsConfig,
    addresses: &Addresses,
) -> Result<ConnectOptions, PipelineError> {
    Ok(match &config.credentials {
        Some(Credentials::UserAndPassword { user, password }) => {
            options.user_and_password(user.clone(), password.clone())
        }
        Some(Credentials::Token(token)) => options.token(token.clone()),
        Some(Credentials::NkeySeed(seed)) => options.nkey(seed.clone()),
        Some(Credentials::File(path)) => {
            options.credentials_file(path).await.map_err(|error| PipelineError::Misconfigured {
                reason: format!("the credentials file {} cannot be used: {error}", path.display()),
            })?
        }
        None => match &addresses.user_and_password {
            Some((user, Some(password))) => options.user_and_password(user.clone(), password.clone()),
            Some((token, None)) => options.token(token.clone()),
            None => options,
        },
    })
}

/// Checks that the broker, if there is one by now, is new enough.
pub(crate) fn check_version(client: &Client) -> Result<(), PipelineError> {
    match client.try_server_info() {
        Some(info) if !client.is_server_compatible(2, 10, 0) => Err(PipelineError::Misconfigured {
            reason: format!("nats-server {} is too old; 2.10 or newer is needed", info.version),
        }),
        _ => Ok(()),
    }
}

/// Checks that the broker is new enough and has JetStream.
pub(crate) async fn examine(
    client: &Client,
    context: &jetstream::Context,
    links: &Links,
    role: Role,
) -> Result<(), PipelineError> {
    check_version(client)?;
    let account = tokio::select! {
        biased;
        account = context.query_account() => account,
        denial = links.denial(role, "$JS.API.", Instant::now()) => return Err(denial),
    };
    // What other troubles there may be is for `open` to report.
    match account.map_err(|error| error.kind()) {
        Err(AccountErrorKind::JetStream(error)) => Err(error::from_api(&error, "")),
        Err(AccountErrorKind::JetStreamUnavailable) => Err(error::no_jetstream()),
        _ => Ok(()),
    }
}

/// The JetStream of our server, its own limits out of our way.
pub(crate) fn context(client: &Client, config: &NatsConfig) -> jetstream::Context {
    builder(config).build(client.clone())
}

/// The JetStream that has the log, which may be in another domain.
pub(crate) fn origin_context(client: &Client, config: &NatsConfig) -> jetstream::Context {
    match config.origin_domain() {
        Some(domain) => builder(config).domain(domain).build(client.clone()),
        None => context(client, config),
    }
}

fn builder(config: &NatsConfig) -> ContextBuilder<Yes> {
    ContextBuilder::new()
        .timeout(config.ack_timeout)
        .ack_timeout(config.ack_timeout)
        // Ours is lower, but an acknowledgement that is dropped stays one of theirs until its deadline.
        .max_ack_inflight(config.in_flight_max.saturating_mul(4 * PARTS_IN_FLIGHT_MAX).max(4096))
        .backpressure_on_inflight(true)
}
