//! `INSERT INTO table SELECT …`: the query's columns become the table's, one by one in their order, each cast to the declared type.

use crate::error::Mistake;
use crate::folders::Folder;
use crate::table::PlannedTable;
use chalk_graph::options::TableOptions;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use std::collections::BTreeSet;

/// The plan of what is inserted into a table; `folder` says which of its folders a row goes to, and is one more column.
///
/// Topics match columns by name: their events have many that a query need not give. Tables without columns take the query's.
pub(crate) fn placed(table: &PlannedTable, plan: LogicalPlan, folder: Option<Folder>) -> Result<LogicalPlan, Mistake> {
    let fields = table.schema.fields();
    let given = folder.as_ref().map_or(plan.schema().fields().len(), |folder| folder.after);
    let given: Vec<(Column, String)> =
        plan.schema().columns().into_iter().take(given).map(|column| (column.clone(), column.name)).collect();
    if fields.is_empty() || matches!(table.options, TableOptions::Log(_)) {
        let Some(folder) = folder else { return Ok(plan) };
        let columns = given.into_iter().map(|(column, _)| Expr::Column(column)).chain([folder.name]);
        return Ok(LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()?);
    }
    if given.len() != fields.len() {
        let mistake = Mistake::new(format!(
            "table '{}' has {} columns, but the query gives {}",
            table.name,
            fields.len(),
            given.len()
        ));
        let declared: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        return Err(mistake.hint(format!("in this order: {}", declared.join(", "))));
    }
    let declared: BTreeSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let named: BTreeSet<&str> = given.iter().map(|(_, name)| name.as_str()).collect();
    let is_same = fields.iter().zip(&given).all(|(field, (_, name))| field.name() == name);
    if declared == named && !is_same {
        let mistake = Mistake::new(format!(
            "the query gives the columns of table '{}' in another order, and columns go by their order",
            table.name
        ));
        let declared: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        return Err(mistake.hint(format!("select them in the table's order: {}", declared.join(", "))));
    }
    let types = plan.schema().fields().iter().map(|field| field.data_type());
    if folder.is_none() && is_same && types.zip(fields).all(|(given, field)| given == field.data_type()) {
        return Ok(plan);
    }
    let types: Vec<_> = plan.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let columns = given.into_iter().zip(types).zip(fields).map(|(((column, name), given), field)| {
        let column = Expr::Column(column);
        let column = if given == *field.data_type() { column } else { cast(column, field.data_type().clone()) };
        if name == *field.name() && matches!(column, Expr::Column(_)) { column } else { column.alias(field.name()) }
    });
    let columns: Vec<Expr> = columns.chain(folder.map(|folder| folder.name)).collect();
    Ok(LogicalPlanBuilder::from(plan).project(columns)?.build()?)
}
