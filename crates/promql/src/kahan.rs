//! Sums that keep what rounding would lose (Kahan's, with Neumaier's change: <https://en.wikipedia.org/wiki/Kahan_summation_algorithm>).

/// A sum and what rounding took from it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Kahan {
    pub(crate) sum: f64,
    pub(crate) lost: f64,
}

impl Kahan {
    pub(crate) fn of(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, term: f64) {
        let next = self.sum + term;
        if next.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= term.abs() {
            self.lost += (self.sum - next) + term;
        } else {
            self.lost += (term - next) + self.sum;
        }
        self.sum = next;
    }

    /// Adds a sum with what was lost from it.
    #[inline]
    pub(crate) fn add_sum(&mut self, other: Self) {
        self.add(other.sum);
        if other.lost != 0.0 {
            self.add(other.lost);
        }
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.lost *= factor;
    }

    pub(crate) fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.lost /= divisor;
    }

    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// The mean of numbers whose sum may not fit into a number: in that case each is divided before it is added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    value: Kahan,
    count: f64,
    divided: bool,
}

impl Mean {
    pub(crate) fn of(first: f64) -> Self {
        Self { value: Kahan::of(first), count: 1.0, divided: false }
    }

    pub(crate) fn add(&mut self, term: f64) {
        self.count += 1.0;
        if !self.divided {
            let mut next = self.value;
            next.add(term);
            if !next.sum.is_infinite() {
                self.value = next;
                return;
            }
            self.divided = true;
            self.value.divide(self.count - 1.0);
        }
        self.value.scale((self.count - 1.0) / self.count);
        self.value.add(term / self.count);
    }

    pub(crate) fn get(self) -> f64 {
        if self.divided {
            self.value.sum + self.value.lost
        } else {
            self.value.sum / self.count + self.value.lost / self.count
        }
    }
}
