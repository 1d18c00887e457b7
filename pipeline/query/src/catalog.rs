//! The tables of a workspace: every current artifact, and what is known about runs, steps and files.
//!
//! | name | what |
//! |---|---|
//! | `STEP` | the main table of the step's artifact |
//! | `STEP.TABLE` | its other tables (`dedup.rejects`, `gpt.metrics`), and the main one again |
//! | `steps`, `files`, `runs` | what was made, of which files, when (module `overview`) |
//! | `steps.documents`, `.rejects`, `.clusters`, `.spans`, `.scores`, `.counts` | the like of all steps, with columns `number` and `step` in front |
//! | `steps.examples` | the rows of tokens that are examples: their `document` and how many tokens they have (`length`), those of a target included |
//!
//! A catalog only reads: it runs queries, `explain`, `show` and `describe`, and refuses whatever would change a table or a setting.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use engine::workspace::Workspace;
use engine::{Artifact, list, nearest, schema, suggest};

use crate::errors::explain;
use crate::examples;
use crate::listing::provider;
use crate::overview;
use crate::session::Session;

/// Names that a step cannot have, because they are tables or schemas of the catalog.
pub const RESERVED: [&str; 6] = ["runs", "steps", "files", "public", "table", "information_schema"];

/// The columns of `spans` of packed tokens: which document lies where.
const SPANS: [(&str, DataType); 5] = [
    ("split", DataType::Utf8),
    ("row", DataType::Int64),
    ("document", schema::ID),
    ("start", DataType::Int64),
    ("length", DataType::Int64),
];

/// More tables than this are not listed in an error.
const TABLES_NAMED: usize = 10;

/// The tables of one workspace as they were when it was opened.
pub struct Catalog<'a> {
    session: &'a Session,
    context: SessionContext,
    /// Names of all tables as one writes them in a query, with their columns, sorted.
    tables: Vec<(String, Vec<String>)>,
}

impl<'a> Catalog<'a> {
    /// Registers the current artifact of every step. A workspace that does not exist yet has no steps.
    pub fn open(session: &'a Session, workspace: &Workspace) -> Result<Catalog<'a>> {
        let mut artifacts = Vec::new();
        for step in workspace.steps()? {
            if RESERVED.contains(&step.as_str()) {
                bail!("`{}` has the name of a table of the catalog; remove this link", workspace.dir.join("steps").join(&step).display());
            }
            artifacts.extend(workspace.current(&step)?.map(|artifact| (step, artifact)));
        }
        overview::sort_by_inputs(&mut artifacts);
        let mut catalog = Catalog { session, context: session.context(), tables: Vec::new() };
        for (step, artifact) in &artifacts {
            catalog
                .add_step(step, artifact)
                .with_context(|| format!("step `{step}`; `mill run` makes it again when its folder is removed"))?;
        }
        for (name, table) in overview::tables(&artifacts, &workspace.dir.join("journal"))? {
            catalog.add(None, name, table)?;
        }
        catalog.add_unions(&artifacts)?;
        catalog.tables.sort();
        Ok(catalog)
    }

    /// Plans a statement. Refuses what is not a query.
    pub fn plan(&self, statement: Statement) -> Result<DataFrame> {
        let sql = statement.to_string();
        let state = self.context.state();
        let named = state.resolve_table_references(&statement).map_err(explain)?;
        let plan = self
            .session
            .block_on(state.statement_to_plan(statement))
            .map_err(|error| self.unknown_table(&named).unwrap_or_else(|| explain(error)))?;
        self.refuse_changes(&plan, &sql)?;
        self.session.block_on(self.context.execute_logical_plan(plan)).map_err(explain)
    }

    /// Plans a single query given as text.
    pub fn query(&self, sql: &str) -> Result<DataFrame> {
        let mut statements = self.parse(sql)?;
        match statements.len() {
            1 => self.plan(statements.remove(0)),
            n => bail!("expected one query, got {n}"),
        }
    }

    /// Splits a text into statements; an error tells line and column.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        let parsed = DFParserBuilder::new(sql).build().and_then(|mut parser| parser.parse_statements());
        Ok(parsed.map_err(explain)?.into())
    }

    pub fn session(&self) -> &Session {
        self.session
    }

    /// All tables with their columns, sorted by name.
    pub fn tables(&self) -> &[(String, Vec<String>)] {
        &self.tables
    }

    /// Names of all functions, ours and DataFusion's, sorted.
    pub fn functions(&self) -> Vec<String> {
        let state = self.context.state();
        let scalar = state.scalar_functions().keys();
        let mut names: Vec<String> =
            scalar.chain(state.aggregate_functions().keys()).chain(state.window_functions().keys()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    fn refuse_changes(&self, plan: &LogicalPlan, sql: &str) -> Result<()> {
        let changes = match plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => true,
            // `explain analyze` runs its plan.
            LogicalPlan::Analyze(analyze) => return self.refuse_changes(&analyze.input, sql),
            _ => false,
        };
        if changes {
            let verb = sql.split_whitespace().next().unwrap_or_default().to_lowercase();
            bail!("`{verb}` would change something, and artifacts never change: only queries, explain, show and describe are possible");
        }
        Ok(())
    }

    /// The message about the first table that does not exist; `None` when all do.
    fn unknown_table(&self, named: &[TableReference]) -> Option<anyhow::Error> {
        let wrong = named.iter().find(|table| !self.context.table_exist((*table).clone()).unwrap_or(false))?;
        let name = match wrong.schema() {
            Some(schema) => format!("{schema}.{}", wrong.table()),
            None => wrong.table().to_string(),
        };
        let names = || self.tables.iter().map(|(name, _)| name.as_str());
        // A quoted name with a dot is one name, where step and table are two.
        if wrong.schema().is_none() && names().any(|known| known == name) {
            return Some(anyhow!("unknown table \"{name}\"; write {name} without quotes"));
        }
        let hint = suggest(&name, names());
        match names().count() {
            0..=TABLES_NAMED => Some(anyhow!("unknown table `{name}`{hint}; tables: {}", list(names()))),
            all => Some(anyhow!(
                "unknown table `{name}`{hint}; of {all} tables the nearest: {} (`information_schema.tables` has all)",
                list(nearest(&name, names(), TABLES_NAMED))
            )),
        }
    }

    fn add_step(&mut self, step: &str, artifact: &Artifact) -> Result<()> {
        for name in artifact.manifest.tables.keys() {
            let table = artifact.table(name)?;
            let provider = provider(&table, &table.files)?;
            if name == artifact.main() {
                self.add(None, step, Arc::clone(&provider))?;
            }
            self.add(Some(step), name, provider)?;
        }
        Ok(())
    }

    fn add(&mut self, schema: Option<&str>, name: &str, table: Arc<dyn datafusion::catalog::TableProvider>) -> Result<()> {
        let columns = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        self.schema(schema.unwrap_or("public"))?.register_table(name.to_string(), table).map_err(explain)?;
        self.tables.push((schema.map(|schema| format!("{schema}.{name}")).unwrap_or_else(|| name.to_string()), columns));
        Ok(())
    }

    /// The schema of this name, made if there is none.
    fn schema(&self, name: &str) -> Result<Arc<dyn SchemaProvider>> {
        let names = self.context.catalog_names();
        let catalog = names.first().and_then(|name| self.context.catalog(name)).context("the session has no catalog")?;
        if let Some(schema) = catalog.schema(name) {
            return Ok(schema);
        }
        let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        catalog.register_schema(name, Arc::clone(&schema)).map_err(explain)?;
        Ok(schema)
    }

    /// The views over all steps: rows of like tables, each with the number and name of its step.
    fn add_unions(&mut self, artifacts: &[(String, Artifact)]) -> Result<()> {
        let documents = schema::documents(&[]);
        let documents = documents.project(&(0..documents.fields().len() - 1).collect::<Vec<_>>()).context("all columns but `extra`")?;
        let spans = Schema::new(SPANS.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
        self.add_union("documents", &documents, artifacts)?;
        self.add_union("rejects", &schema::rejects(), artifacts)?;
        self.add_union("clusters", &schema::clusters(), artifacts)?;
        self.add_union("spans", &spans, artifacts)?;
        self.add_union("scores", &schema::scores(), artifacts)?;
        self.add(Some("steps"), "examples", examples::table(artifacts)?)?;
        self.add(Some("steps"), "counts", overview::counts(artifacts)?)
    }

    /// The columns of `schema` of every table of this name.
    fn add_union(&mut self, table: &str, schema: &Schema, artifacts: &[(String, Artifact)]) -> Result<()> {
        let names: Vec<String> = schema.fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
        let mut parts = Vec::new();
        for (index, (step, artifact)) in artifacts.iter().enumerate() {
            if !artifact.manifest.tables.contains_key(table) {
                continue;
            }
            let own = artifact.table(table)?.schema;
            // A table of this name may be something else, for example spans of another layout.
            if schema.fields().iter().all(|field| own.index_of(field.name()).is_ok()) {
                parts.push(format!("select {} as number, '{step}' as step, {} from \"{step}\".\"{table}\"", index + 1, names.join(", ")));
            }
        }
        self.add_view(table, schema, parts)
    }

    /// A view `steps.TABLE` of these queries; of none, its columns without rows.
    fn add_view(&mut self, table: &str, schema: &Schema, mut parts: Vec<String>) -> Result<()> {
        if parts.is_empty() {
            let columns = schema.fields().iter().map(|field| format!("arrow_cast(null, '{}') as \"{}\"", field.data_type(), field.name()));
            parts.push(format!("select 0 as number, '' as step, {} where false", columns.collect::<Vec<_>>().join(", ")));
        }
        let frame = self.session.block_on(self.context.sql(&parts.join(" union all ")));
        let frame = frame.map_err(explain).with_context(|| format!("view `steps.{table}`"))?;
        self.add(Some("steps"), table, frame.into_view())
    }
}
