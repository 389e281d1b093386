//! What every implementation of [`Pipeline`](crate::Pipeline) must do, as tests.
