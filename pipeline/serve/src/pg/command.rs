//! What a statement is: a query, or something about the connection.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// A statement of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Nothing at all.
    Empty,
    /// To be asked.
    Query,
    Begin,
    Commit,
    Rollback,
    /// `SAVEPOINT`, `RELEASE`.
    Savepoint(&'static str),
    /// `ROLLBACK TO`.
    RollbackTo,
    Set {
        name: String,
        value: Option<String>,
    },
    /// `SET TRANSACTION` and the like: all is read-only and each statement sees one snapshot.
    SetTransaction,
    /// All, or one.
    Show(Option<String>),
    Reset(Option<String>),
    /// `DISCARD ALL` forgets everything, other words nothing that there is.
    Discard {
        all: bool,
    },
    /// All, or one.
    Deallocate(Option<String>),
    Declare {
        name: String,
        query: String,
    },
    Fetch {
        name: String,
        rows: Rows,
        shown: bool,
    },
    /// All, or one.
    Close(Option<String>),
    /// `LISTEN`, `UNLISTEN`: nobody notifies.
    Listen(&'static str),
}

/// How many rows of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Count(usize),
    All,
}

/// A statement of several, and the byte at which it begins.
pub(super) fn statements(text: &str) -> Vec<(usize, &str)> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    // What cannot be told apart is one statement, whose error says why.
    let Ok(tokens) = tokens else { return vec![(0, text)] };
    let lines: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let byte_of = |token: &TokenWithSpan| {
        let start = token.span.start;
        let line = *lines.get(usize::try_from(start.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(start.column).ok()?.checked_sub(1)?;
        let in_line = text.get(line..)?.char_indices().nth(column).map(|(at, _)| at)?;
        Some(line + in_line)
    };
    let (mut statements, mut from, mut holds) = (Vec::new(), 0, false);
    for token in &tokens {
        match token.token {
            Token::SemiColon => {
                let Some(end) = byte_of(token) else { return vec![(0, text)] };
                if holds {
                    statements.push((from, &text[from..end]));
                }
                (from, holds) = (end + 1, false);
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => holds = true,
        }
    }
    if holds {
        statements.push((from, &text[from..]));
    }
    statements
}

/// The words and signs of a statement.
struct Words<'a> {
    tokens: std::iter::Peekable<std::slice::Iter<'a, Token>>,
}

impl Words<'_> {
    /// The next word, if it is `word`.
    fn take(&mut self, word: &str) -> bool {
        self.tokens.next_if(|token| is_word(token, word)).is_some()
    }

    fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.take(word))
    }

    fn sign(&mut self, sign: &Token) -> bool {
        self.tokens.next_if(|token| *token == sign).is_some()
    }

    fn word_follows(&mut self, word: &str) -> bool {
        self.tokens.peek().is_some_and(|token| is_word(token, word))
    }

    /// A name, with dots if it has any.
    fn name(&mut self) -> Option<String> {
        let mut name = part(self.tokens.next()?)?;
        while self.sign(&Token::Period) {
            name.push('.');
            name.push_str(&part(self.tokens.next()?)?);
        }
        Some(name)
    }

    /// Values up to the end, as they are shown: `on`, `ISO, MDY`.
    fn values(&mut self) -> Option<String> {
        let mut text = String::new();
        for token in self.tokens.by_ref() {
            match token {
                Token::Comma => text.push_str(", "),
                Token::Minus | Token::Plus => text.push_str(&token.to_string()),
                Token::Number(digits, _) => text.push_str(digits),
                token => text.push_str(&part(token)?),
            }
        }
        Some(text)
    }

    fn is_end(&mut self) -> bool {
        self.tokens.peek().is_none()
    }
}

fn is_word(token: &Token, expected: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

fn part(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_ascii_lowercase()),
        Token::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    }
}

impl Command {
    /// What one statement is. What is not about the connection is a query.
    pub(super) fn of(statement: &str) -> Self {
        // What is long is a query, or too long.
        let begins = |words: &[&str]| {
            let first = statement.trim_start().split(|letter: char| !letter.is_ascii_alphabetic()).next();
            words.iter().any(|word| first.is_some_and(|first| first.eq_ignore_ascii_case(word)))
        };
        if begins(&["SELECT", "WITH", "VALUES", "EXPLAIN"]) {
            return Self::Query;
        }
        let Ok(tokens) = Tokenizer::new(&GenericDialect {}, statement).tokenize() else { return Self::Query };
        let tokens: Vec<Token> =
            tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF)).collect();
        if tokens.is_empty() {
            return Self::Empty;
        }
        let mut words = Words { tokens: tokens.iter().peekable() };
        Self::read(&mut words, statement).unwrap_or(Self::Query)
    }

    fn read(words: &mut Words<'_>, statement: &str) -> Option<Self> {
        if words.take_any(&["BEGIN", "START"]) {
            return Some(Self::Begin);
        }
        if words.take_any(&["COMMIT", "END"]) {
            return Some(Self::Commit);
        }
        if words.take_any(&["ROLLBACK", "ABORT"]) {
            let _ = words.take_any(&["WORK", "TRANSACTION"]);
            return Some(if words.take("TO") { Self::RollbackTo } else { Self::Rollback });
        }
        if words.take("SAVEPOINT") {
            return Some(Self::Savepoint("SAVEPOINT"));
        }
        if words.take("RELEASE") {
            return Some(Self::Savepoint("RELEASE"));
        }
        if words.take("SET") {
            return Self::set(words);
        }
        if words.take("SHOW") {
            return Self::show(words);
        }
        if words.take("RESET") {
            return Some(Self::Reset(all_or_name(words)?));
        }
        if words.take("DISCARD") {
            return Some(Self::Discard { all: words.take("ALL") });
        }
        if words.take("DEALLOCATE") {
            let _ = words.take("PREPARE");
            return Some(Self::Deallocate(all_or_name(words)?));
        }
        if words.take("DECLARE") {
            return Self::declare(words, statement);
        }
        if words.word_follows("FETCH") || words.word_follows("MOVE") {
            let shown = words.take("FETCH") || !words.take("MOVE");
            return Self::fetch(words, shown);
        }
        if words.take("CLOSE") {
            return Some(Self::Close(all_or_name(words)?));
        }
        if words.take("LISTEN") {
            return Some(Self::Listen("LISTEN"));
        }
        if words.take("UNLISTEN") {
            return Some(Self::Listen("UNLISTEN"));
        }
        None
    }

    fn set(words: &mut Words<'_>) -> Option<Self> {
        let session = words.take("SESSION");
        if session && words.take("CHARACTERISTICS")
            || words.word_follows("TRANSACTION")
            || words.word_follows("CONSTRAINTS")
        {
            return Some(Self::SetTransaction);
        }
        if session && words.take("AUTHORIZATION") {
            return Some(Self::Set { name: "role".to_owned(), value: words.values() });
        }
        let _ = words.take("LOCAL");
        let name = if words.take("TIME") {
            words.take("ZONE").then_some("TimeZone".to_owned())?
        } else if words.take("NAMES") {
            "client_encoding".to_owned()
        } else {
            let name = words.name()?;
            let _ = words.sign(&Token::Eq) || words.take("TO");
            name
        };
        if words.is_end() {
            return None;
        }
        if words.take("DEFAULT") || words.take("LOCAL") {
            return Some(Self::Set { name, value: None });
        }
        Some(Self::Set { name, value: Some(words.values()?) })
    }

    fn show(words: &mut Words<'_>) -> Option<Self> {
        if words.take("ALL") {
            return Some(Self::Show(None));
        }
        if words.take("TIME") {
            return words.take("ZONE").then_some(Self::Show(Some("TimeZone".to_owned())));
        }
        if words.take("TRANSACTION") {
            return words.take("ISOLATION").then_some(Self::Show(Some("transaction_isolation".to_owned())));
        }
        if words.word_follows("TABLES") || words.word_follows("COLUMNS") {
            return None;
        }
        let name = words.name()?;
        words.is_end().then_some(Self::Show(Some(name)))
    }

    /// `DECLARE name [BINARY] [[NO] SCROLL] CURSOR [WITH|WITHOUT HOLD] FOR query`
    fn declare(words: &mut Words<'_>, statement: &str) -> Option<Self> {
        let name = words.name()?;
        while !words.take("CURSOR") {
            words.take_any(&["INSENSITIVE", "ASENSITIVE", "NO", "SCROLL"]).then_some(())?;
        }
        while !words.take("FOR") {
            words.take_any(&["WITH", "WITHOUT", "HOLD"]).then_some(())?;
        }
        // The first word FOR: before it there are only names.
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let is_word = |at: usize| !statement[..at].ends_with(is_part) && !statement[at + 3..].starts_with(is_part);
        let upper = statement.to_ascii_uppercase();
        let (at, _) = upper.match_indices("FOR").find(|(at, _)| is_word(*at))?;
        Some(Self::Declare { name, query: statement[at + 3..].to_owned() })
    }

    /// `FETCH [NEXT | count | ALL | FORWARD [count | ALL]] [FROM | IN] name`
    fn fetch(words: &mut Words<'_>, shown: bool) -> Option<Self> {
        let _ = words.take("FORWARD");
        let count = |token: &Token| match token {
            Token::Number(digits, _) => digits.parse::<usize>().ok(),
            _ => None,
        };
        let rows = if words.take("ALL") {
            Rows::All
        } else if let Some(rows) = words.tokens.peek().and_then(|token| count(token)) {
            words.tokens.next();
            Rows::Count(rows)
        } else {
            let _ = words.take("NEXT");
            Rows::Count(1)
        };
        let _ = words.take_any(&["FROM", "IN"]);
        let name = words.name()?;
        words.is_end().then_some(Self::Fetch { name, rows, shown })
    }
}

fn all_or_name(words: &mut Words<'_>) -> Option<Option<String>> {
    if words.take("ALL") {
        return Some(None);
    }
    let name = words.name()?;
    words.is_end().then_some(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        let check = |text: &str, expected: &[(usize, &str)]| assert_eq!(statements(text), expected, "{text}");
        check("SELECT 1", &[(0, "SELECT 1")]);
        check(" ; ;; ", &[]);
        check("SELECT ';' -- ;\n; SELECT 2;", &[(0, "SELECT ';' -- ;\n"), (17, " SELECT 2")]);
        check("SELECT 'ä';SELECT 2", &[(0, "SELECT 'ä'"), (12, "SELECT 2")]);
        check("SELECT 'open; SELECT 2", &[(0, "SELECT 'open; SELECT 2")]);
    }

    #[test]
    fn what_is_about_the_connection_is_known() {
        let set =
            |name: &str, value: Option<&str>| Command::Set { name: name.to_owned(), value: value.map(str::to_owned) };
        let show = |name: &str| Command::Show(Some(name.to_owned()));
        let fetch = |rows, shown| Command::Fetch { name: "c".to_owned(), rows, shown };
        for (statement, expected) in [
            ("", Command::Empty),
            ("-- nothing", Command::Empty),
            ("SELECT 1", Command::Query),
            ("CREATE TABLE t (x INT)", Command::Query),
            ("SHOW TABLES", Command::Query),
            ("SHOW COLUMNS FROM t", Command::Query),
            ("begin", Command::Begin),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", Command::Begin),
            ("START TRANSACTION", Command::Begin),
            ("COMMIT", Command::Commit),
            ("END", Command::Commit),
            ("ROLLBACK", Command::Rollback),
            ("ROLLBACK TO SAVEPOINT a", Command::RollbackTo),
            ("SAVEPOINT a", Command::Savepoint("SAVEPOINT")),
            ("RELEASE SAVEPOINT a", Command::Savepoint("RELEASE")),
            ("SET extra_float_digits = 3", set("extra_float_digits", Some("3"))),
            ("set DateStyle to ISO, MDY", set("datestyle", Some("iso, mdy"))),
            ("SET SESSION app.user = 'Ada'", set("app.user", Some("Ada"))),
            ("SET LOCAL statement_timeout TO '5s'", set("statement_timeout", Some("5s"))),
            ("SET TIME ZONE 'UTC'", set("TimeZone", Some("UTC"))),
            ("SET NAMES 'utf8'", set("client_encoding", Some("utf8"))),
            ("SET search_path TO DEFAULT", set("search_path", None)),
            ("SET x = -1", set("x", Some("-1"))),
            ("SET TRANSACTION READ ONLY", Command::SetTransaction),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Command::SetTransaction),
            ("SHOW server_version", show("server_version")),
            ("SHOW TRANSACTION ISOLATION LEVEL", show("transaction_isolation")),
            ("SHOW ALL", Command::Show(None)),
            ("RESET ALL", Command::Reset(None)),
            ("RESET x", Command::Reset(Some("x".to_owned()))),
            ("DISCARD ALL", Command::Discard { all: true }),
            ("DISCARD PLANS", Command::Discard { all: false }),
            ("DEALLOCATE ALL", Command::Deallocate(None)),
            ("DEALLOCATE \"_pg3_0\"", Command::Deallocate(Some("_pg3_0".to_owned()))),
            (
                "DECLARE forms NO SCROLL CURSOR WITH HOLD FOR SELECT 1",
                Command::Declare { name: "forms".to_owned(), query: " SELECT 1".to_owned() },
            ),
            ("FETCH FORWARD 10 FROM c", fetch(Rows::Count(10), true)),
            ("FETCH ALL IN c", fetch(Rows::All, true)),
            ("FETCH c", fetch(Rows::Count(1), true)),
            ("MOVE NEXT FROM c", fetch(Rows::Count(1), false)),
            ("CLOSE c", Command::Close(Some("c".to_owned()))),
            ("CLOSE ALL", Command::Close(None)),
            ("UNLISTEN *", Command::Listen("UNLISTEN")),
        ] {
            assert_eq!(Command::of(statement), expected, "{statement}");
        }
    }
}
