//! Tables that are looked up: `FOR SYSTEM_TIME AS OF`, and `CREATE TEMPORARY TABLE`.
//!
//! Neither the parser nor the planner after it knows of them. What stands behind `FOR SYSTEM_TIME AS OF` is taken out of the tokens before they are
//! parsed and found again by the place of the table's name; then each table that is looked up is renamed, so that the translator sees what it is:
//!
//! ```text
//! … JOIN keys FOR SYSTEM_TIME AS OF s.seq AS k ON …   ──▶   … JOIN "keys as of 0" AS k ON …
//! ```

use crate::error::{Location, Mistake, sql_location};
use sqlparser::ast::{Expr, Ident, ObjectName, Query, TableAlias, TableFactor, VisitMut, VisitorMut};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location as Place, Token, TokenWithSpan};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// What the tables of a file are to be read as of, by the place of a table's name.
pub(crate) type Versions = HashMap<Place, Expr>;

/// A table that is looked up.
#[derive(Clone, Debug)]
pub(crate) struct LookedUp {
    /// The table or view.
    pub(crate) of: String,
    /// As of what; `None` for a temporary table, which is always looked up.
    pub(crate) at: Option<Expr>,
    /// Where it stands.
    pub(crate) location: Option<Location>,
}

/// Takes what stands behind each `FOR SYSTEM_TIME AS OF` out of a file's tokens, and those words.
pub(crate) fn take_versions(mut tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Versions), Mistake> {
    let mut versions = Versions::new();
    while let Some((table, from, expr)) = first_version(&tokens) {
        let location = sql_location(tokens[from].span);
        let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens[expr..].to_vec());
        let at = parser
            .parse_expr()
            .map_err(|_| Mistake::new("FOR SYSTEM_TIME AS OF needs a column behind it").at(location))?;
        let end = expr + parser.get_current_index() + 1;
        versions.insert(tokens[table].span.start, at);
        drop(tokens.drain(from..end));
    }
    Ok((tokens, versions))
}

/// Where the first `FOR SYSTEM_TIME AS OF` is: the name before it, its own beginning, and what follows.
fn first_version(tokens: &[TokenWithSpan]) -> Option<(usize, usize, usize)> {
    let words: Vec<usize> =
        (0..tokens.len()).filter(|&index| !matches!(tokens[index].token, Token::Whitespace(_))).collect();
    let is =
        |index: usize, keyword: Keyword| matches!(&tokens[index].token, Token::Word(word) if word.keyword == keyword);
    let found = words.windows(5).find(|words| {
        let keywords = [Keyword::FOR, Keyword::SYSTEM_TIME, Keyword::AS, Keyword::OF];
        words[1..].iter().zip(keywords).all(|(&word, keyword)| is(word, keyword))
    })?;
    Some((found[0], found[1], found[4] + 1))
}

/// Renames what a query looks up; gives what the new names are for.
/// `first` is a number that none of them has yet.
pub(crate) fn rename(
    query: &mut Query,
    versions: &Versions,
    lookups: &HashSet<String>,
    first: usize,
) -> Vec<(String, LookedUp)> {
    let mut renaming = Renaming { versions, lookups, first, ctes: HashSet::new(), found: Vec::new() };
    let _: ControlFlow<()> = query.visit(&mut renaming);
    renaming.found
}

struct Renaming<'a> {
    versions: &'a Versions,
    lookups: &'a HashSet<String>,
    first: usize,
    ctes: HashSet<String>,
    found: Vec<(String, LookedUp)>,
}

impl VisitorMut for Renaming<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.extend(ctes.map(|cte| cte.alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(last) = name.0.last().and_then(|part| part.as_ident()).cloned() else {
            return ControlFlow::Continue(());
        };
        let at = self.versions.get(&last.span.start).cloned();
        let is_table = self.lookups.contains(&last.value) && !self.ctes.contains(&last.value);
        if at.is_none() && !is_table {
            return ControlFlow::Continue(());
        }
        let renamed = format!("{} as of {}", last.value, self.first + self.found.len());
        let looked_up = LookedUp { of: last.value.clone(), at, location: sql_location(last.span) };
        alias.get_or_insert(TableAlias { explicit: true, name: last.clone(), columns: Vec::new(), at: None });
        *name = ObjectName::from(vec![Ident::with_quote_and_span('"', last.span, renamed.clone())]);
        self.found.push((renamed, looked_up));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::tokenizer::Tokenizer;

    #[test]
    fn versions_are_found_by_the_place_of_the_table() {
        let sql = "SELECT * FROM s JOIN keys FOR SYSTEM_TIME AS OF s.seq AS k ON s.a = k.a";
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().expect("tokens");
        let (tokens, versions) = take_versions(tokens).expect("a column");
        let mut query =
            Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens).parse_query().expect("a query");
        assert_eq!(query.to_string(), "SELECT * FROM s JOIN keys AS k ON s.a = k.a");
        let found = rename(&mut query, &versions, &HashSet::from(["s".to_owned()]), 0);
        assert_eq!(query.to_string(), "SELECT * FROM \"s as of 0\" AS s JOIN \"keys as of 1\" AS k ON s.a = k.a");
        let found: Vec<_> =
            found.iter().map(|(_, found)| (found.of.as_str(), found.at.clone().map(|at| at.to_string()))).collect();
        assert_eq!(found, [("s", None), ("keys", Some("s.seq".to_owned()))]);
    }
}
