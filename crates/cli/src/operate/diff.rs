use std::{cmp::Ordering, collections::VecDeque, time::Duration};

use clap::Args;
use reqwest::{Method, header::ETAG};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    client::Client,
    error::OperateError,
    output,
    pages::{Detail, Listed, Pages},
    target::{AccessArgs, FormArgs, NamespaceArgs},
};

/// How many differences are looked at again and named; further ones are only counted.
const DIFFERENCES_MAX: usize = 1_000;

/// How long is waited between two looks at what differs.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Compare what two nodes hold, entity by entity.
///
/// What differs is looked at again for a while, so that what is only on its way is not called a difference. The exit status
/// is 0 if the nodes are equal, else 1. Which of them is right it does not know: docs/OPERATIONS.md says how to tell,
/// and `repair` mends.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A node.
    #[arg(value_name = "NODE_A")]
    a: String,
    /// The node that is compared with it.
    #[arg(value_name = "NODE_B")]
    b: String,
    /// Only entities whose id begins so.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// How long what differs may take to become equal, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 3_000)]
    settle_ms: u64,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    access: AccessArgs,
}

/// What a node holds of an entity.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Held {
    etag: String,
    value: Value,
}

/// An entity that the nodes do not hold alike; `None` where it is not there.
#[derive(Debug, Serialize)]
struct Difference {
    id: String,
    a: Option<Held>,
    b: Option<Held>,
}

/// The entities of one node, one by one.
struct Side {
    pages: Pages,
    page: VecDeque<Listed>,
}

struct Found {
    compared: u64,
    differences: Vec<Difference>,
    /// How many there are beyond those that are named.
    unnamed: u64,
}

pub(super) async fn run(options: Options) -> Result<(), OperateError> {
    let a = Client::of(&options.a, &options.access)?;
    let b = Client::of(&options.b, &options.access)?;
    let namespace = &options.namespace.namespace;
    let mut found = compare(&a, &b, namespace, &options.prefix).await?;
    let deadline = Instant::now() + Duration::from_millis(options.settle_ms);
    while !found.differences.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(LOOK_INTERVAL).await;
        found.differences = look_again(&a, &b, namespace, found.differences).await?;
    }
    show(&found, &a, &b, options.form)
}

async fn compare(a: &Client, b: &Client, namespace: &str, prefix: &str) -> Result<Found, OperateError> {
    let side =
        |client| Side { pages: Pages::new(client, namespace, prefix, Detail::Stored), page: VecDeque::new() };
    let (mut a, mut b) = (side(a), side(b));
    let mut found = Found { compared: 0, differences: Vec::new(), unnamed: 0 };
    let (mut on_a, mut on_b) = (a.next().await?, b.next().await?);
    loop {
        let order = match (&on_a, &on_b) {
            (None, None) => return Ok(found),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.id.cmp(&b.id),
        };
        let here =
            if order == Ordering::Greater { None } else { std::mem::replace(&mut on_a, a.next().await?) };
        let there =
            if order == Ordering::Less { None } else { std::mem::replace(&mut on_b, b.next().await?) };
        found.compared += 1;
        let id = here.as_ref().or(there.as_ref()).map(|listed| listed.id.clone()).unwrap_or_default();
        let (a, b) = (here.map(Held::from), there.map(Held::from));
        if a == b {
            continue;
        }
        match found.differences.len() {
            DIFFERENCES_MAX => found.unnamed += 1,
            _ => found.differences.push(Difference { id, a, b }),
        }
    }
}

/// What still differs.
async fn look_again(
    a: &Client,
    b: &Client,
    namespace: &str,
    differences: Vec<Difference>,
) -> Result<Vec<Difference>, OperateError> {
    let mut still = Vec::new();
    for Difference { id, .. } in differences {
        let (a, b) = tokio::try_join!(held(a, namespace, &id), held(b, namespace, &id))?;
        if a != b {
            still.push(Difference { id, a, b });
        }
    }
    Ok(still)
}

async fn held(client: &Client, namespace: &str, id: &str) -> Result<Option<Held>, OperateError> {
    let request = client.within(Method::GET, namespace, &["entities", id])?.query(&[("form", "stored")]);
    let response = match client.send(request).await {
        Err(error) if error.problem() == Some("no-such-entity") => return Ok(None),
        response => response?,
    };
    let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    let etag = etag.trim_matches('"').to_owned();
    let body = response.bytes().await.map_err(|error| client.failed(&error))?;
    Ok(Some(Held { etag, value: client.parse(&body)? }))
}

fn show(found: &Found, a: &Client, b: &Client, form: FormArgs) -> Result<(), OperateError> {
    let differences = found.differences.len() as u64 + found.unnamed;
    let Found { compared, .. } = found;
    if form.json {
        output::json(&json!({
            "a": a.url(), "b": b.url(), "is_equal": differences == 0, "compared": compared,
            "differences": found.differences, "unnamed": found.unnamed,
        }))?;
    } else if differences == 0 {
        output::line(format!("equal: {compared} entities"))?;
    } else {
        let mut table = output::table(["entity", &a.url(), &b.url()]);
        for Difference { id, a, b } in &found.differences {
            table.add_row([id.clone(), shown(a), shown(b)]);
        }
        output::line(table.to_string())?;
        let unnamed =
            if found.unnamed > 0 { format!(", {} of them not named", found.unnamed) } else { String::new() };
        output::line(format!("{differences} of {compared} entities differ{unnamed}"))?;
    }
    if differences == 0 { Ok(()) } else { Err(OperateError::Told) }
}

fn shown(held: &Option<Held>) -> String {
    held.as_ref().map_or("is not there".into(), |Held { etag, value }| format!("{value}\n{etag}"))
}

impl From<Listed> for Held {
    fn from(listed: Listed) -> Self {
        Held { etag: listed.etag.unwrap_or_default(), value: listed.value.unwrap_or_default() }
    }
}

impl Side {
    async fn next(&mut self) -> Result<Option<Listed>, OperateError> {
        loop {
            if let Some(listed) = self.page.pop_front() {
                return Ok(Some(listed));
            }
            match self.pages.next().await? {
                None => return Ok(None),
                Some(page) => self.page = page.into(),
            }
        }
    }
}
