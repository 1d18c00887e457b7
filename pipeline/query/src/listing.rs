//! Tables of artifacts as DataFusion sees them: the files of the manifest with their known schema, nothing listed or inferred.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use engine::{Table, TableFile};

use crate::errors::explain;
use crate::selected::Selected;

/// A provider of some files of a table, in their order (of all files, in folders `split=NAME`). Parquet or Arrow IPC, by the first file's name; text is read as views.
pub fn provider(table: &Table, files: &[TableFile]) -> Result<Arc<dyn TableProvider>> {
    if files.iter().any(|file| file.of.is_some()) {
        let table = Table { files: files.to_vec(), ..table.clone() };
        let schema = with_views(&table.schema);
        return Ok(Arc::new(Selected::new(table, schema)));
    }
    let arrow = files.first().is_some_and(|file| file.path.extension().is_some_and(|extension| extension == "arrow"));
    let (format, extension): (Arc<dyn FileFormat>, _) =
        if arrow { (Arc::new(ArrowFormat), ".arrow") } else { (Arc::new(ParquetFormat::default()), ".parquet") };
    let mut options = ListingOptions::new(format).with_file_extension(extension);
    // DataFusion finds the value of `split` below the folder that it lists.
    let mut folders: Vec<&Path> =
        files.iter().filter(|file| file.split.is_some()).filter_map(|file| file.path.parent()?.parent()).collect();
    folders.dedup();
    let urls = if folders.is_empty() {
        files.iter().map(|file| file_url(&file.path, "")).collect::<Result<Vec<_>>>()?
    } else {
        options = options.with_table_partition_cols(vec![("split".to_string(), DataType::Utf8)]);
        folders.into_iter().map(|folder| file_url(folder, "/")).collect::<Result<Vec<_>>>()?
    };
    let schema = if arrow { Arc::clone(&table.schema) } else { with_views(&table.schema) };
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(schema);
    let table = ListingTable::try_new(config).map_err(explain).with_context(|| format!("opening table `{}`", table.name))?;
    Ok(Arc::new(table))
}

/// Text as views into the decoded pages, which saves a copy of every text.
fn with_views(schema: &SchemaRef) -> SchemaRef {
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(view).collect::<Vec<_>>()))
}

/// A URL of a file, or of a folder with `end` = `/`, so that no character of its path is taken for a pattern.
fn file_url(path: &Path, end: &str) -> Result<ListingTableUrl> {
    let path = std::path::absolute(path).with_context(|| format!("finding `{}`", path.display()))?;
    let mut url = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' | b'=' => url.push(*byte as char),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str(end);
    ListingTableUrl::parse(&url).map_err(explain).with_context(|| format!("opening `{}`", path.display()))
}
