//! Masters that believe nobody but those whose keys they know: one is let in, a stranger is not heard, a key is withdrawn.
//!
//! `cargo run -p archipelago-examples --example signatures`
#![allow(clippy::print_stdout, reason = "an example is there to be watched")]

use std::{error::Error, time::Duration};

use archipelago::{MemoryBroker, MemoryStore, MultiMasterManager, PublicKey, Signatures, SigningKey};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(10);

async fn start(broker: &MemoryBroker, name: &str, signatures: Signatures) -> Outcome<MultiMasterManager> {
    let master = MultiMasterManager::builder()
        .master_id(name)
        .store(MemoryStore::new())
        .pipeline(broker.pipeline("default"))
        .heartbeat_interval(Duration::from_millis(50))
        .signatures(signatures);
    Ok(master.start().await?)
}

/// Waits until a master has heard whether a key is to be believed.
async fn until_known(at: &MultiMasterManager, key: PublicKey, is_trusted: bool) -> Outcome {
    let keys = at.trusted_keys().ok_or("it signs")?;
    let known = async {
        while !keys.list().iter().any(|known| known.key == key && known.is_trusted == is_trusted) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(PATIENCE, known).await?)
}

async fn run() -> Outcome {
    let broker = MemoryBroker::default();
    // Each keeps its own to itself. `to_secret_text` and `from_secret_text` take one to a file and back.
    let [of_paris, of_tokyo, of_lima] = [(); 3].map(|()| SigningKey::generate());
    // All are set up to believe Paris, and whom Paris lets in.
    let set_up = |key: &SigningKey| Signatures::new(key.clone()).trust("paris", of_paris.public());
    let paris = start(&broker, "paris", Signatures::new(of_paris.clone())).await?;
    let tokyo = start(&broker, "tokyo", set_up(&of_tokyo)).await?;
    let lima = start(&broker, "lima", set_up(&of_lima)).await?;

    // Nobody has let them in yet: what they write stays with them.
    let early = tokyo.write("greeting", "hello from tokyo").await?.token;
    let keys = paris.trusted_keys().ok_or("it signs")?;
    keys.trust("tokyo", of_tokyo.public()).await?;
    keys.trust("lima", of_lima.public()).await?;
    until_known(&lima, of_tokyo.public(), true).await?;
    assert!(lima.wait_for(&early, PATIENCE).await, "it comes by repair, now that Tokyo is believed");
    println!("lima reads {:?}", lima.read::<String>("greeting").await?);

    // Somebody who may publish as Paris, but has another key.
    let stranger = start(&broker, "paris", Signatures::new(SigningKey::generate())).await?;
    let lie = stranger.write("greeting", "a lie").await?.token;
    assert!(!lima.wait_for(&lie, Duration::from_millis(500)).await);
    let refused = lima.trusted_keys().ok_or("it signs")?.refused();
    println!("lima refused {refused} messages, and still reads {:?}", lima.read::<String>("greeting").await?);
    assert!(refused > 0);
    stranger.close().await?;

    // The machine in Tokyo was stolen.
    keys.withdraw("tokyo", of_tokyo.public()).await?;
    until_known(&lima, of_tokyo.public(), false).await?;
    let late = tokyo.write("greeting", "hello from the thief").await?.token;
    let fence = paris.write("fence", &1).await?.token;
    assert!(lima.wait_for(&fence, PATIENCE).await && !lima.wait_for(&late, Duration::from_millis(500)).await);
    println!("tokyo is not believed any more");
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    run().await
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::run().await.expect("the example runs");
    }
}
