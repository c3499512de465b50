"""The ingest stage: samples appear whole, the same bytes everywhere, or not at all."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.console import say_stage
from tessera_core.__main__ import main
from tessera_core.config import PlatformConfig
from tessera_core.errors import SceneError
from tessera_core.ingest.sources import TileRef
from tessera_core.ingest.stage import _check_names, run, sources
from tessera_core.ports import OFFLINE, map_serially
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.records.paths import Paths
from tessera_core.records.samples import list_tiles, read_scenes, read_tile
from tessera_core.stages import run_stage
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.disk import run_with_full_disk
from tessera_core.testing.tiles import make_grid, make_tile


@pytest.fixture
def configure(repo):
    """A function that reads the shipped settings with some overridden."""
    return lambda *overrides: PlatformConfig.read(repo / "params.yaml", overrides)


@pytest.fixture
def tiles_config(configure) -> PlatformConfig:
    return configure("ingest.source=tiles", "ingest.path=tiles")


def write_tile(root: Path, name: str, **changes) -> Path:
    tile = make_tile(name=name, grid=make_grid(width=30, height=30), num_descending=0)
    arrays = {**tile_arrays(tile), **changes}
    return write_tile_directory(root / "tiles" / name, arrays, tile_document(tile.grid, tile.year))


def tree(folder: Path) -> dict[str, bytes]:
    """Name and content of every file below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def paths_in(root: Path, workspace: str = "here") -> Paths:
    return Paths(root=root, workspace=root / workspace)


def test_every_tile_becomes_samples_and_a_scenes_table(tmp_path, tiles_config):
    for name in ("b", "a"):
        write_tile(tmp_path, name)
    paths = paths_in(tmp_path)

    outcome = run(tiles_config, paths, OFFLINE)

    assert outcome.facts["tiles"] == {"a/2022": 900, "b/2022": 900}
    assert outcome.facts["num_pixels"] == 1800
    assert outcome.outputs == (paths.samples / "manifest.json",)
    manifest = Manifest.read(paths.samples)
    assert find_differences(paths.samples, manifest) == []
    assert dict(manifest.facts) == dict(outcome.facts)
    folders = list_tiles(paths.samples)
    assert [read_tile(folder).name for folder in folders] == ["a", "b"]
    assert all(len(read_scenes(folder)) == 8 for folder in folders)


def test_a_catalogue_is_cut_into_tiles_that_cover_it_once(configure, scenes, tmp_path):
    config = configure("ingest.path=scenes", "ingest.tile_size=20")
    paths = paths_in(tmp_path)

    run(config, paths, OFFLINE)

    tiles = [read_tile(folder) for folder in list_tiles(paths.samples)]
    positions = [(x, y) for t in tiles for x, y in zip(t.x.tolist(), t.y.tolist(), strict=True)]
    assert len(tiles) == 6
    assert len(positions) == len(set(positions)) == 48 * 32


def test_a_pixel_has_the_same_series_in_a_large_and_in_a_small_tile(configure, scenes, tmp_path):
    pixels = {}
    for size in (64, 20):
        paths = paths_in(tmp_path, f"size-{size}")
        run(configure("ingest.path=scenes", f"ingest.tile_size={size}"), paths, OFFLINE)
        tiles = [read_tile(folder) for folder in list_tiles(paths.samples)]
        pixels[size] = {
            (x, y): tile.pixels.take(np.array([i])).optical
            for tile in tiles
            for i, (x, y) in enumerate(zip(tile.x.tolist(), tile.y.tolist(), strict=True))
            if y == tile.y[0] or x == tile.x[0]
        }

    shared = pixels[64].keys() & pixels[20].keys()
    assert len(shared) > 40
    for place in shared:
        large, small = pixels[64][place], pixels[20][place]
        # A granule's edge may cross the large tile only; its dates are no data here.
        seen = np.isin(large.day_of_year, small.day_of_year)
        assert np.array_equal(large.values[seen], small.values)
        assert not large.valid[~seen].any()


def test_the_same_scenes_give_the_same_bytes_in_any_workspace_and_order(
    configure, scenes, tmp_path
):
    def map_backwards(name, function, items):
        return list(reversed([function(item) for item in reversed(list(items))]))

    config = configure("ingest.path=scenes", "ingest.tile_size=32")
    here, there = paths_in(tmp_path), paths_in(tmp_path, "there/deep")

    run(config, here, replace(OFFLINE, mapper=map_serially))
    run(config, there, replace(OFFLINE, mapper=map_backwards))

    assert len(tree(here.samples)) > 4
    assert tree(here.samples) == tree(there.samples)


def test_an_orbit_of_length_0_is_ingested(tmp_path, tiles_config):
    write_tile(tmp_path, "a")
    paths = paths_in(tmp_path)

    run(tiles_config, paths, OFFLINE)

    pixels = read_tile(list_tiles(paths.samples)[0]).pixels
    assert len(pixels.descending.values) == 0
    assert pixels.descending.num_valid().tolist() == [0] * 900


def test_sources_change_with_every_file(tmp_path, tiles_config):
    folder = write_tile(tmp_path, "a")
    seen = {sources(tiles_config, paths_in(tmp_path))}
    for path in sorted(folder.iterdir()):
        path.write_bytes(path.read_bytes() + b"x")
        seen.add(sources(tiles_config, paths_in(tmp_path)))

    assert len(seen) == 1 + 8


# -- nothing half-written ---------------------------------------------------------------------


def test_a_bad_tile_among_good_ones_leaves_nothing(tmp_path, tiles_config):
    write_tile(tmp_path, "a")
    write_tile(tmp_path, "b", doys=np.arange(9))
    paths = paths_in(tmp_path)

    with pytest.raises(SceneError, match=r"tiles/b: S2 day_of_year spans 0\.\.8"):
        run(tiles_config, paths, OFFLINE)

    assert tree(paths.data) == {}


def test_a_bad_tile_leaves_the_samples_of_the_last_run(tmp_path, tiles_config):
    write_tile(tmp_path, "a")
    paths = paths_in(tmp_path)
    run(tiles_config, paths, OFFLINE)
    before = tree(paths.data)
    (write_tile(tmp_path, "b") / "masks.npy").unlink()

    with pytest.raises(SceneError, match=r"masks\.npy is missing"):
        run(tiles_config, paths, OFFLINE)

    assert tree(paths.data) == before


@pytest.mark.parametrize("asset", ["sentinel-2-l2a/*/B11", "sentinel-1-rtc/*/vh"])
def test_a_corrupt_raster_is_named_and_leaves_nothing(configure, scenes, tmp_path, asset):
    path = sorted(scenes.glob(f"{asset}.tif"))[-1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    paths = paths_in(tmp_path)

    with pytest.raises(SceneError, match=rf"{path}.* [Ii]s the file truncated"):
        run(configure("ingest.path=scenes"), paths, OFFLINE)

    assert tree(paths.data) == {}


def test_a_tile_name_that_is_no_folder_name_is_refused(tmp_path, tiles_config):
    write_tile(tmp_path, "field 7")

    with pytest.raises(SceneError, match="tile name 'field 7' has characters beyond letters"):
        run(tiles_config, paths_in(tmp_path), OFFLINE)


def test_a_tile_may_occur_once_a_year():
    ref = partial(TileRef, name="a", grid=make_grid())

    _check_names([ref(year=2021), ref(year=2022)])
    with pytest.raises(SceneError, match="tile a of 2022 occurs twice; rename one"):
        _check_names([ref(year=2022), ref(year=2021), ref(year=2022)])


# -- from the command line --------------------------------------------------------------------


@pytest.fixture
def checkout(repo, tmp_path) -> Path:
    """A folder with settings that read tile directories, and one good tile."""
    values = yaml.safe_load((repo / "params.yaml").read_text("utf-8"))
    values["ingest"] |= {"source": "tiles", "path": "tiles"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), "utf-8")
    write_tile(tmp_path, "a")
    return tmp_path


def test_a_second_run_reuses_the_first(checkout, capsys):
    assert main(["ingest", "--root", str(checkout)]) == 0
    assert main(["ingest", "--root", str(checkout)]) == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("ingest done [")
    assert second == first.replace("done", "reused")


def test_bad_input_exits_with_2_and_one_line(checkout, capsys):
    (checkout / "tiles" / "a" / "masks.npy").unlink()

    exit_code = main(["ingest", "--root", str(checkout)])

    said = capsys.readouterr()
    assert exit_code == 2
    assert said.err.startswith("tessera: ")
    assert "masks.npy is missing" in said.err
    assert tree(checkout / "data") == {}


INGEST = """
from tessera_core.__main__ import main
sys.exit(main(["ingest", "--root", sys.argv[1]]))
"""


def test_a_full_disk_exits_with_2_and_leaves_nothing(checkout):
    run = run_with_full_disk(INGEST, str(checkout), max_file_size=50_000)

    assert run.returncode == 2, run.stderr
    assert f"tessera: cannot write {checkout / 'data'}" in run.stderr
    assert "MB free there). Nothing was left half-written; make room" in run.stderr
    assert "Traceback" not in run.stderr
    assert tree(checkout / "data") == {}


def test_a_full_disk_leaves_the_samples_of_the_last_run(checkout):
    assert main(["ingest", "--root", str(checkout)]) == 0
    before = tree(checkout / "data")
    shutil.copytree(checkout / "tiles" / "a", checkout / "tiles" / "b")

    run = run_with_full_disk(INGEST, str(checkout), max_file_size=50_000)

    assert run.returncode == 2, run.stderr
    assert tree(checkout / "data") == before


def test_an_exclusion_without_effect_is_told_by_every_run_and_is_in_the_receipt(checkout, capsys):
    params = checkout / "params.yaml"
    values = yaml.safe_load(params.read_text())
    assert main(["ingest", "--root", str(checkout)]) == 0
    assert "WARNING" not in capsys.readouterr().err
    values["ingest"]["exclude"] = ["typo"]
    params.write_text(yaml.safe_dump(values))

    for _ in ("done", "reused"):
        assert main(["ingest", "--root", str(checkout)]) == 0
        assert "tessera: WARNING: ingest.exclude names 'typo', but" in capsys.readouterr().err

    paths = Paths(root=checkout, workspace=checkout)
    result = run_stage("ingest", PlatformConfig.read(params), paths, OFFLINE)
    assert result.reused
    say_stage(result)
    assert "\ningest    WARNING: ingest.exclude names 'typo', but" in capsys.readouterr().out
