//! What happens to the log under a running leader.

use rand::RngExt;

use crate::{
    disk::copy,
    failure::{Failure, Outcome},
    leader::ensemble::Ensemble,
    now::now_ns,
    scene::Since,
};

/// The stream is put back as it was a moment before.
pub(crate) async fn tail(what: &str, ensemble: &mut Ensemble) -> Outcome {
    let [log, _] = Ensemble::streams();
    let folder =
        ensemble.broker.server(0).store_dir().join("jetstream").join("$G").join("streams").join(&log);
    let kept = ensemble.home.join("tail");
    let server = ensemble.broker.server(0);
    // As a crash at this moment would leave it.
    server.pause().map_err(Failure::broken("pause the server"))?;
    let copied = copy(&folder, &kept);
    server.resume().map_err(Failure::broken("resume the server"))?;
    copied.map_err(Failure::broken("copy the stream"))?;
    ensemble.work(50..500).await;
    let gently = ensemble.random.random_bool(0.5);
    let server = ensemble.broker.server(0);
    match gently {
        true => server.stop().await.map_err(Failure::broken("stop the server"))?,
        false => server.kill().await.map_err(Failure::broken("kill the server"))?,
    }
    std::fs::remove_dir_all(&folder).map_err(Failure::broken("remove the stream"))?;
    std::fs::rename(&kept, &folder).map_err(Failure::broken("put the stream back"))?;
    server.restart().await.map_err(Failure::broken("start the server"))?;
    ensemble.served("tail", now_ns(), None).await?;
    ensemble.work(0..300).await;
    ensemble.settle(what, Since::Lost).await
}

/// The stream is deleted.
pub(crate) async fn delete(what: &str, ensemble: &mut Ensemble) -> Outcome {
    let [log, _] = Ensemble::streams();
    ensemble.broker.delete_stream(&log).await?;
    ensemble.served("delete", now_ns(), None).await?;
    ensemble.work(0..300).await;
    ensemble.settle(what, Since::Lost).await
}
