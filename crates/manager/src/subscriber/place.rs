use archipelago_pipeline::{LogState, PipelineError};

use super::{
    Checkpoint, Gap, GapAction, ReplayError, ReplayFrom, SubscriberError, SubscriberNotice, SubscriberStatus,
    delivery::{Delivery, Halt},
    handler::guarded,
    seek::first_since,
};
use crate::{
    backoff::Backoff,
    error::LogLost,
    log_reader::{LogReader, compare},
    random::Random,
};

/// Finding the place in the log, and another one when it is asked for or the log is not what it was.
impl Delivery {
    /// The log at the checkpoint.
    pub(super) async fn open(&mut self) -> Result<LogReader, Halt> {
        self.shared.status.send_replace(SubscriberStatus::Connecting);
        (self.pending_events, self.one_by_one, self.held_back) = (0, 0, false);
        self.pending.clear();
        let state = self.log_state(self.progress.is_none()).await?;
        let progress = match &self.progress {
            Some(progress) => progress.clone(),
            None => {
                let after = self.begin(&state).await?;
                let progress = Checkpoint::new(state.id.clone(), after);
                // Should the log be lost while the subscriber is away, that is noticed at the next start.
                self.proceed(progress.clone());
                self.save().await?;
                progress
            }
        };
        compare(progress.log(), progress.sequence(), &state)?;
        let mut reader =
            LogReader::new(self.pipeline.clone(), state, self.options.stall_timeout, Random::default());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Halt::Closed),
            sought = reader.seek(progress.sequence(), progress.stored_at()) => sought?,
        }
        Ok(reader)
    }

    /// The state of the log, once it can be had. A log that is not there yet may be waited for.
    async fn log_state(&mut self, wait_for_log: bool) -> Result<LogState, Halt> {
        let mut backoff = Backoff::default();
        loop {
            let state = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Halt::Closed),
                state = self.pipeline.state() => state,
            };
            match state {
                Ok(state) => return Ok(state),
                Err(PipelineError::LogMissing { .. }) if wait_for_log => {}
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(LogLost::from(error).into()),
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Halt::Closed),
                () = backoff.wait() => {}
            }
        }
    }

    /// The message after which a subscriber without a checkpoint begins.
    async fn begin(&mut self, state: &LogState) -> Result<u64, Halt> {
        let refused = |error| Halt::from(SubscriberError::StartFrom(error));
        let first = match self.options.start_from {
            // A log that no longer has its first message is a gap, which is noticed as any other.
            ReplayFrom::Start => 1,
            ReplayFrom::Sequence(asked) => {
                check_held(asked.max(1), state, state.last_sequence + 1).map_err(refused)?
            }
            ReplayFrom::Time(time) => tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Halt::Closed),
                first = first_since(&*self.pipeline, state, time) => first.map_err(refused)?,
            },
        };
        Ok(first - 1)
    }

    /// Moves the checkpoint back.
    pub(super) async fn replay(&mut self, from: ReplayFrom) -> Result<u64, ReplayError> {
        let Some(mut progress) = self.progress.clone() else { return Err(ReplayError::Stopped) };
        let state = self.pipeline.state().await?;
        if state.id != *progress.log() {
            let (expected, found) = (progress.log().clone(), state.id);
            return Err(PipelineError::LogReplaced { expected, found }.into());
        }
        let next_sequence = progress.sequence() + 1;
        let first = match from {
            ReplayFrom::Start => state.first_sequence,
            ReplayFrom::Sequence(asked) => asked.max(1),
            ReplayFrom::Time(time) => first_since(&*self.pipeline, &state, time).await?.min(next_sequence),
        };
        let first = check_held(first, &state, next_sequence)?;
        progress.replay(first - 1, state.last_sequence);
        self.window.clear();
        self.proceed(progress);
        Ok(first)
    }

    /// The log is not what it was: the application decides.
    pub(super) async fn gap(&mut self, lost: LogLost) -> Result<(), Halt> {
        let Some(mut progress) = self.progress.clone().filter(|_| is_loss(&lost)) else {
            return Err(Halt::Lost(lost));
        };
        let reason = lost.to_string();
        tracing::error!(%reason, "the log is not what it was");
        self.shared.notify(SubscriberNotice::Gap { reason: reason.clone() });
        let gap = Gap { reason: reason.clone(), checkpoint: progress.clone() };
        let action = guarded(async { (self.on_gap)(gap).await }).await;
        if let Err(panic) = &action {
            tracing::error!(%panic, "on_gap failed");
        }
        if action != Ok(GapAction::Resume) {
            return Err(SubscriberError::LogLost { reason }.into());
        }
        let state = self.log_state(true).await?;
        let after = state.first_sequence - 1;
        progress.move_to(state.id, after);
        self.proceed(progress);
        self.shared.notify(SubscriberNotice::Resumed { after });
        Ok(self.save().await?)
    }
}

fn check_held(asked: u64, state: &LogState, next_sequence: u64) -> Result<u64, ReplayError> {
    let first_sequence = state.first_sequence;
    if asked < first_sequence {
        return Err(ReplayError::Gone { asked, first_sequence });
    }
    if asked > next_sequence {
        return Err(ReplayError::Ahead { asked, next_sequence });
    }
    Ok(asked)
}

/// True if the log lost something; otherwise nobody may read it.
fn is_loss(lost: &LogLost) -> bool {
    match lost {
        LogLost::Gap { .. } | LogLost::BeginsLate { .. } => true,
        LogLost::Pipeline(error) => matches!(
            error,
            PipelineError::LogMissing { .. }
                | PipelineError::LogReplaced { .. }
                | PipelineError::LogRegressed { .. }
        ),
    }
}

pub(super) fn lost_for_good(lost: &LogLost) -> SubscriberError {
    match lost {
        LogLost::Pipeline(error) if !is_loss(lost) => SubscriberError::Pipeline(error.clone()),
        lost => SubscriberError::LogLost { reason: lost.to_string() },
    }
}
