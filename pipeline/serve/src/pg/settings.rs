//! Settings of a connection: what `SET`, `SHOW` and `RESET` are about.
//!
//! Clients set things without being asked. What has no meaning here is kept and shown, and changes nothing; what would mean
//! another form of the answers than the one that they have is refused.

use std::collections::BTreeMap;
use std::time::Duration;

/// The version of PostgreSQL whose clients' questions are understood.
pub(super) const SERVER_VERSION: &str = concat!("16.6 (Chalkstream ", env!("CARGO_PKG_VERSION"), ")");

/// Known settings, and what they are unless somebody sets them. Names are compared without case.
pub(super) const SETTINGS: [(&str, &str); 28] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "off"),
    ("jit", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("TimeZone", "Etc/UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// Those that a client is told at the beginning, and when they change.
pub(super) const REPORTED: [&str; 14] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// So many settings of its own may a connection have.
const OWN_MAX: usize = 100;
/// So many bytes may a name or a value have.
const BYTES_MAX: usize = 1_000;

/// Why a setting is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotSet {
    /// There is none of the name.
    Unknown,
    /// It cannot be changed.
    Fixed,
    /// Answers have another form.
    Value(&'static str),
    /// A name or a value is too long, or there are too many.
    TooMuch,
}

/// The settings of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// By name in lower case: the name as it is shown, and the value.
    own: BTreeMap<String, (String, String)>,
}

fn known(name: &str) -> Option<(&'static str, &'static str)> {
    SETTINGS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

impl Settings {
    /// The name as it is shown, and the value.
    pub(super) fn get(&self, name: &str) -> Option<(&str, &str)> {
        let own = self.own.get(&name.to_ascii_lowercase()).map(|(name, value)| (name.as_str(), value.as_str()));
        own.or_else(|| known(name))
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<(&str, &str)> {
        let fixed = SETTINGS.iter().filter(|(name, _)| !self.own.contains_key(&name.to_ascii_lowercase())).copied();
        let own = self.own.values().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut all: Vec<(&str, &str)> = fixed.chain(own).collect();
        all.sort_unstable_by_key(|(name, _)| name.to_ascii_lowercase());
        all
    }

    /// Sets one; gives the name as it is shown and the value as it is kept.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(&str, &str), NotSet> {
        let key = name.to_ascii_lowercase();
        if name.len() > BYTES_MAX || value.len() > BYTES_MAX {
            return Err(NotSet::TooMuch);
        }
        let shown = match known(name) {
            Some((shown, _)) => shown.to_owned(),
            // A dot is in the names of what extensions set.
            None if name.contains('.') || is_harmless(&key) => name.to_owned(),
            None => return Err(NotSet::Unknown),
        };
        if !self.own.contains_key(&key) && self.own.len() >= OWN_MAX {
            return Err(NotSet::TooMuch);
        }
        let value = acceptable(&key, value)?;
        let (name, value) = self.own.entry(key).insert_entry((shown, value)).into_mut();
        Ok((name, value))
    }

    /// What a client says of itself when it connects; unknown names are kept, too.
    pub(super) fn start(&mut self, name: &str, value: &str) {
        if self.own.len() < OWN_MAX && name.len() <= BYTES_MAX && value.len() <= BYTES_MAX {
            self.own.insert(name.to_ascii_lowercase(), (name.to_owned(), value.to_owned()));
        }
    }

    /// Takes a connection's own value away, or all of them.
    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<(), NotSet> {
        let Some(name) = name else {
            self.own.retain(|name, _| name == "session_authorization");
            return Ok(());
        };
        let key = name.to_ascii_lowercase();
        let had = self.own.remove(&key).is_some();
        if had || known(name).is_some() || is_harmless(&key) { Ok(()) } else { Err(NotSet::Unknown) }
    }

    /// The shortest time that the client allows a statement, if it sets one.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let (_, value) = self.get("statement_timeout")?;
        let millis = milliseconds(value)?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}

/// Settings of PostgreSQL's planner and the like, which clients turn off before they ask for the catalogue.
fn is_harmless(name: &str) -> bool {
    name.starts_with("enable_")
        || name.starts_with("jit")
        || matches!(
            name,
            "geqo"
                | "join_collapse_limit"
                | "from_collapse_limit"
                | "row_security"
                | "synchronous_commit"
                | "work_mem"
                | "session_replication_role"
                | "default_tablespace"
                | "check_function_bodies"
                | "xmloption"
                | "default_transaction_deferrable"
                | "transaction_deferrable"
                | "options"
                | "role"
                | "session_authorization"
                | "tcp_keepalives_idle"
                | "tcp_keepalives_interval"
                | "tcp_keepalives_count"
                | "lc_messages"
                | "lc_monetary"
                | "lc_numeric"
                | "lc_time"
                | "quote_all_identifiers"
                | "max_parallel_workers_per_gather"
        )
}

fn acceptable(name: &str, value: &str) -> Result<String, NotSet> {
    let starts = |with: &str| value.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    match name {
        "client_encoding" => match value.to_ascii_uppercase().replace(['-', '_', '\'', '"'], "").as_str() {
            "UTF8" | "UNICODE" | "DEFAULT" => Ok("UTF8".to_owned()),
            "SQLASCII" => Ok("SQL_ASCII".to_owned()),
            _ => Err(NotSet::Value("text is UTF8 here")),
        },
        "datestyle"
            if !starts("ISO") && !starts("DEFAULT") && !["MDY", "DMY", "YMD"].iter().any(|order| starts(order)) =>
        {
            Err(NotSet::Value("dates are written as ISO says here"))
        }
        "datestyle" => Ok("ISO, MDY".to_owned()),
        "intervalstyle" if !value.eq_ignore_ascii_case("postgres") => {
            Err(NotSet::Value("intervals are written in the style postgres here"))
        }
        "bytea_output" if !value.eq_ignore_ascii_case("hex") => Err(NotSet::Value("bytea_output is hex here")),
        "standard_conforming_strings" if !["on", "true", "1", "yes"].contains(&value.to_ascii_lowercase().as_str()) => {
            Err(NotSet::Value("standard_conforming_strings is on here"))
        }
        "statement_timeout" if milliseconds(value).is_none() => {
            Err(NotSet::Value("statement_timeout is a number of milliseconds, or like 5s or 2min"))
        }
        "server_version"
        | "server_version_num"
        | "server_encoding"
        | "integer_datetimes"
        | "in_hot_standby"
        | "is_superuser"
        | "max_identifier_length"
        | "max_index_keys"
        | "lc_collate"
        | "lc_ctype" => Err(NotSet::Fixed),
        _ => Ok(value.to_owned()),
    }
}

/// `5000`, `5s`, `100ms`, `2min`, `1h`.
fn milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_shown_and_reset() {
        let mut settings = Settings::default();
        assert_eq!(settings.set("datestyle", "iso, dmy"), Ok(("DateStyle", "ISO, MDY")));
        assert_eq!(settings.set("extra_float_digits", "3"), Ok(("extra_float_digits", "3")));
        assert_eq!(settings.get("EXTRA_FLOAT_DIGITS"), Some(("extra_float_digits", "3")));
        assert_eq!(settings.set("app.user", "ada"), Ok(("app.user", "ada")));
        assert_eq!(settings.reset(Some("extra_float_digits")), Ok(()));
        assert_eq!(settings.get("extra_float_digits"), Some(("extra_float_digits", "1")));
        assert_eq!(settings.set("no_such_thing", "1"), Err(NotSet::Unknown));
        assert_eq!(settings.set("server_version", "9"), Err(NotSet::Fixed));
        assert!(matches!(settings.set("client_encoding", "LATIN1"), Err(NotSet::Value(_))));
        assert_eq!(settings.set("client_encoding", "utf-8"), Ok(("client_encoding", "UTF8")));
        assert_eq!(settings.set("work_mem", &"x".repeat(2_000)), Err(NotSet::TooMuch));
        settings.reset(None).expect("all of them");
        assert_eq!(settings.all().len(), SETTINGS.len());
        for number in 0..OWN_MAX {
            settings.set(&format!("a.b{number}"), "1").expect("room");
        }
        assert_eq!(settings.set("a.more", "1"), Err(NotSet::TooMuch));
    }

    #[test]
    fn a_timeout_has_a_unit() {
        for (value, expected) in [("0", None), ("5s", Some(5_000)), ("250", Some(250)), ("2 min", Some(120_000))] {
            let mut settings = Settings::default();
            settings.set("statement_timeout", value).expect("a time");
            assert_eq!(settings.statement_timeout(), expected.map(Duration::from_millis), "{value}");
        }
        assert!(matches!(Settings::default().set("statement_timeout", "soon"), Err(NotSet::Value(_))));
    }
}
