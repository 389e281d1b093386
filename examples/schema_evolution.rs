//! Two versions of a program on one data set, side by side: `cargo run --example schema_evolution`.
//!
//! The new version splits the name of a person in two. While it is rolled out, masters that run the old version read and
//! write on; nothing stored is migrated, and what the old version does not know it does not lose.

#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::time::Duration;

use archipelago::{Schema, prelude::*};
use serde::{Deserialize, Serialize};

/// The old version of the program.
mod old {
    use super::{Deserialize, Serialize};

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Person {
        pub(crate) name: String,
        pub(crate) city: String,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Place {
        pub(crate) title: String,
    }
}

/// The new version of the program.
mod new {
    use super::{Deserialize, Schema, Serialize, Value};

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Person {
        pub(crate) first: String,
        pub(crate) last: String,
        pub(crate) city: String,
    }

    /// A field more. That needs no new version of the schema: it is there or it is not.
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Place {
        pub(crate) title: String,
        #[serde(default)]
        pub(crate) stars: u8,
    }

    /// How a person of the old version becomes one of the new.
    pub(crate) fn people() -> Schema {
        Schema::version(2).upcast(1, |person| {
            let Value::Map(fields) = person else { return Err("a person is a map".into()) };
            // A record may be in pieces: what is not there is not lifted.
            let Some(name) = fields.remove("name") else { return Ok(()) };
            let name = name.as_text().ok_or("a name is text")?;
            let (first, last) = name.split_once(' ').unwrap_or((name, ""));
            fields.insert("first".into(), first.into());
            fields.insert("last".into(), last.into());
            Ok(())
        })
    }
}

async fn meet(
    one: &MultiMasterManager,
    other: &MultiMasterManager,
) -> Result<(), Box<dyn std::error::Error>> {
    for (writer, reader) in [(one, other), (other, one)] {
        let last = writer.write("met", writer.master_id().name()).await?;
        assert!(reader.wait_for(&last.token, Duration::from_secs(5)).await);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = MemoryBroker::default();
    let options = |name: &str| {
        MultiMasterManager::builder()
            .master_id(name)
            .namespace("people")
            .store(MemoryStore::new())
            .pipeline(broker.pipeline("people"))
            .prefix_strategy("place/", Strategy::FieldMerge)
    };
    // Nobody thought of schemas when the old version was written.
    let before = options("old").start().await?;
    let after = options("new").schema("user/", new::people()).start().await?;

    before.write("user/1", &old::Person { name: "Ann Lee".into(), city: "Rome".into() }).await?;
    meet(&before, &after).await?;

    // The new version reads the old form lifted; what is stored stays as it is.
    let (_, digest) = after.state_digest().await?;
    let ann: new::Person = after.read("user/1").await?.ok_or("Ann is there")?;
    println!("the new version reads   {ann:?}");
    assert_eq!((ann.first.as_str(), ann.last.as_str()), ("Ann", "Lee"));
    assert_eq!(after.state_digest().await?.1, digest);

    // An update writes the record in the new form. Who knows only the old one sees that, and changes no part of it.
    let moved = |person: &mut new::Person| {
        person.city = "Oslo".into();
        Ok::<_, std::convert::Infallible>(())
    };
    after.update("user/1", moved).await?;
    meet(&before, &after).await?;
    let view = before.entity("user/1").await?.ok_or("Ann is there")?;
    println!("the old version sees    {}, version {}", view.value.unwrap_or_default(), view.schema_version);
    let refused = before.patch("user/1", &[("city", "Rome")].into_iter().collect::<Value>()).await;
    println!("and may not touch it    {}", refused.expect_err("it is newer"));
    // As a whole it may: then the record is in the old form again, and is lifted again.
    before.write("user/1", &old::Person { name: "Ann Fox".into(), city: "Oslo".into() }).await?;
    meet(&before, &after).await?;
    let ann: new::Person = after.read("user/1").await?.ok_or("Ann is there")?;
    println!("the new version reads   {ann:?}");
    assert_eq!(ann.last, "Fox");

    // A field more: the old version keeps it, although it does not know it.
    after.write("place/1", &new::Place { title: "Harbour".into(), stars: 4 }).await?;
    meet(&before, &after).await?;
    let renamed = |place: &mut old::Place| {
        place.title = "Old harbour".into();
        Ok::<_, std::convert::Infallible>(())
    };
    before.update("place/1", renamed).await?;
    meet(&before, &after).await?;
    let place: new::Place = after.read("place/1").await?.ok_or("the place is there")?;
    println!("unknown fields stay     {place:?}");
    assert_eq!(place, new::Place { title: "Old harbour".into(), stars: 4 });

    before.close().await?;
    after.close().await?;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}
