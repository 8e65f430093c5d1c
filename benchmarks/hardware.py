"""The line without which a figure means nothing: processor, memory, kernel, versions, load, the disk's sync."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.timing import NS_PER_US

_SYNCS: Final = 50
_LIBRARIES: Final = ("msgspec", "redis", "hiredis")


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine and what it was doing when the run began. ``fdatasync_us`` is the median of a 400-byte append."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    libraries: dict[str, str]
    server: str
    load: float
    fdatasync_us: float

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {number}" for name, number in self.libraries.items())
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB, Linux {self.kernel}, "
            f"Python {self.python}, {libraries}, {self.server}; fdatasync {self.fdatasync_us:.0f} µs, "
            f"load {self.load:.1f} at the start"
        )


def look(folder: Path, server: str) -> Hardware:
    """The hardware of this machine; ``folder`` is on the disk whose sync is timed."""
    return Hardware(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        kernel=platform.release().split("-")[0],
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        server=server,
        load=os.getloadavg()[0],
        fdatasync_us=fdatasync_us(folder / "fdatasync"),
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def fdatasync_us(path: Path, times: int = _SYNCS) -> float:
    """The median microseconds of appending 400 bytes to a new file at ``path`` and syncing them."""
    taken: list[int] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            started = time.perf_counter_ns()
            file.write(b"x" * 399 + b"\n")
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter_ns() - started)
    path.unlink()
    return median(taken) / NS_PER_US
