//! Replicas broken by seeds: what CI runs of it, and that it would find what is wrong.

mod determinism;
mod minimised;
mod own;
mod program;
mod seeds;
