//! Scoring row after row, where a row brings its key along as text.
//!
//! A class shares one key, so parsed keys are kept. Two generations bound the memory without any bookkeeping per use:
//! new and used keys are in the young one; when that is full it becomes the old one, and the old one is dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::key::Key;

/// About a thousand keys of 40 items. Parsed, a key takes up to some four times its text.
const GENERATION_BYTES_MAX: usize = 4 << 20;

/// Scores submissions, keeping the keys that it has parsed, by their text. Its memory is bounded.
#[derive(Debug, Default)]
pub struct Scorer {
    young: Generation,
    old: Generation,
}

impl Scorer {
    /// A scorer that has seen no key.
    #[must_use]
    pub fn new() -> Self {
        Scorer::default()
    }

    /// Appends the marks of `answers` by `key`, as [`Score::write_json`](crate::Score::write_json) writes them, to
    /// `out`. `false` when the key is not usable ([`Key::parse`] says why); nothing is appended then.
    pub fn score_submission(&mut self, answers: &str, key: &str, out: &mut String) -> bool {
        match self.key(key) {
            Some(key) => {
                key.score(answers).write_json(out);
                true
            }
            None => false,
        }
    }

    fn key(&mut self, text: &str) -> Option<Arc<Key>> {
        if let Some(known) = self.young.keys.get(text) {
            return known.clone();
        }
        let key = match self.old.keys.get(text) {
            Some(known) => known.clone(),
            None => Key::parse(text).ok().map(Arc::new),
        };
        if self.young.text_bytes + text.len() > GENERATION_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.text_bytes += text.len();
        self.young.keys.insert(text.into(), key.clone());
        key
    }
}

#[derive(Debug, Default)]
struct Generation {
    /// `None` for a key that is not usable, so that it is not parsed for every row either.
    keys: HashMap<Box<str>, Option<Arc<Key>>, BuildHasherDefault<KeyTextHasher>>,
    text_bytes: usize,
}

/// Multiplies 16 bytes at a time and folds the halves of the product, as wyhash does: the default hasher would take
/// as long over a key's text as scoring takes. Keys come from teachers and the cache is bounded, so resistance to
/// chosen collisions is not worth that.
#[derive(Default)]
struct KeyTextHasher(u64);

impl KeyTextHasher {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];

    fn add(&mut self, bytes: [u8; 16]) {
        let word = u128::from_le_bytes(bytes);
        let (low, high) = (word as u64 ^ self.0 ^ Self::ODD[0], (word >> 64) as u64 ^ Self::ODD[1]);
        let product = u128::from(low) * u128::from(high);
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(Self::ODD[0]);
    }
}

impl Hasher for KeyTextHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<16>();
        for chunk in chunks {
            self.add(*chunk);
        }
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        self.add(last);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The marks of `answers` by `key` as JSON (see [`Score::write_json`](crate::Score::write_json)), `None` when the
/// key is not usable. Keeps the keys of the calling thread in a [`Scorer`].
#[must_use]
pub fn score_submission(answers: &str, key: &str) -> Option<String> {
    let mut out = String::new();
    score_submission_into(answers, key, &mut out).then_some(out)
}

/// [`score_submission`], appended to `out`. `false` when the key is not usable; nothing is appended then.
pub fn score_submission_into(answers: &str, key: &str, out: &mut String) -> bool {
    thread_local! {
        static SCORER: RefCell<Scorer> = RefCell::new(Scorer::new());
    }
    SCORER.with_borrow_mut(|scorer| scorer.score_submission(answers, key, out))
}
