//! Times as people read them.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time on this machine's wall.
pub(crate) fn local(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(
        |_| "beyond what calendars show".to_owned(),
        |time| {
            time.to_zoned_datetime(TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S %:z")
                .to_string()
        },
    )
}

/// The same in UTC, for programs (RFC 3339).
pub(crate) fn utc(time: SystemTime) -> Option<String> {
    let time = Timestamp::try_from(time).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Seconds since 1970; negative before.
pub(crate) fn seconds_between(from: SystemTime, to: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(ahead) => seconds(ahead),
        Err(error) => -seconds(error.duration()),
    }
}

/// About how long, in the two largest units.
pub(crate) fn about(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (1, ..) => format!("1 day {hours} h"),
        _ => format!("{days} days"),
    }
}

/// When something expires, seen from now.
pub(crate) fn expiry(now: SystemTime, exp: SystemTime) -> String {
    match exp.duration_since(now) {
        Ok(left) if !left.is_zero() => format!("expires in {}", about(left)),
        Ok(_) => "expired just now".to_owned(),
        Err(error) => format!("EXPIRED {} ago", about(error.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_their_two_largest_units() {
        for (seconds, told) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (2_480, "41 min"),
            (3_600, "1 h"),
            (3_661, "1 h 1 min"),
            (90_000, "1 day 1 h"),
            (864_000, "10 days"),
        ] {
            assert_eq!(about(Duration::from_secs(seconds)), told);
        }
    }

    #[test]
    fn expiry_is_told_from_now() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(expiry(at(0), at(2_480)), "expires in 41 min");
        assert_eq!(expiry(at(120), at(60)), "EXPIRED 1 min ago");
        assert_eq!(expiry(at(60), at(60)), "expired just now");
        assert_eq!(seconds_between(at(60), at(0)), -60);
    }
}
