//! One event of the auction site, as JSON.

use super::chance::Chance;
use chrono::{DateTime, SecondsFormat};
use std::fmt::Write;

/// Of so many events in a row ...
const PERIOD: u64 = 50;
/// ... the first is a person ...
const PEOPLE: u64 = 1;
/// ... then come so many auctions, and then bids.
const AUCTIONS: u64 = 3;
/// Ids begin here.
const FIRST_ID: u64 = 1000;
/// Categories begin here, and there are five.
const FIRST_CATEGORY: u64 = 10;
/// One in so many is hot.
const HOT: u64 = 100;
/// Those that are not hot are among so many of the newest.
const PEOPLE_ACTIVE: u64 = 1000;
const AUCTIONS_OPEN: u64 = 100;

const FIRST_NAMES: [&str; 8] = ["Ada", "Ben", "Chen", "Dora", "Emil", "Fatima", "Grace", "Hugo"];
const LAST_NAMES: [&str; 8] = ["Abel", "Brook", "Costa", "Diaz", "Evans", "Fischer", "Gupta", "Hill"];
const CITIES: [(&str, &str); 10] = [
    ("Phoenix", "AZ"),
    ("Palo Alto", "CA"),
    ("San Francisco", "CA"),
    ("Boise", "ID"),
    ("Portland", "OR"),
    ("Bend", "OR"),
    ("Redmond", "WA"),
    ("Seattle", "WA"),
    ("Kent", "WA"),
    ("Cheyenne", "WY"),
];
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const WORDS: [&str; 8] = ["amber", "basin", "copper", "delta", "ember", "fern", "granite", "harbor"];

/// Makes events of one site.
#[derive(Debug)]
pub(super) struct Generator {
    seed: u64,
    /// The event time of event 0, in nanoseconds since 1970.
    began: u64,
    /// Events per second of event time.
    rate: f64,
}

impl Generator {
    pub(super) fn new(seed: u64, began: u64, rate: f64) -> Self {
        Self { seed, began, rate }
    }

    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// When an event happens.
    fn time(&self, number: u64) -> String {
        let nanos = (number as f64 * 1e9 / self.rate) as u64;
        let nanos = i64::try_from(self.began.saturating_add(nanos)).unwrap_or(i64::MAX);
        DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    /// Writes an event, without newline.
    pub(super) fn write(&self, number: u64, into: &mut String) {
        let (mut chance, time) = (Chance::new(self.seed, number), self.time(number));
        let event = match number % PERIOD {
            0 => person(number, &time, &mut chance),
            1..=AUCTIONS => self.auction(number, &time, &mut chance),
            _ => bid(number, &time, &mut chance),
        };
        // Writing into a String cannot fail.
        let _ = write!(into, r#"{{{event},"_timestamp":"{time}"}}"#);
    }

    fn auction(&self, number: u64, time: &str, chance: &mut Chance) -> String {
        let id = newest_auction(number) + FIRST_ID;
        let (item, initial) = (words(chance, 2), price(chance));
        let reserve = initial + price(chance);
        // Auctions last as long as it takes for so many more to open, on the average.
        let events = 1 + chance.below(2 * AUCTIONS_OPEN * PERIOD / AUCTIONS);
        let expires = self.time(number + events);
        let (seller, category) = (person_of(number, chance, 4, 0), FIRST_CATEGORY + chance.below(5));
        let (description, extra) = (words(chance, 8), words(chance, 10));
        format!(
            r#""auction":{{"id":{id},"item_name":"{item}","description":"{description}","initial_bid":{initial},"reserve":{reserve},"datetime":"{time}","expires":"{expires}","seller":{seller},"category":{category},"extra":"{extra}"}}"#
        )
    }
}

fn person(number: u64, time: &str, chance: &mut Chance) -> String {
    let id = newest_person(number) + FIRST_ID;
    let (first, last) = (chance.one_of(&FIRST_NAMES), chance.one_of(&LAST_NAMES));
    let (city, state) = CITIES[chance.below(CITIES.len() as u64) as usize];
    let (email, card) = (words(chance, 1), 1_000_000_000_000_000 + chance.below(9_000_000_000_000_000));
    let extra = words(chance, 10);
    format!(
        r#""person":{{"id":{id},"name":"{first} {last}","email_address":"{email}@example.com","credit_card":"{card}","city":"{city}","state":"{state}","datetime":"{time}","extra":"{extra}"}}"#
    )
}

fn bid(number: u64, time: &str, chance: &mut Chance) -> String {
    let newest = newest_auction(number);
    let auction = match chance.below(2) {
        0 => newest.saturating_sub(chance.below(AUCTIONS_OPEN)),
        _ => newest / HOT * HOT,
    };
    let (auction, bidder, price) = (auction + FIRST_ID, person_of(number, chance, 4, 1), price(chance));
    let (channel, query) = match chance.below(2) {
        0 => {
            let channel = chance.below(10_000);
            (format!("channel-{channel}"), format!("&channel_id={channel}"))
        }
        _ => (chance.one_of(&CHANNELS).to_owned(), String::new()),
    };
    let (a, b, c) = (chance.one_of(&WORDS), chance.one_of(&WORDS), chance.one_of(&WORDS));
    let extra = words(chance, 6);
    format!(
        r#""bid":{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"https://auctions.example/{a}/{b}/{c}/item.htm?query=1{query}","datetime":"{time}","extra":"{extra}"}}"#
    )
}

/// The number of the newest person as of an event.
fn newest_person(number: u64) -> u64 {
    number / PERIOD * PEOPLE
}

/// The number of the newest auction as of an event; before the first one it is that.
fn newest_auction(number: u64) -> u64 {
    let auctions = match number % PERIOD {
        0 => 0,
        offset => offset.min(AUCTIONS),
    };
    (number / PERIOD * AUCTIONS + auctions).saturating_sub(1)
}

/// A seller or bidder: all but one in `ratio` times the hot one.
fn person_of(number: u64, chance: &mut Chance, ratio: u64, hot: u64) -> u64 {
    let newest = newest_person(number);
    let person = match chance.below(ratio) {
        0 => newest.saturating_sub(chance.below(PEOPLE_ACTIVE)),
        // Two neighbours are hot, one as seller and one as bidder, once they are there.
        _ => (newest / HOT * HOT + hot).min(newest),
    };
    person + FIRST_ID
}

fn price(chance: &mut Chance) -> u64 {
    (10_f64.powf(chance.fraction() * 6.0) * 100.0).round() as u64
}

fn words(chance: &mut Chance, count: usize) -> String {
    let words: Vec<&str> = (0..count).map(|_| chance.one_of(&WORDS)).collect();
    words.join(" ")
}
