//! `value ? 'key'`: whether a JSON value has a key. It is read as an operator, and written out as a call of `json_contains`, which every parser reads.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, VisitMut, visit_expressions_mut,
};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use std::ops::ControlFlow;

/// Makes operators of what the tokenizer takes for parameters: a pipeline has none.
pub(crate) fn as_operators(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    for token in &mut tokens {
        if matches!(&token.token, Token::Placeholder(text) if text == "?") {
            token.token = Token::Question;
        }
    }
    tokens
}

/// Writes the operator out, wherever it stands in something that was parsed.
pub(crate) fn written_out<V: VisitMut>(mut parsed: V) -> V {
    let _always = visit_expressions_mut(&mut parsed, |expr| {
        if let Expr::BinaryOp { left, op: BinaryOperator::Question, right } = expr {
            let argument = |expr: &Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr.clone()));
            let args = vec![argument(left), argument(right)];
            *expr = Expr::Function(Function {
                name: ObjectName::from(vec![Ident::new("json_contains")]),
                uses_odbc_syntax: false,
                parameters: FunctionArguments::None,
                args: FunctionArguments::List(FunctionArgumentList {
                    duplicate_treatment: None,
                    args,
                    clauses: Vec::new(),
                }),
                filter: None,
                null_treatment: None,
                over: None,
                within_group: Vec::new(),
            });
        }
        ControlFlow::<()>::Continue(())
    });
    parsed
}
