"""The CPU limit is that of the container, not the host's count of cores."""

import pytest

from hakka import cores
from hakka.cores import cpu_limit, usable_cores


@pytest.fixture
def sixteen_cores(monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(16)))


def machine(root, groups, files):
    """A made-up /proc and /sys with these lines of /proc/self/cgroup and these files under /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = "9:name=systemd:/\n4:cpu,cpuacct:/kubepods/pod1\n3:cpuset:/\n"
CASES = {
    "no limit": ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
    "half a core": ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
    "one and a half": ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
    "two": ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
    "two and a bit": ("0::/\n", {"cpu.max": "230000 100000\n"}, 2),
    "more than there are": ("0::/\n", {"cpu.max": "6400000 100000\n"}, 16),
    "the parent's is less": ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3),
    "a path of the host's": ("0::/kubepods.slice/pod1\n", {"cpu.max": "200000 100000\n"}, 2),
    "v1": (
        V1,
        {
            "cpu,cpuacct/kubepods/pod1/cpu.cfs_quota_us": "250000",
            "cpu,cpuacct/kubepods/pod1/cpu.cfs_period_us": "100000",
        },
        3,
    ),
    "v1 at the top": (V1, {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 2),
    "v1 without a limit": (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
    "nonsense": ("0::/\n", {"cpu.max": "many\n"}, 16),
    "nothing to read": ("", {}, 16),
}


@pytest.mark.parametrize("case", CASES)
def test_usable_cores(tmp_path, sixteen_cores, case):
    groups, files, expected = CASES[case]
    assert usable_cores(machine(tmp_path, groups, files)) == expected


def test_affinity_is_a_limit_too(tmp_path, monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {3})
    root = machine(tmp_path, "0::/\n", {"cpu.max": "400000 100000\n"})
    assert (usable_cores(root), cpu_limit(root)) == (1, 4.0)


def test_no_proc_at_all(tmp_path, sixteen_cores):
    assert cpu_limit(tmp_path / "nowhere") is None
    assert usable_cores(tmp_path / "nowhere") == 16
