use super::*;
use serde_json::Value;
use std::collections::HashMap;

const NOON: u64 = 1_756_728_000_000_000_000;

fn events(options: &NexmarkSettings, before: Option<(u64, u64)>) -> Vec<Value> {
    let mut source = Nexmark::new(options, before, NOON);
    let mut events = Vec::new();
    while let Some(chunk) = source.next().expect("made up") {
        let text = String::from_utf8(chunk.bytes).expect("text");
        events.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    events
}

fn options() -> NexmarkSettings {
    NexmarkSettings { event_rate: 1e6, count: Some(50_000), seed: 7 }
}

#[test]
fn proportions_and_skew_are_the_benchmarks() {
    let events = events(&options(), None);
    assert_eq!(events.len(), 50_000);
    let of = |kind: &str| events.iter().filter(|event| event.get(kind).is_some()).count();
    assert_eq!((of("person"), of("auction"), of("bid")), (1000, 3000, 46_000));
    let share = |field: &str, modulus: i64, rest: i64| {
        let ids: Vec<i64> = events.iter().filter_map(|event| event["bid"][field].as_i64()).collect();
        ids.iter().filter(|&&id| (id - 1000) % modulus == rest).count() as f64 / ids.len() as f64
    };
    // The hot ones, and one in a hundred of the others.
    assert!((0.49..0.53).contains(&share("auction", 100, 0)), "{}", share("auction", 100, 0));
    assert!((0.74..0.78).contains(&share("bidder", 100, 1)), "{}", share("bidder", 100, 1));
    let mut prices: Vec<i64> = events.iter().filter_map(|event| event["bid"]["price"].as_i64()).collect();
    prices.sort_unstable();
    assert!((90_000..110_000).contains(&prices[prices.len() / 2]), "the middle of 10² and 10⁸ is 10⁵");
}

#[test]
fn bids_are_for_auctions_and_by_people_that_are_there() {
    let mut known: HashMap<(&str, i64), String> = HashMap::new();
    for event in &events(&options(), None) {
        let time = event["_timestamp"].as_str().expect("a time").to_owned();
        for kind in ["person", "auction"] {
            if let Some(id) = event[kind]["id"].as_i64() {
                assert!(known.insert((kind, id), time.clone()).is_none(), "{kind} {id} is there twice");
            }
        }
        for (kind, id) in [
            ("auction", &event["bid"]["auction"]),
            ("person", &event["bid"]["bidder"]),
            ("person", &event["auction"]["seller"]),
        ] {
            assert!(id.is_null() || known.contains_key(&(kind, id.as_i64().expect("a number"))), "{kind} {id}");
        }
    }
}

#[test]
fn it_goes_on_where_it_was() {
    let all = events(&options(), None);
    assert_eq!(events(&options(), Some((NOON, 49_990))), all[49_990..]);
    assert_ne!(events(&NexmarkSettings { seed: 8, ..options() }, None)[..10], all[..10]);
}
