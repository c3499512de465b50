"""Whatever a document from outside holds, it is read or refused in one sentence: exit code 2."""

import json

import numpy as np
import pytest

from tessera_core.errors import InputError
from tessera_core.ingest.sources.stac import StacScenes
from tessera_core.ingest.sources.tiles import TileDirectories
from tessera_core.ingest.stage import is_simulated
from tessera_core.records.labels import read_legend
from tessera_core.testing.catalogues import OPTICAL, optical_scene, write_catalogue
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.settings import ingest_settings
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.ingest.hostile import variants

GRID = make_grid(width=8, height=6)
DOCUMENTS = {
    "item": f"{OPTICAL}/june/june.json",
    "collection": f"{OPTICAL}/collection.json",
    "catalogue": "catalog.json",
}


def faults(read, path, document) -> list[str]:
    """Return where reading ended otherwise than well or with one sentence."""
    found = []
    for place, text in variants(document):
        path.write_text(text)
        try:
            read()
        except InputError as error:
            if error.exit_code != 2 or "\n" in str(error) or len(str(error)) > 2000:
                found.append(f"{place}: {str(error)[:200]}")
        except BaseException as error:
            found.append(f"{place}: {type(error).__name__}: {str(error)[:200]}")
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_stac_document_is_read_or_refused(tmp_path, name):
    scene = optical_scene("june", "2022-06-01T10:00:00", GRID, value=3000)
    write_catalogue(tmp_path / "scenes", [scene])
    path = tmp_path / "scenes" / DOCUMENTS[name]
    document = json.loads(path.read_text())
    if name == "item":
        document["assets"] = dict(list(document["assets"].items())[:2])
        document["properties"].update({"proj:code": None, "sat:orbit_state": "ascending"})

    def read() -> None:
        source = StacScenes(ingest_settings(), tmp_path)
        source.digests()
        refs = source.tiles()
        # What is read is small: nothing that is in a document makes a tile larger.
        assert max(ref.grid.width * ref.grid.height for ref in refs) <= 64 * 64
        is_simulated(tmp_path, "scenes")

    assert not faults(read, path, document)


def test_a_tile_document_is_read_or_refused(tmp_path):
    tile = make_tile(name="here", year=2018, seed=5)
    document = tile_document(tile.grid, tile.year)
    folder = write_tile_directory(tmp_path / "here", tile_arrays(tile), document)

    def read() -> None:
        (ref,) = TileDirectories(tmp_path / "here", tmp_path).tiles()
        assert 2015 <= ref.year <= 2100
        assert np.isfinite(ref.grid.bounds).all()

    assert not faults(read, folder / "tile.json", document)


def test_a_legend_is_read_or_refused(tmp_path):
    path = tmp_path / "legend.json"

    assert not faults(lambda: read_legend([tmp_path]), path, {"crop_type": {"3": "maize"}})
