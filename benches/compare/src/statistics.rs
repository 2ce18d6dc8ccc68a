//! The few numbers that are made of many.

/// The middle one, or the mean of the two in the middle.
///
/// # Panics
/// If there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}

/// The smallest of the sorted values that is no less than that part of them.
///
/// # Panics
/// If there are none.
pub fn percentile(sorted: &[u64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1] as f64
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 0.999, 1.0].map(|part| percentile(&values, part)),
            [1.0, 500.0, 990.0, 999.0, 1000.0]
        );
        assert_eq!(percentile(&[7], 0.999), 7.0);
    }
}
