//! Names that are nearly right.

/// The known name that is nearest to a misspelt one, if any is near.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &str| edit_distance(name, candidate);
    known
        .map(|candidate| (near(candidate), candidate))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_meant() {
        let known = ["event_rate", "path", "format"];
        let meant = |name| did_you_mean(name, known.into_iter());
        assert_eq!(meant("fromat"), Some("format"));
        assert_eq!(meant("event_rat"), Some("event_rate"));
        assert_eq!(meant("topic"), None);
    }
}
