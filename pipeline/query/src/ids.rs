//! Ids compare with hexadecimal strings: `id = '00ff…'` and `id in ('00ff…', …)` mean the bytes.
//!
//! Only literals are rewritten, so joins and comparisons between columns stay as they are.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Rewrites comparisons while SQL is planned; later they would already be refused for their types.
#[derive(Debug)]
pub struct IdLiterals;

impl ExprPlanner for IdLiterals {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        let RawBinaryExpr { op, mut left, mut right } = expr;
        if matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            match (is_id(&left, schema), is_id(&right, schema)) {
                (true, false) => right = id_literal(right)?,
                (false, true) => left = id_literal(left)?,
                _ => {}
            }
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// Rewrites lists (`in (…)`), which no planner hook reaches.
#[derive(Debug)]
pub struct IdLists;

impl AnalyzerRule for IdLists {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            // A selected `id in (…)` keeps the name that the rest of the plan knows.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(|expr| rewrite_list(expr, &schema))?.update_data(|expr| name.restore(expr)))
            })
        });
        Ok(rewritten?.data)
    }

    fn name(&self) -> &str {
        "id_lists"
    }
}

fn rewrite_list(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::InList(InList { expr, list, negated }) if is_id(&expr, schema) => {
            let list = list.into_iter().map(id_literal).collect::<Result<_>>()?;
            Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_id(expr: &Expr, schema: &DFSchema) -> bool {
    !matches!(expr, Expr::Literal(..)) && expr.get_type(schema).is_ok_and(|data_type| data_type == DataType::FixedSizeBinary(16))
}

/// The bytes of a string literal; any other expression as it is.
fn id_literal(expr: Expr) -> Result<Expr> {
    let text = match &expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)), _) => text,
        // `x'…'` of the right length, so that it needs no cast.
        Expr::Literal(ScalarValue::Binary(Some(bytes)), _) if bytes.len() == 16 => {
            return Ok(lit(ScalarValue::FixedSizeBinary(16, Some(bytes.clone()))));
        }
        _ => return Ok(expr),
    };
    match parse_id(text) {
        Some(bytes) => Ok(lit(ScalarValue::FixedSizeBinary(16, Some(bytes)))),
        None => plan_err!("`{text}` is no id: an id is 32 hexadecimal digits"),
    }
}

fn parse_id(text: &str) -> Option<Vec<u8>> {
    let digits = text.is_ascii().then_some(text).filter(|text| text.len() == 32)?;
    (0..32).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Session, Settings};
    use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
    use std::sync::Arc;

    /// Rows of a table with the ids 00…00 and 01…01 for which `condition` is true, or the error.
    fn check(condition: &str, expected: &str) {
        let session = Session::new(&Settings::default()).unwrap();
        let ids = FixedSizeBinaryArray::try_from_iter([[0u8; 16], [1u8; 16]].iter()).unwrap();
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef)]).unwrap();
        let context = session.context();
        context.register_batch("t", batch).unwrap();
        let shown = match session.collect(&context, &format!("select id from t where {condition} order by id")) {
            Ok(batches) => batches.iter().map(RecordBatch::num_rows).sum::<usize>().to_string(),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(shown, expected, "{condition}");
    }

    #[test]
    fn ids_compare_with_hexadecimal_strings() {
        let one = "01".repeat(16);
        check(&format!("id = '{one}'"), "1");
        check(&format!("'{}' = id", one.to_uppercase()), "1");
        check(&format!("id <> '{one}' and id < '{one}'"), "1");
        check(&format!("id in ('{one}', '{}')", "00".repeat(16)), "2");
        check(&format!("id not in ('{one}')"), "1");
        check(&format!("id in (select id from t where id = '{one}')"), "1");
        check(&format!("id = x'{one}'"), "1");
        check("id in (select id from t)", "2");
        check("id = 'xyz'", "`xyz` is no id: an id is 32 hexadecimal digits");
        check("id in ('')", "`` is no id: an id is 32 hexadecimal digits");
    }

    #[test]
    fn a_comparison_can_be_selected() {
        let session = Session::new(&Settings::default()).unwrap();
        let sql = format!(
            "select id = '{}' as same from (select arrow_cast(x'{}', 'FixedSizeBinary(16)') as id)",
            "0a".repeat(16),
            "0a".repeat(16)
        );
        let batches = session.collect(&session.context(), &sql).unwrap();
        assert!(arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string().contains("true"));
    }
}
