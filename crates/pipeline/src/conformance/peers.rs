use tokio::time::Instant;

use super::*;
use crate::{Heard, Listener};

/// Who listens hears every announcement, its own as well, with the name of who made it; no log is needed for that.
pub async fn everyone_who_listens_hears_an_announcement<H: Harness>(harness: &H) {
    let (paris, tokyo) = (harness.pipeline().await, harness.pipeline().await);
    let mut heard_in_paris = paris.listen("paris").await.expect("listening");
    let mut heard_in_tokyo = tokyo.listen("tokyo").await.expect("listening");
    let payload = Bytes::from(vec![7; 10_000]);
    for listener in [&mut heard_in_paris, &mut heard_in_tokyo] {
        announce_until_heard(&*paris, "paris", payload.clone(), &mut **listener).await;
    }
    assert!(matches!(
        paris.announce("no.token", payload.clone()).await,
        Err(PipelineError::InvalidName { .. })
    ));
    assert!(matches!(paris.listen("no token").await, Err(PipelineError::InvalidName { .. })));
}

/// A question reaches the replica of that name alone, and its answer reaches who asked; several at once do not mix.
pub async fn a_question_is_answered_by_whom_it_names<H: Harness>(harness: &H) {
    let (paris, tokyo) = (harness.pipeline().await, harness.pipeline().await);
    let mut in_paris = paris.listen("paris").await.expect("listening");
    let mut in_tokyo = tokyo.listen("tokyo").await.expect("listening");
    // Until each is known to be heard: a subscription may reach the broker later than a question.
    announce_until_heard(&*paris, "paris", Bytes::from_static(b"up"), &mut *in_tokyo).await;
    announce_until_heard(&*tokyo, "tokyo", Bytes::from_static(b"up"), &mut *in_paris).await;
    let answering = |mut listener: Box<dyn Listener>, name: &'static str| async move {
        loop {
            if let Heard::Question { payload, answer } = listener.next().await.expect("listening") {
                let text = format!("{name}: {}", String::from_utf8_lossy(&payload));
                answer.send(text.into()).await;
            }
        }
    };
    let asking = async {
        let ask = |to: &'static str, number: usize| {
            let pipeline = if to == "paris" { &tokyo } else { &paris };
            pipeline.ask(to, format!("{number}").into(), DEADLINE)
        };
        let answers =
            futures::future::join_all((0..20).flat_map(|n| [ask("paris", n), ask("tokyo", n)])).await;
        for (at, answer) in answers.into_iter().enumerate() {
            let name = ["paris", "tokyo"][at % 2];
            assert_eq!(answer.expect("an answer"), format!("{name}: {}", at / 2));
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering(in_paris, "paris") => {}
        () = answering(in_tokyo, "tokyo") => {}
    }
}

/// A question to nobody, or to one who does not answer, fails as worth retrying at its deadline and not before long.
pub async fn a_question_without_an_answer_ends_at_its_deadline<H: Harness>(harness: &H) {
    let (paris, tokyo) = (harness.pipeline().await, harness.pipeline().await);
    let deadline = Duration::from_millis(300);
    let asked = Instant::now();
    let unheard = within("an end", paris.ask("tokyo", Bytes::new(), deadline)).await;
    assert!(matches!(unheard, Err(PipelineError::NoAnswer { .. })), "{unheard:?}");
    let mut heard = tokyo.listen("tokyo").await.expect("listening");
    announce_until_heard(&*paris, "paris", Bytes::new(), &mut *heard).await;
    let unanswered = within("an end", paris.ask("tokyo", Bytes::new(), deadline)).await;
    assert!(matches!(unanswered, Err(PipelineError::NoAnswer { .. })), "{unanswered:?}");
    assert!(unanswered.is_err_and(|error| error.is_retryable()) && asked.elapsed() >= deadline);
}

/// After an outage a listener hears again without anyone's help.
pub async fn listening_survives_an_outage<H: Harness>(harness: &H) {
    let (paris, tokyo) = (harness.pipeline().await, harness.pipeline().await);
    let mut heard = tokyo.listen("tokyo").await.expect("listening");
    announce_until_heard(&*paris, "paris", Bytes::from_static(b"before"), &mut *heard).await;
    harness.stop_broker().await;
    until_down(&*paris).await;
    let refused = paris.announce("paris", Bytes::new()).await;
    assert!(matches!(refused, Err(PipelineError::Unavailable { .. })), "{refused:?}");
    let refused = within("an answer", paris.ask("tokyo", Bytes::new(), DEADLINE)).await;
    assert!(matches!(refused, Err(PipelineError::Unavailable { .. })), "{refused:?}");
    harness.start_broker().await;
    until_up(&*paris).await;
    announce_until_heard(&*paris, "paris", Bytes::from_static(b"after"), &mut *heard).await;
}

/// Announces again and again, as a subscription may reach the broker later than an announcement.
pub(super) async fn announce_until_heard(
    pipeline: &dyn Pipeline,
    from: &str,
    payload: Bytes,
    listener: &mut dyn Listener,
) {
    let announcing = async {
        loop {
            let _ = pipeline.announce(from, payload.clone()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let hearing = async {
        loop {
            let heard = listener.next().await.expect("listening");
            if matches!(&heard, Heard::Announcement { from: by, payload: what } if by == from && *what == payload)
            {
                return;
            }
        }
    };
    tokio::select! {
        () = announcing => {}
        () = within("an announcement", hearing) => {}
    }
}
