"""CPU seconds of ``tessera audit --pixel`` on an export of 10^6 pixels and 200 scenes.

Tiles of 64 x 64 pixels as ingest cuts them by default, 128 dimensions, shards of 256 pixels. The
tile that is asked has all its dates; the samples of the others have one, since nobody reads them.

Run ``python -m tests.bench.audit_pixel``; ``--tile-size 256`` asks for larger tiles.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rasterio.warp import transform

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.lineage.audit.mapped import SETTINGS, MappedRun, write_scenes

SIDE = 1024
"""Pixels of the map's edge: 1,048,576 in all."""

NUM_S2, NUM_S1, NUM_OTHERS = 60, 50, 40
"""Dates of the tile: 60 and twice 50; with 40 that miss it, 200 scenes."""

NUM_RUNS = 5
WEST, NORTH, EPSG = 500_000, 5_600_000, 32631


def build(root: Path, tile_size: int) -> MappedRun:
    tiles = []
    for number in range((SIDE // tile_size) ** 2):
        row, column = divmod(number, SIDE // tile_size)
        size = tile_size * TILE_RESOLUTION_M
        grid = make_grid(
            epsg=EPSG, west=WEST + column * size, north=NORTH - row * size, width=tile_size,
            height=tile_size,
        )  # fmt: skip
        dates = (NUM_S2, NUM_S1, NUM_S1) if number == 0 else (1, 0, 0)
        tiles.append(
            make_tile(
                name=f"t{number:04}",
                grid=grid,
                seed=number,
                num_s2=dates[0],
                num_ascending=dates[1],
                num_descending=dates[2],
            )
        )  # fmt: skip
    run = MappedRun(
        root=root, tiles=tiles, scenes=write_scenes(root, tiles[0], NUM_OTHERS),
        settings=SETTINGS, dimensions=128, shard_size=256,
    )  # fmt: skip
    run.cycle()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tile-size", type=int, default=64, choices=[64, 128, 256, 512, 1024])
    chosen = parser.parse_args()
    repo = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = build(root, chosen.tile_size)
        (root / "params.yaml").write_bytes((repo / "params.yaml").read_bytes())
        x, y = WEST + 25, NORTH - 25
        longitude, latitude = transform(f"EPSG:{EPSG}", "EPSG:4326", [x], [y])
        words = [
            sys.executable, "-m", "flows.cli.main", "audit", "--export", "tessera-v1-first",
            "--pixel", str(longitude[0]), str(latitude[0]), "--root", str(root),
        ]  # fmt: skip
        seconds = []
        for _ in range(NUM_RUNS):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(words, cwd=repo, check=True, stdout=subprocess.DEVNULL, timeout=60)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        scenes = {scene.scene_id for scene in run.scenes}
        print(f"{SIDE * SIDE:,} pixels in {len(run.tiles)} tiles, {len(scenes)} scenes")
        print(f"CPU seconds: {', '.join(f'{each:.2f}' for each in sorted(seconds))}")


if __name__ == "__main__":
    main()
