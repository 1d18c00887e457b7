//! The engine: what a stage is, which steps a config asks for, which of them must run, and how their results are stored whole.
//!
//! It knows Arrow and Parquet alone; no stage, no SQL engine and no model. Read in this order:
//! [`stage`] (the one trait), [`config`] (what the user wrote), [`plan`] (what must run and why),
//! [`run`] (running it), [`draft`] (an artifact while it is written) and [`artifact`] (afterwards).

pub mod artifact;
pub mod balance;
pub mod config;
pub mod context;
pub mod draft;
pub mod error;
pub mod fetched;
pub mod files;
pub mod inputs;
pub mod journal;
pub mod key;
pub mod manifest;
pub mod part;
pub mod part_writer;
pub mod plan;
pub mod reason;
pub mod run;
pub mod schema;
pub mod selection;
pub mod site;
pub mod stage;
pub mod suggest;
pub mod table_file;
pub mod testing;
pub mod usage;
mod workers;
pub mod workspace;

pub use artifact::{Artifact, Table};
pub use context::{Context, Progress, Quiet, Sql};
pub use draft::Draft;
pub use error::{ConfigError, GateFailed, Locked, Stopped};
pub use files::InputFile;
pub use inputs::Inputs;
pub use manifest::Manifest;
pub use part::Part;
pub use part_writer::PartWriter;
pub use schema::Kind;
pub use site::{Site, StepView};
pub use stage::{Choice, Disk, Port, Stage, StageEntry, entry};
pub use suggest::{list, nearest, suggest};
pub use table_file::TableFile;
