//! Laws of the hybrid logical clock.

use std::time::Duration;

use archipelago_clock::{ClockError, Hlc, HlcClock};
use proptest::prelude::*;

#[test]
fn text_form_is_the_calendar() {
    let stamp = Hlc::new(1_795_220_962_123, 42);
    assert_eq!(stamp.to_string(), "2026-11-21T00:29:22.123Z-002a");
    assert_eq!("2026-11-21T00:29:22.123Z-002a".parse(), Ok(stamp));
    assert_eq!(Hlc::ZERO.to_string(), "1970-01-01T00:00:00.000Z-0000");
    assert_eq!(Hlc::new(951_782_400_000, 0).to_string(), "2000-02-29T00:00:00.000Z-0000");
}

#[test]
fn dates_that_do_not_exist_are_refused() {
    for text in [
        "",
        "2026-02-31T00:00:00.000Z-0000",
        "2026-13-01T00:00:00.000Z-0000",
        "2026-01-01T24:00:00.000Z-0000",
        "1969-12-31T23:59:59.999Z-0000",
        "2026-01-01T00:00:00.000Z-00G0",
        "2026-01-01T00:00:00.000Z-00A0",
        "+026-01-01T00:00:00.000Z-0000",
        "~0000000000000000",
        "2026-01-01T00:00:00.00é-0000",
    ] {
        assert!(text.parse::<Hlc>().is_err(), "{text}");
    }
}

#[test]
fn the_counter_overflows_into_the_milliseconds() {
    let mut clock = HlcClock::resume(Hlc::new(5, u16::MAX));
    assert_eq!(clock.tick(5), Ok(Hlc::new(6, 0)));
}

#[test]
fn an_exhausted_clock_is_an_error_and_does_not_wrap() {
    let mut clock = HlcClock::resume(Hlc::MAX);
    assert_eq!(clock.tick(0), Err(ClockError::TimeExhausted));
    assert_eq!(clock.last(), Hlc::MAX);
}

#[test]
fn drift_is_bounded_ahead_but_not_behind() {
    let check = |stamp_ms| HlcClock::check_drift(Hlc::new(stamp_ms, 9), 100_000, Duration::from_secs(60));
    assert!(check(160_000).is_ok());
    assert!(check(0).is_ok());
    let error = check(160_001).unwrap_err();
    assert_eq!(error.ahead, Duration::from_millis(60_001));
}

proptest! {
    #[test]
    fn text_round_trips_and_sorts_as_the_value(a: u64, b: u64) {
        let (a, b) = (Hlc::from_bits(a), Hlc::from_bits(b));
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn calendar_text_round_trips_and_sorts(a in 0u64..253_402_300_800_000, b in 0u64..253_402_300_800_000, c: u16) {
        let (a, b) = (Hlc::new(a, c), Hlc::new(b, c));
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    /// Ticks grow whatever the wall clock does, across restarts that lose everything but the stored ceiling.
    #[test]
    fn stamps_never_go_back_across_restarts(
        steps in proptest::collection::vec((0u64..10_000, 0u8..4), 1..60),
    ) {
        let mut clock = HlcClock::new();
        let (mut stored, mut last) = (Hlc::ZERO, Hlc::ZERO);
        for (now, action) in steps {
            match action {
                0 => clock = HlcClock::resume(stored),
                1 => clock.observe(Hlc::new(now, 3)),
                _ => {
                    let stamp = clock.tick(now).unwrap();
                    prop_assert!(stamp > last && stamp.unix_ms() >= now);
                    // The commit that carries the stamp carries the ceiling too.
                    if let Some(ceiling) = clock.raise_ceiling() {
                        stored = ceiling;
                    }
                    prop_assert!(stored >= stamp);
                    last = stamp;
                }
            }
        }
    }
}
