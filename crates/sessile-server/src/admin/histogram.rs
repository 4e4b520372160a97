//! How long something took, counted in a fixed number of buckets: four to an octave, from 16 microseconds to half a
//! minute. So a quantile is off by a quarter at most, and a minute of a busy server takes as much memory as an idle one.

use std::time::Duration;

const SHORTEST: u64 = 16;
const OCTAVES: usize = 21;
const BUCKETS: usize = OCTAVES * 4;

/// Counts of durations.
#[derive(Clone, Debug)]
pub(super) struct Histogram([u32; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    pub(super) fn record(&mut self, took: Duration) {
        if let Some(count) = self.0.get_mut(bucket(took)) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine = mine.saturating_add(theirs));
    }

    /// What this share of the durations did not exceed, rounded up to the end of its bucket.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().copied().map(u64::from).sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        let at = self.0.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted.max(1)
        });
        at.map(end)
    }
}

/// The octave by the highest bit, the quarter of it by the two bits below.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(SHORTEST);
    let highest = micros.ilog2();
    let quarter = (micros >> (highest - 2)) & 3;
    (((highest - SHORTEST.ilog2()) * 4) as usize + quarter as usize).min(BUCKETS - 1)
}

fn end(bucket: usize) -> Duration {
    let (octave, quarter) = (bucket / 4, bucket as u64 % 4);
    Duration::from_micros(((5 + quarter) << octave) * SHORTEST / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_a_bucket_that_ends_at_most_a_quarter_above_it() {
        for micros in (16..100_000).chain((100_000..30_000_000).step_by(9_973)) {
            let end = end(bucket(Duration::from_micros(micros))).as_micros() as u64;
            assert!(micros < end && end <= micros * 5 / 4 + 1, "{micros} falls into the bucket that ends at {end}");
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_what_that_share_did_not_exceed() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (0..98).for_each(|_| histogram.record(Duration::from_micros(300)));
        (0..2).for_each(|_| histogram.record(Duration::from_millis(40)));
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(320)));
        assert!(histogram.quantile(0.99) > Some(Duration::from_millis(40)));
    }
}
