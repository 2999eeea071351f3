//! `->` and `->>` bind more tightly than what stands around them, as everybody reads `doc ->> 'kind' = 'quiz'`: the parser has them bind least of all.
//!
//! Parentheses are put around each before it sees them:
//!
//! ```text
//! doc -> 'o' ->> 'k' || '!'      ((doc -> 'o') ->> 'k') || '!'
//! ```

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// The tokens with such parentheses.
pub(crate) fn bound(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is_arrow(&token.token)) {
        return tokens;
    }
    bound_in(&tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect::<Vec<_>>())
}

fn bound_in(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    // Where the operand begins that ends here, if one does; and the one that each open parenthesis is of.
    let (mut operand, mut open): (Option<usize>, Vec<Option<usize>>) = (None, Vec::new());
    let mut next = 0;
    while let Some(token) = tokens.get(next) {
        let before = next.checked_sub(1).map_or(&Token::EOF, |before| &tokens[before].token);
        next += 1;
        if let Some(start) = operand.filter(|_| is_arrow(&token.token)) {
            let end = operand_end(tokens, next);
            out.insert(start, TokenWithSpan { token: Token::LParen, span: out[start].span });
            out.push(token.clone());
            out.extend(bound_in(&tokens[next..end]));
            out.push(TokenWithSpan { token: Token::RParen, span: token.span });
            (operand, next) = (Some(start), end);
            continue;
        }
        let goes_on = operand.filter(|_| matches!(before, Token::Period | Token::DoubleColon));
        match &token.token {
            Token::LBracket => open.push(operand),
            Token::LParen => open.push(if is_name(before) { operand } else { Some(out.len()) }),
            Token::RParen | Token::RBracket => operand = open.pop().flatten(),
            Token::Word(word) if word.keyword == Keyword::END => operand = None,
            Token::Period | Token::DoubleColon => {}
            other if is_word_or_literal(other) => operand = goes_on.or(Some(out.len())),
            _ => operand = None,
        }
        out.push(token.clone());
    }
    out
}

/// The end of the operand that begins here: a literal, a name with what is called or looked up in it, or parentheses.
fn operand_end(tokens: &[TokenWithSpan], begin: usize) -> usize {
    let at = |place: usize| tokens.get(place).map_or(&Token::EOF, |token| &token.token);
    let first = begin + usize::from(matches!(at(begin), Token::Minus | Token::Plus));
    let mut end = match at(first) {
        Token::LParen => closed(tokens, first),
        token if is_word_or_literal(token) => first + 1,
        _ => return begin,
    };
    loop {
        end = match at(end) {
            Token::Period => end + 2,
            Token::LParen if is_name(at(end - 1)) => closed(tokens, end),
            Token::LBracket if is_name(at(end - 1)) => closed(tokens, end),
            _ => return end.min(tokens.len()),
        };
    }
}

/// The place behind the parenthesis that closes one.
fn closed(tokens: &[TokenWithSpan], open: usize) -> usize {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    tokens.len()
}

fn is_arrow(token: &Token) -> bool {
    matches!(token, Token::Arrow | Token::LongArrow)
}

/// Whether a parenthesis behind it can be that of a call.
fn is_name(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.keyword == Keyword::NoKeyword)
}

fn is_word_or_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::GenericDialect;
    use sqlparser::tokenizer::Tokenizer;

    fn check(sql: &str, expected: &str) {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().expect("tokens");
        let shown: Vec<String> = bound(tokens).iter().map(|token| token.token.to_string()).collect();
        assert_eq!(shown.join(" "), expected, "{sql}");
    }

    #[test]
    fn arrows_bind_tightly() {
        check("a = b", "a   =   b");
        check("doc->>'s' = 'x'", "( doc ->> 's' ) = 'x'");
        check("t.doc->'o'->>'k' || doc->>'s'", "( ( t . doc -> 'o' ) ->> 'k' ) || ( doc ->> 's' )");
        check("AND (a->'b')->0 IS NULL", "AND ( ( ( a -> 'b' ) ) -> 0 ) IS NULL");
        check("parse(a, b->'c')->-1", "( parse ( a , ( b -> 'c' ) ) -> - 1 )");
        check("x[1]->k.f(y->1)::int", "( x [ 1 ] -> k . f ( ( y -> 1 ) ) ) :: int");
        check("doc::json->'a'", "( doc :: json -> 'a' )");
        check("a IN (b->'c')", "a IN ( ( b -> 'c' ) )");
        check("CASE WHEN a THEN b END->'c'", "CASE WHEN a THEN b END -> 'c'");
        check("-> ->", "-> ->");
    }
}
