"""The page about Python is true: its blocks run in order, on made data."""

import re
from pathlib import Path

import pytest

import tessera_core
from tessera_core.model.artifact import write_artifact
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.points import (
    checkerboard_embedding,
    labelled_points,
    write_export,
    write_geopackage,
)
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_tile

PAGE = "docs/how-to/python.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the page names, in the current folder."""
    tile = make_tile(seed=1)
    canaries = random_pixels(4, seed=2)
    write_artifact(tmp_path / "model", tiny_encoder(1), TINY_CONFIG, NORMS, canaries)
    write_tile_directory(
        tmp_path / "tiles" / "31UDS", tile_arrays(tile), tile_document(tile.grid, 2022)
    )
    write_samples(tmp_path / "data" / "samples", [tile])
    for version in (3, 4):
        write_export(
            tmp_path / "exports" / f"tessera-v{version}", checkerboard_embedding(seed=version)
        )
    write_geopackage(tmp_path / "fields.gpkg", *labelled_points(300, seed=2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_of_the_page_runs_and_prints_what_the_page_shows(repo: Path, folder, capsys):
    page = (repo / PAGE).read_text("utf-8")
    names: dict[str, object] = {}

    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(block, PAGE, "exec"), names)

    (shown,) = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    printed = capsys.readouterr().out
    # The head's last digits are the machine's.
    digits = re.compile(r"\d\.\d\d")
    assert digits.sub("#", shown.strip()) == digits.sub("#", printed.splitlines()[0])


def test_the_page_names_every_verb(repo):
    page = (repo / PAGE).read_text("utf-8")

    verbs = [name for name in tessera_core.__all__ if name.islower() and name != "__version__"]

    assert [name for name in verbs if f"`{name}`" not in page] == []
