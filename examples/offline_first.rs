//! Two clients that are offline most of the time, and a master that they meet only now and then. What one lacks travels
//! as bytes: here through a folder, as a stick would carry them; a request or a message does as well.
//!
//! `cargo run -p archipelago-examples --example offline_first`
#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{collections::BTreeMap, error::Error, path::Path};

use archipelago::{MemoryStore, MultiMasterManager, SessionToken, Strategy, manager::Imported};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A replica without a pipeline. A real client has a `FjallStore` in a folder of its own.
async fn client(name: &str) -> Outcome<MultiMasterManager> {
    let options = MultiMasterManager::builder()
        .master_id(name)
        .namespace("notes")
        .conflict_strategy(Strategy::FieldMerge)
        .store(MemoryStore::new());
    Ok(options.start().await?)
}

/// Puts what `from` has and the holder of `since` lacks on the stick, as files of bounded size.
async fn pack(from: &MultiMasterManager, since: &SessionToken, stick: &Path) -> Outcome {
    std::fs::create_dir_all(stick)?;
    let mut changes = from.changes_since(since);
    let mut number = 0;
    while let Some(part) = changes.next().await? {
        std::fs::write(stick.join(format!("{}-{number}", from.master_id().name())), part)?;
        number += 1;
    }
    Ok(())
}

/// Takes in every file on the stick, in whatever order the folder gives them.
async fn unpack(stick: &Path, into: &MultiMasterManager) -> Outcome {
    for file in std::fs::read_dir(stick)? {
        let imported = into.import(std::fs::read(file?.path())?).await?;
        if let Imported::Merged { entities } = imported {
            println!("  {} took in {entities} notes", into.master_id().name());
        }
    }
    Ok(())
}

async fn note(replica: &MultiMasterManager, id: &str) -> Outcome<Option<BTreeMap<String, String>>> {
    Ok(replica.read(id).await?)
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::main]
async fn main() -> Outcome {
    let folder = tempfile::tempdir()?;
    let stick = |name: &str| folder.path().join(name);
    let (phone, laptop, office) = (client("phone").await?, client("laptop").await?, client("office").await?);

    println!("the office writes a note, and both clients take a copy along");
    office.write("note/1", &fields(&[("title", "Islands"), ("text", "draft")])).await?;
    pack(&office, &SessionToken::default(), &stick("everything")).await?;
    unpack(&stick("everything"), &phone).await?;
    unpack(&stick("everything"), &laptop).await?;

    println!("far from any network, both go on writing");
    phone.patch("note/1", &fields(&[("title", "Seven islands")])).await?;
    phone.write("note/2", &fields(&[("title", "Ferry at nine")])).await?;
    laptop.patch("note/1", &fields(&[("text", "written on the train")])).await?;

    println!("phone and laptop meet first");
    pack(&phone, &laptop.session_token(), &stick("phone to laptop")).await?;
    unpack(&stick("phone to laptop"), &laptop).await?;

    println!("the laptop alone comes to the office, and brings what the phone wrote as well");
    pack(&laptop, &office.session_token(), &stick("laptop to office")).await?;
    unpack(&stick("laptop to office"), &office).await?;
    let merged = fields(&[("title", "Seven islands"), ("text", "written on the train")]);
    assert_eq!(note(&office, "note/1").await?, Some(merged.clone()));
    assert_eq!(note(&office, "note/2").await?, Some(fields(&[("title", "Ferry at nine")])));

    println!("the office removes a note; months later the phone is back, and an old stick is read again");
    office.delete("note/2").await?;
    pack(&office, &phone.session_token(), &stick("office to phone")).await?;
    unpack(&stick("office to phone"), &phone).await?;
    unpack(&stick("phone to laptop"), &office).await?;
    pack(&phone, &office.session_token(), &stick("phone to office")).await?;
    unpack(&stick("phone to office"), &office).await?;
    pack(&office, &laptop.session_token(), &stick("office to laptop")).await?;
    unpack(&stick("office to laptop"), &laptop).await?;

    for replica in [&phone, &laptop, &office] {
        assert_eq!(note(replica, "note/1").await?, Some(merged.clone()));
        assert_eq!(note(replica, "note/2").await?, None);
        assert_eq!(replica.state_digest().await?, office.state_digest().await?);
    }
    println!("all three hold the same notes: {:?}", note(&phone, "note/1").await?);
    Ok(())
}

#[test]
fn the_example_runs() {
    main().expect("the example runs to its end");
}
