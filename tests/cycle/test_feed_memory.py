"""Memory of the feed: decoding holds a row group, gathering holds the bound, whatever the size.

Each measurement is a child process of its own, whose peak since a mark Linux tells.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tessera_core.feed.decode import LAYOUT, SENSORS, TILES_NAME
from tessera_core.records.arrays import GrowingArray
from tessera_core.records.files import write_json
from tessera_core.records.manifest import write_manifest
from tessera_core.records.samples import list_tiles, read_tile, write_table
from tessera_core.shuffle.write import load_rows
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self"),
]

MIB = 1 << 20
BOUND = 32 * MIB
SLACK = 16 * MIB
"""For the batches themselves, and for what the allocator keeps between them."""

DECODING = 64 * MIB
"""What decoding may hold: a row group as Parquet, as a table and as arrays."""

TIMEOUT_S = 240

MEASURE = """
import json, sys
from pathlib import Path
import numpy as np

def memory(name):
    for line in open("/proc/self/status"):
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024

def mark():
    # 5: forget the peak, see proc_pid_clear_refs(5)
    Path("/proc/self/clear_refs").write_text("5")
    global start
    start = memory("VmRSS")

def tell():
    print(json.dumps(memory("VmHWM") - start))
"""

GATHER = """
from tessera_core.feed.reader import read_feed

feed = read_feed(Path(sys.argv[1]), resident_bytes=int(sys.argv[2]))
num = len(feed.pixels)
feed.gather(np.arange(8))
mark()
rng, num_seen = np.random.default_rng(0), 0
for epoch in range(2):
    order = rng.permutation(num)
    for first in range(0, num, 256):
        batch = feed.gather(order[first : first + 256])
        num_seen += int(batch.optical.valid.any(axis=1).sum())
assert num_seen == 2 * num, num_seen
tell()
"""

DECODE = """
import pyarrow as pa
from tessera_core.records.samples import pixels_of, read_table
from tessera_core.records.schema import SHARD
from tessera_core.feed.reader import open_feed

shards, cache, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
open_feed(shards, "val", cache)
mark()
if how == "streaming":
    open_feed(shards, "train", cache)
else:
    tables = [read_table(path, SHARD) for path in sorted(shards.glob("train-*"))]
    pixels = pixels_of(pa.concat_tables([t.replace_schema_metadata(None) for t in tables]))
tell()
"""


def peak_of(repo: Path, script: str, *arguments: object) -> int:
    """Bytes that a child process needed at its peak, beyond what it had at its mark."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE + script, *map(str, arguments)],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def write_decoded(folder: Path, num_pixels: int) -> int:
    """Write a decoded split of 60 S2 and 2 x 50 S1 observations each; return its bytes."""
    lengths = dict(zip(SENSORS, (60, 50, 50), strict=True))
    block = 2000
    size = 0
    for name, (dtype, row_shape) in LAYOUT.items():
        sensor, _, part = name.partition(".")
        with GrowingArray(folder / f"{name}.npy", dtype, row_shape) as growing:
            if part == "offsets":
                growing.append(np.arange(num_pixels + 1, dtype=np.int64) * lengths[sensor])
                continue
            rows = np.ones((block * (lengths[sensor] if part else 1), *row_shape), dtype)
            for _ in range(num_pixels // block):
                growing.append(rows * (name != "tile"))
                size += rows.nbytes
    write_json(folder / TILES_NAME, ["a-2022"])
    return size


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> Path:
    """A decoded split of five times the bound."""
    folder = tmp_path_factory.mktemp("decoded")
    assert write_decoded(folder, 82_000) > 5 * BOUND
    return folder


def test_gathering_holds_no_more_than_the_bound_of_a_set_five_times_as_large(repo, decoded):
    assert peak_of(repo, GATHER, decoded, BOUND) < BOUND + SLACK


def test_without_the_bound_the_same_gathering_would_hold_more(repo, decoded):
    assert peak_of(repo, GATHER, decoded, 1 << 40) > 2 * BOUND + SLACK


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """A train split of 100 shards of 3 MB each, decoded, and a val split of one."""
    root = tmp_path_factory.mktemp("many")
    tile = make_tile(grid=make_grid(width=40, height=40), num_s2=60, num_ascending=50)
    write_samples(root / "samples", [tile])
    folders = list_tiles(root / "samples")
    rows = load_rows(folders, [read_tile(folder) for folder in folders], block_size_m=20)
    shards = root / "shards"
    shards.mkdir()
    first = shards / "val-00000-of-00001.parquet"
    write_table(rows.combine_chunks(), first)
    for index in range(100):
        shutil.copy(first, shards / f"train-{index:05d}-of-00100.parquet")
    write_manifest(shards, "shards", {})
    return shards


def test_decoding_holds_a_few_shards_not_the_split(repo, shards, tmp_path):
    streaming = peak_of(repo, DECODE, shards, tmp_path / "one", "streaming")
    at_once = peak_of(repo, DECODE, shards, tmp_path / "two", "at once")

    split = sum(path.stat().st_size for path in (tmp_path / "one").glob("*/train/*.npy"))
    assert split > 4 * DECODING
    assert streaming < DECODING
    assert at_once > split
