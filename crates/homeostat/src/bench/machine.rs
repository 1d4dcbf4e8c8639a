//! What a benchmark ran on, as the system describes it.

use std::path::Path;

use serde::Serialize;

/// The machine a figure belongs to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    processor: String,
    /// Processors this process may use.
    cores: usize,
    memory_mib: u64,
    kernel: String,
    /// The file system the store was on.
    file_system: String,
}

impl Machine {
    /// Describes this one, with the file system of `dir`.
    pub(crate) fn of(dir: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 =
            memory_kib.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(dir, &read("/proc/self/mounts")),
        }
    }
}

/// The type of the file system that is mounted deepest above `dir`.
fn file_system(dir: &Path, mounts: &str) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounts.filter(|(at, _)| dir.starts_with(at));
    above.max_by_key(|(at, _)| at.len()).map_or_else(String::new, |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(file_system(Path::new("/tmp/a"), mounts), "tmpfs");
        assert_eq!(file_system(Path::new("/tmpa"), mounts), "ext4");
    }
}
