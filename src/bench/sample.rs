//! What can be said of a few measurements of one thing: the median, and how sure it is. It must not know what was
//! measured.

/// Measurements in order of size.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    /// A sample of `values`; values that are not finite are left out.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// The least; not a number if there is none.
    pub fn min(&self) -> f64 {
        self.sorted.first().copied().unwrap_or(f64::NAN)
    }

    /// The greatest; not a number if there is none.
    pub fn max(&self) -> f64 {
        self.sorted.last().copied().unwrap_or(f64::NAN)
    }

    /// The middle; not a number if there is none.
    pub fn median(&self) -> f64 {
        let count = self.sorted.len();
        if count == 0 {
            return f64::NAN;
        }
        (self.sorted[(count - 1) / 2] + self.sorted[count / 2]) / 2.0
    }

    /// The narrowest interval between two measurements, as far from both ends, that holds the true median with a
    /// probability of 95 %, or all measurements if they are too few for that. It assumes nothing of how the
    /// measurements are distributed: each is above the true median with probability 1/2, so their number is binomial.
    pub fn interval(&self) -> (f64, f64) {
        let outside = self.outside();
        match self.sorted.len() {
            0 => (f64::NAN, f64::NAN),
            count => (self.sorted[outside], self.sorted[count - 1 - outside]),
        }
    }

    /// The probability with which [`Sample::interval`] holds the true median.
    pub fn confidence(&self) -> f64 {
        if self.sorted.is_empty() { 0.0 } else { 1.0 - 2.0 * tail(self.sorted.len(), self.outside()) }
    }

    /// How many measurements at each end are outside of the interval.
    fn outside(&self) -> usize {
        let count = self.sorted.len();
        (0..count / 2).rev().find(|outside| tail(count, *outside) <= 0.025).unwrap_or(0)
    }
}

/// The probability that at most `most` of `count` fair coins show heads.
fn tail(count: usize, most: usize) -> f64 {
    let mut ways = 1.0;
    let mut sum = 0.0;
    for heads in 0..=most {
        sum += ways;
        ways = ways * (count - heads) as f64 / (heads + 1) as f64;
    }
    sum / 2f64.powi(count as i32)
}

/// The geometric mean of positive numbers: the right one for ratios. `None` of no numbers.
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) =
        values.into_iter().fold((0.0, 0), |(sum, count), value| (sum + f64::ln(value), count + 1));
    (count > 0).then(|| f64::exp(sum / f64::from(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_few() {
        assert_eq!(Sample::new([3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Sample::new([4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(Sample::new([]).median().is_nan());
    }

    /// Table of the sign test, for example Conover, Practical Nonparametric Statistics, section 3.2.
    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        let of = |count: u32| Sample::new((1..=count).map(f64::from));
        assert_eq!(of(5).interval(), (1.0, 5.0));
        assert!((of(5).confidence() - 0.9375).abs() < 1e-12);
        assert_eq!(of(9).interval(), (2.0, 8.0));
        assert!((of(9).confidence() - 0.9609375).abs() < 1e-12);
        assert_eq!(of(20).interval(), (6.0, 15.0));
        assert_eq!(of(1).interval(), (1.0, 1.0));
        assert_eq!(of(1).confidence(), 0.0);
    }

    #[test]
    fn ratios_have_a_geometric_mean() {
        assert!((geometric_mean([2.0, 8.0]).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
    }
}
