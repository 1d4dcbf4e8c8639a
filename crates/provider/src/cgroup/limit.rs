//! The kernel's files for limits, as text: what is written for a limit and what is read back.
//!
//! In: a limit, the version of the hierarchy, the text of a file. Out: names of files with their text, and
//! values. Pure; the interface is that of the kernel's `admin-guide/cgroup-v1` and `cgroup-v2`.

use domain::{Bytes, Cores};

/// The generation of a hierarchy's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    /// As it is shown to people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1 => "cgroup v1",
            Self::V2 => "cgroup v2",
        }
    }
}

/// What a group can be held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cpu,
    Memory,
}

impl Kind {
    /// The controller's name.
    pub(crate) fn controller(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// A limit of a group; `None` inside: unlimited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    Cpu(Option<Cores>),
    Memory(Option<Bytes>),
}

/// The period of a CPU quota, in microseconds. The usual 100 ms would stop a service that used up its quota
/// for up to 100 ms at a time; what is felt as slowness should come from the limit and not from its grain.
const PERIOD_US: u64 = 20_000;
/// Longest period the kernel takes, in microseconds.
const PERIOD_MAX_US: u64 = 1_000_000;
/// Smallest quota the kernel takes, in microseconds.
const QUOTA_MIN_US: u64 = 1_000;

/// Quota and period of a share of processor, in microseconds. Small shares get a longer period, because the
/// kernel takes no quota below 1 ms; the smallest share that can be held is 0.001 cores.
pub(crate) fn quota(cores: Cores) -> (u64, u64) {
    let share = cores.0.max(0.0);
    let needed = (QUOTA_MIN_US as f64 / share).ceil();
    let period = (needed as u64).clamp(PERIOD_US, PERIOD_MAX_US);
    let quota = ((share * period as f64).round() as u64).max(QUOTA_MIN_US);
    (quota, period)
}

/// A write into a group, and what becomes of the limit where the file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) file: &'static str,
    pub(crate) text: String,
    pub(crate) when_absent: WhenAbsent,
}

/// What a missing file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenAbsent {
    /// The limit is not held.
    Fails,
    /// The kernel has no such thing (it counts no swap), so nothing has to be limited.
    Skipped,
}

/// What has to be written for a limit, in this order.
pub(crate) fn writes(version: Version, limit: Limit) -> Vec<Write> {
    let must = |file, text| Write { file, text, when_absent: WhenAbsent::Fails };
    let may = |file, text| Write { file, text, when_absent: WhenAbsent::Skipped };
    match (version, limit) {
        (Version::V1, Limit::Cpu(None)) => vec![must("cpu.cfs_quota_us", "-1".to_owned())],
        (Version::V1, Limit::Cpu(Some(cores))) => {
            let (quota, period) = quota(cores);
            vec![must("cpu.cfs_period_us", period.to_string()), must("cpu.cfs_quota_us", quota.to_string())]
        }
        (Version::V2, Limit::Cpu(None)) => vec![must("cpu.max", "max".to_owned())],
        (Version::V2, Limit::Cpu(Some(cores))) => {
            let (quota, period) = quota(cores);
            vec![must("cpu.max", format!("{quota} {period}"))]
        }
        (Version::V1, Limit::Memory(limit)) => {
            let most = limit.map_or("-1".to_owned(), |bytes| bytes.0.to_string());
            // Memory with swap may never be below memory alone, so it is lifted first and set last.
            vec![
                may("memory.memsw.limit_in_bytes", "-1".to_owned()),
                must("memory.limit_in_bytes", most.clone()),
                may("memory.memsw.limit_in_bytes", most),
            ]
        }
        (Version::V2, Limit::Memory(limit)) => vec![
            may("memory.swap.max", limit.map_or("max", |_| "0").to_owned()),
            must("memory.max", limit.map_or("max".to_owned(), |bytes| bytes.0.to_string())),
        ],
    }
}

/// The files a limit is read back from, in the order [`read_back`] takes their texts.
pub(crate) fn files(version: Version, kind: Kind) -> &'static [&'static str] {
    match (version, kind) {
        (Version::V1, Kind::Cpu) => &["cpu.cfs_quota_us", "cpu.cfs_period_us"],
        (Version::V2, Kind::Cpu) => &["cpu.max"],
        (Version::V1, Kind::Memory) => &["memory.limit_in_bytes"],
        (Version::V2, Kind::Memory) => &["memory.max"],
    }
}

/// Whether the texts of [`files`] say that `limit` is in force.
pub(crate) fn is_in_force(limit: Limit, texts: &str) -> bool {
    let words: Vec<&str> = texts.split_ascii_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match limit {
        Limit::Cpu(Some(cores)) => (number(0), number(1)) == (Some(quota(cores).0), Some(quota(cores).1)),
        Limit::Cpu(None) => matches!(words.first(), Some(&("-1" | "max"))),
        // The kernel counts in pages.
        Limit::Memory(Some(bytes)) => number(0)
            .is_some_and(|held| held <= bytes.0 && bytes.0 - held < rustix::param::page_size() as u64),
        // Without a limit version 1 says the largest number of pages.
        Limit::Memory(None) => words.first() == Some(&"max") || number(0).is_some_and(|held| held > 1 << 60),
    }
}

/// The file that counts how often the kernel ended a process of a group for its memory.
pub(crate) fn oom_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    }
}

/// The count in [`oom_file`].
pub(crate) fn oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn a_quota_is_the_declared_share_of_its_period() {
        assert_eq!(quota(Cores(0.3)), (6_000, 20_000));
        assert_eq!(quota(Cores(2.0)), (40_000, 20_000));
        assert_eq!(quota(Cores(0.01)), (1_000, 100_000), "no quota below 1 ms");
        assert_eq!(quota(Cores(0.0001)), (1_000, 1_000_000), "no period above 1 s");
    }

    #[test]
    fn each_version_gets_what_its_documentation_says() {
        let text = |version, limit| {
            let all = writes(version, limit).into_iter();
            all.map(|write| format!("{}={}", write.file, write.text)).collect::<Vec<_>>().join("; ")
        };
        let (cpu, memory) = (Limit::Cpu(Some(Cores(0.5))), Limit::Memory(Some(Bytes::mib(1))));
        assert_eq!(text(Version::V1, cpu), "cpu.cfs_period_us=20000; cpu.cfs_quota_us=10000");
        assert_eq!(text(Version::V2, cpu), "cpu.max=10000 20000");
        assert_eq!(text(Version::V2, Limit::Cpu(None)), "cpu.max=max");
        assert_eq!(
            text(Version::V1, memory),
            "memory.memsw.limit_in_bytes=-1; memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=1048576"
        );
        assert_eq!(text(Version::V2, memory), "memory.swap.max=0; memory.max=1048576");
        assert_eq!(text(Version::V2, Limit::Memory(None)), "memory.swap.max=max; memory.max=max");
    }

    #[test]
    fn what_the_kernel_says_is_compared_with_what_was_wanted() {
        let half = Limit::Cpu(Some(Cores(0.5)));
        assert!(is_in_force(half, "10000 20000\n") && is_in_force(half, "10000\n20000\n"));
        assert!(
            !is_in_force(half, "max 20000") && !is_in_force(half, "") && !is_in_force(half, "10000 100000")
        );
        assert!(is_in_force(Limit::Cpu(None), "-1\n20000") && is_in_force(Limit::Cpu(None), "max 20000"));
        let mib = Limit::Memory(Some(Bytes(1_048_577)));
        assert!(is_in_force(mib, "1048576\n") && !is_in_force(mib, "524288") && !is_in_force(mib, "max"));
        assert!(is_in_force(Limit::Memory(None), "9223372036854771712"));
    }

    #[test]
    fn kills_for_memory_are_counted_in_both_versions() {
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    proptest! {
        /// A newer kernel may write anything.
        #[test]
        fn no_text_panics(text in ".{0,60}", cores in any::<f64>(), bytes in any::<u64>()) {
            let _ = oom_kills(&text);
            for limit in [Limit::Cpu(Some(Cores(cores))), Limit::Memory(Some(Bytes(bytes)))] {
                let _ = is_in_force(limit, &text);
                let (quota, period) = quota(Cores(cores));
                assert!(quota >= QUOTA_MIN_US && (PERIOD_US..=PERIOD_MAX_US).contains(&period));
            }
        }
    }
}
