//! Tests of the stages, each alone.
