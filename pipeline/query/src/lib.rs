//! SQL: the DataFusion session that stages and the shell share, the SQL functions of Corpusmill, the catalog of a workspace and the shell.
//!
//! Besides the crate `corpus` this is the only one that knows DataFusion and tokio. It reads artifacts and never writes one.
//! Read in this order: [`session`], [`select`] (what stages use), `functions` (a file each), [`catalog`], [`output`], [`shell`].

pub mod catalog;
mod errors;
mod examples;
pub mod expression;
mod functions;
mod ids;
mod listing;
pub mod output;
mod overview;
pub mod select;
mod selected;
pub mod session;
pub mod shell;
mod shipped;

pub use catalog::Catalog;
pub use errors::explain;
pub use functions::functions;
pub use listing::provider;
pub use output::{Format, run_queries};
pub use session::{Session, Settings};
pub use shell::shell;
pub use shipped::{shipped, shipped_names};
