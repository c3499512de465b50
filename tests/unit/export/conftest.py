"""Exports to look at and to damage."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tessera_core.domain.grid import TileGrid
from tessera_core.export.tiles import ExportedTile
from tests.unit.export.built import GRIDS, build


@pytest.fixture
def make_export(tmp_path: Path) -> Callable[..., tuple[Path, list[ExportedTile]]]:
    """A function that builds an export from grids by tile name and year."""

    def make(
        grids: Mapping[tuple[str, int], TileGrid] = GRIDS, name: str = "made"
    ) -> tuple[Path, list[ExportedTile]]:
        folder = tmp_path / name
        folder.mkdir()
        return folder, build(folder, grids)

    return make


@pytest.fixture(scope="session")
def pristine_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of all of ``GRIDS``; not to be changed."""
    folder = tmp_path_factory.mktemp("exports") / "export"
    folder.mkdir()
    build(folder, GRIDS)
    return folder


@pytest.fixture
def export(pristine_export: Path, tmp_path: Path) -> Path:
    """A copy of it that may be damaged."""
    return Path(shutil.copytree(pristine_export, tmp_path / "export"))
