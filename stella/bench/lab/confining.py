"""A laboratory on fewer CPUs than the machine has, so that a demonstration means the same on every machine.

The bench, its helpers, libvirtd and the agent are held to them by their affinity, which children inherit; the guests by the cpuset of
their parent group, as libvirt gives QEMU any CPU. The agent takes a host's CPUs from the topmost cpuset (`docs/decisions/0024`): it is
started in a mount namespace of its own in which that file is the laboratory's.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from stella.bench.lab.groups import Layout
from stella.linux.cpuset import parse_cpus

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_TOP_FILES = ("cpuset.effective_cpus", "cpuset.cpus.effective", "cpuset.cpus")
# Fixed text: binds one file over others, then becomes the program.
_BIND = (
    'mount --make-rprivate / || exit 125; f=$1; n=$2; shift 2; while [ "$n" -gt 0 ]; do mount --bind "$f" "$1" || exit 125; '
    'shift; n=$((n-1)); done; exec "$@"'
)


def choose_cpus(usable: Sequence[int], siblings: Mapping[int, Sequence[int]], count: int | None) -> tuple[int, ...]:
    """``count`` of the usable CPUs, in order: of each core its first hardware thread, and only then others. All when None. Pure."""
    ordered = sorted(usable)
    if count is None or count >= len(ordered):
        return tuple(ordered)
    first = [cpu for cpu in ordered if cpu == min((s for s in siblings.get(cpu, (cpu,)) if s in ordered), default=cpu)]
    return tuple(sorted([*first, *(cpu for cpu in ordered if cpu not in first)][:count]))


def chosen_cpus(count: int | None) -> tuple[int, ...]:
    """`choose_cpus` of this machine."""
    usable = sorted(os.sched_getaffinity(0))
    siblings = {}
    for cpu in usable:
        path = Path(_SIBLINGS.format(cpu))
        if path.exists():
            siblings[cpu] = parse_cpus(path.read_text(encoding="ascii"))
    return choose_cpus(usable, siblings, count)


def with_fewer_cpus(argv: Sequence[str], file: Path, layout: Layout) -> list[str]:
    """The command that runs ``argv`` where the topmost cpuset holds the CPUs listed in ``file``."""
    top = layout.v1.get("cpuset") or layout.v2
    covered = [str(top / name) for name in _TOP_FILES if top and (top / name).exists()]
    shell = ("/usr/bin/unshare", "-m", "/bin/sh", "-c", _BIND, "stella-bench")
    return [*shell, str(file), str(len(covered)), *covered, *argv]
