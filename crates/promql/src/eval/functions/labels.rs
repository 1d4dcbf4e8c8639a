//! `label_replace` and `label_join`: series under other labels, whatever their values.

use crate::error::Fault;
use crate::eval::Query;
use crate::eval::grid::Grid;
use crate::eval::rows::{Row, merged};
use crate::parse::ast::{Call, Expr};
use crate::{METRIC_NAME, pattern};

pub(in crate::eval) fn replace(
    query: &Query<'_>,
    call: &Call,
    expr: &Expr,
    grid: Grid,
) -> Result<Vec<Row>, Fault> {
    let [vector, to, replacement, from, regex] = call.args.as_slice() else { return Ok(Vec::new()) };
    let text = |arg| query.text(arg).unwrap_or_default();
    let pattern = query.text(regex).ok().and_then(|text| pattern::whole(text).ok()).ok_or_else(|| {
        let written = query.text(regex).unwrap_or_else(|written| written);
        Fault::execution(
            regex.place.start,
            format!("invalid regular expression in label_replace(): {written}"),
        )
    })?;
    let name = label_name(query, to, "destination", "label_replace")?;
    let (replacement, from) = (text(replacement), text(from));
    let mut rows = query.eval(vector, grid)?.vector();
    for row in &mut rows {
        let labels = row.labels.clone();
        let Some(captures) = pattern.captures(labels.get(from)) else { continue };
        let mut value = String::new();
        captures.expand(replacement, &mut value);
        relabel(row, name, &value);
    }
    merged(rows, expr.place.start)
}

pub(in crate::eval) fn join(
    query: &Query<'_>,
    call: &Call,
    expr: &Expr,
    grid: Grid,
) -> Result<Vec<Row>, Fault> {
    let [vector, to, separator, from @ ..] = call.args.as_slice() else { return Ok(Vec::new()) };
    let mut sources = Vec::with_capacity(from.len());
    for source in from {
        sources.push(label_name(query, source, "source", "label_join")?);
    }
    let name = label_name(query, to, "destination", "label_join")?;
    let separator = query.text(separator).unwrap_or_default();
    let mut rows = query.eval(vector, grid)?.vector();
    for row in &mut rows {
        let values: Vec<&str> = sources.iter().map(|source| row.labels.get(source)).collect();
        let value = values.join(separator);
        relabel(row, name, &value);
    }
    merged(rows, expr.place.start)
}

fn relabel(row: &mut Row, name: &str, value: &str) {
    row.labels = row.labels.with(name, value);
    // A name that was given on purpose stays.
    if name == METRIC_NAME {
        row.drop_name = false;
    }
}

fn label_name<'e>(query: &Query<'_>, arg: &'e Expr, role: &str, function: &str) -> Result<&'e str, Fault> {
    match query.text(arg) {
        Ok(name) if !name.is_empty() => Ok(name),
        Ok(written) | Err(written) => {
            let message = format!("invalid {role} label name in {function}(): {written}");
            Err(Fault::execution(arg.place.start, message))
        }
    }
}
