//! Pages of a list, one after another.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{client::Client, error::OperateError};

/// An entity in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    entities: Vec<Listed>,
    next_cursor: Option<String>,
}

/// What of each entity is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    Ids,
    Values,
    /// Values with CRDTs as they are stored.
    Stored,
}

/// The pages of the entities whose id begins with a prefix.
#[derive(Debug)]
pub(crate) struct Pages {
    client: Client,
    namespace: String,
    query: Vec<(&'static str, String)>,
    /// Where the next page begins, as the node said.
    cursor: Option<String>,
    is_end: bool,
}

impl Pages {
    pub(crate) fn new(client: &Client, namespace: &str, prefix: &str, detail: Detail) -> Pages {
        let mut query = vec![("prefix", prefix.to_owned())];
        if detail != Detail::Ids {
            query.push(("values", "true".to_owned()));
        }
        if detail == Detail::Stored {
            query.push(("form", "stored".to_owned()));
        }
        Pages { client: client.clone(), namespace: namespace.to_owned(), query, cursor: None, is_end: false }
    }

    /// From where another run came to.
    pub(crate) fn after(mut self, cursor: Option<String>) -> Pages {
        self.cursor = cursor;
        self
    }

    /// Where the next page begins, if there is one.
    pub(crate) fn next_cursor(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|_| !self.is_end)
    }

    /// The next page; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Listed>>, OperateError> {
        if self.is_end {
            return Ok(None);
        }
        let mut request = self.client.within(Method::GET, &self.namespace, &["entities"])?.query(&self.query);
        if let Some(cursor) = &self.cursor {
            request = request.query(&[("cursor", cursor)]);
        }
        let page: Page = self.client.data(request).await?;
        self.is_end = page.next_cursor.is_none();
        self.cursor = page.next_cursor;
        Ok(Some(page.entities))
    }
}
