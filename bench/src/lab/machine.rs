//! What a run was measured on.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use serde::Serialize;

/// The machine, as far as it tells; a fact that it keeps to itself is empty.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// The model of the CPU.
    pub(super) cpu: String,
    /// How many cores this process may use.
    pub(super) cores: usize,
    /// In MiB.
    pub(super) memory_mib: u64,
    /// The release of the kernel.
    pub(super) kernel: String,
    /// Whether the CPU says that it is a virtual one.
    pub(super) is_virtual: bool,
    /// The CPU frequency governor of the first core; a virtual machine mostly has none.
    pub(super) governor: String,
    /// Mitigations of vulnerabilities that are on, each with its name.
    pub(super) mitigations: Vec<(String, String)>,
    /// The clock that the kernel reads; another than `tsc` makes each reading cost a system call.
    pub(super) clock: String,
    /// Whether the kernel may use huge pages.
    pub(super) huge_pages: String,
    /// The average number of processes that wanted to run in the minute before.
    pub(super) load_before: f64,
}

impl Machine {
    /// Asks the system.
    pub(super) fn this() -> Machine {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map(|(_, value)| value.trim().to_owned())
        };
        Machine {
            cpu: field("model name").unwrap_or_default(),
            cores: available_parallelism().map_or(1, usize::from),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            kernel: read("/proc/sys/kernel/osrelease"),
            is_virtual: field("flags")
                .is_some_and(|flags| flags.split(' ').any(|f| f == "hypervisor")),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            mitigations: mitigations(Path::new("/sys/devices/system/cpu/vulnerabilities")),
            clock: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            huge_pages: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// A list in Markdown.
    pub(super) fn markdown(&self) -> String {
        let or_none = |text: &str| match text {
            "" => "not told".to_owned(),
            text => text.to_owned(),
        };
        let kind = match self.is_virtual {
            true => "a virtual machine",
            false => "hardware",
        };
        let mitigations: Vec<_> = self
            .mitigations
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        format!(
            "- {}, {} cores, {} MiB, {kind}\n- Linux {}, clock {}, governor {}, huge pages {}\n\
             - mitigations on: {}\n- load average before the run: {:.2}{}\n",
            or_none(&self.cpu),
            self.cores,
            self.memory_mib,
            or_none(&self.kernel),
            or_none(&self.clock),
            or_none(&self.governor),
            or_none(&self.huge_pages),
            or_none(&mitigations.join(", ")),
            self.load_before,
            match self.load_before > 0.5 {
                true =>
                    " (a build just before is enough for that; else the machine was not quiet, and the A/A columns tell by how much)",
                false => "",
            },
        )
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The total of `/proc/meminfo`.
fn memory_mib(meminfo: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// The word in brackets, as in `always [madvise] never`.
fn chosen(text: &str) -> String {
    let rest = text.split_once('[').map(|(_, rest)| rest);
    let word = rest.and_then(|rest| rest.split_once(']'));
    word.map(|(word, _)| word.to_owned()).unwrap_or_default()
}

/// Those that the kernel does something about.
fn mitigations(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let state = fs::read_to_string(entry.path()).ok()?;
            let is_on = state.contains("Mitigation");
            is_on.then(|| (name, state.trim().to_owned()))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_what_the_kernel_writes() {
        assert_eq!(memory_mib("MemTotal:       2048 kB\nMemFree: 1 kB\n"), 2);
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen(""), "");
        let this = Machine::this();
        assert!(this.cores > 0 && this.memory_mib > 0 && !this.kernel.is_empty());
        assert!(this.markdown().contains(&this.kernel));
    }

    #[test]
    fn mitigations_that_are_off_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, state) in [
            ("b", "Mitigation: PTI\n"),
            ("a", "Mitigation: IBRS\n"),
            ("c", "Not affected\n"),
            ("d", "Vulnerable\n"),
        ] {
            fs::write(folder.path().join(name), state).expect("a file");
        }
        let names: Vec<_> = mitigations(folder.path())
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}
