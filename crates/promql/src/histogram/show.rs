//! Histograms as text, as `count_values` has them: `{count:3, sum:5, (0.5,1]:1, (1,2]:2}`.

use std::fmt;

use super::Histogram;
use crate::go::General;

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", General(self.count), General(self.sum))?;
        let (negative, positive) = self.shown_buckets();
        let bounds = |bucket: &super::Bucket| format!("{},{}", General(bucket.lower), General(bucket.upper));
        for bucket in &negative {
            write!(f, ", [{}):{}", bounds(bucket), General(bucket.count))?;
        }
        if self.zero_count != 0.0 && !self.uses_custom_buckets() {
            write!(f, ", [{}]:{}", bounds(&self.zero_bucket()), General(self.zero_count))?;
        }
        let first =
            self.positive.iter().next().filter(|(index, _)| *index == 0 && self.uses_custom_buckets());
        for (at, bucket) in positive.iter().enumerate() {
            // The first custom bucket has -Inf in it.
            let open = if at == 0 && first.is_some() && bucket.lower.is_infinite() { "[" } else { "(" };
            write!(f, ", {open}{}]:{}", bounds(bucket), General(bucket.count))?;
        }
        f.write_str("}")
    }
}
