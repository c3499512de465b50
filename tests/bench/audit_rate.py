"""Bytes per second of a full audit, and whether it reads each byte once.

A made-up chain with 2 GB of shards of 32 MB. Beside it, file by file in the same process, the least
that any audit must do: read and hash with sha256. What the process read is the kernel's count.

Run ``python -m tests.bench.audit_rate``; ``--megabytes N`` for another size.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.records.files import atomic_folder
from tessera_core.records.manifest import Manifest, write_manifest
from tests.unit.lineage.audit.built import Run

MEGABYTE = 1_000_000
SHARD = 32 * MEGABYTE
NUM_ROUNDS = 5


@dataclass(slots=True, kw_only=True)
class LargeRun(Run):
    """A run whose shards are large."""

    num_shards: int

    def artifact(
        self, folder: Path, kind: str, names: list[str], facts: Mapping[str, Any] | None = None
    ) -> Manifest:
        if kind != "shards":
            return Run.artifact(self, folder, kind, names, facts)
        rng = np.random.default_rng(5)
        with atomic_folder(folder) as building:
            for number in range(self.num_shards):
                (building / f"train-{number}.parquet").write_bytes(rng.bytes(SHARD))
            return write_manifest(building, kind, facts or {})


def read_bytes() -> int:
    """Return how many bytes this process has asked the kernel for."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def timed(work: Callable[[], object]) -> tuple[float, int]:
    """Return processor seconds and bytes read."""
    read, began = read_bytes(), time.process_time()
    work()
    return time.process_time() - began, read_bytes() - read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000)
    num_shards = max(1, parser.parse_args().megabytes * MEGABYTE // SHARD)
    with tempfile.TemporaryDirectory() as folder:
        run = LargeRun(root=Path(folder), num_shards=num_shards).cycle()
        files = run.evidence()

        def hash_all() -> None:
            for path in files:
                with path.open("rb") as file:
                    hashlib.file_digest(file, "sha256")

        def audit() -> None:
            report = verify_chain(run.receipts["export"], run.paths, require_sources=True)
            assert report.findings == ()
            assert report.num_files == len(files)

        size = sum(path.stat().st_size for path in files)
        hash_all()  # from the disk once; every round reads from memory
        rounds = [(timed(hash_all), timed(audit)) for _ in range(NUM_ROUNDS)]
    for name, number in (("sha256 alone", 0), ("audit", 1)):
        seconds = median(one[number][0] for one in rounds)
        read = median(one[number][1] for one in rounds)
        print(
            f"{name:<14}{size / seconds / MEGABYTE:>8,.0f} MB per CPU second, "
            f"{read / size:.4f} times the bytes of the chain read"
        )
    ratios = sorted(audited[0] / hashed[0] for hashed, audited in rounds)
    print(f"audit / sha256 alone, round by round: {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
