use std::{fmt, sync::Arc};

use metrics::Recorder;

/// Who records what is measured: the recorder that was asked for, or else that of the process, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Recording(Option<Arc<dyn Recorder + Send + Sync>>);

impl Recording {
    pub(crate) fn of(recorder: Arc<dyn Recorder + Send + Sync>) -> Recording {
        Recording(Some(recorder))
    }

    /// Has what `register` asks the facade for come from the recorder.
    pub(crate) fn with<T>(&self, register: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(recorder) => metrics::with_local_recorder(recorder, register),
            None => register(),
        }
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recording").field(&self.0.is_some()).finish()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a measure is for people and graphs")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "as above")]
pub(crate) fn signed_float(count: i64) -> f64 {
    count as f64
}

pub(crate) fn flag(is_set: bool) -> f64 {
    if is_set { 1.0 } else { 0.0 }
}
