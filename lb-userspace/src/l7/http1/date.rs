//! The Date field, written once a second.

/// Days of a name each, from Thursday, 1 January 1970 on.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
/// Names of months.
pub(in crate::l7) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 24 * 3600;

/// What Date says, kept for as long as it is true. One a worker.
#[derive(Clone, Debug, Default)]
pub struct DateCache {
    second: Option<u64>,
    text: String,
}

impl DateCache {
    /// The date of this second since 1970, such as `Sun, 06 Nov 1994 08:49:37 GMT`. Source: RFC 9110, section 5.6.7.
    pub fn at(&mut self, second: u64) -> &str {
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = written(second);
        }
        &self.text
    }
}

fn written(second: u64) -> String {
    let (day, time) = (second / DAY, second % DAY);
    let (year, month, of_month) = civil(day);
    let month = MONTHS[month];
    let name = WEEKDAYS[(day % 7) as usize];
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{name}, {of_month:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month from 0 and day of month. Eras are of 400 years, which begin in March, so that leap days come last.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
pub(crate) fn civil(day: u64) -> (u64, usize, u64) {
    const ERA: u64 = 146_097;
    let day = day + 719_468;
    let of_era = day % ERA;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = year + day / ERA * 400 + u64::from(month < 2);
    (year, usize::try_from(month).unwrap_or(0), of_month)
}
