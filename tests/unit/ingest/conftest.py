"""Simulated scenes, written once; tests that damage them take a copy."""

import shutil
from pathlib import Path

import pytest

from tessera_core.simulate import SimulateConfig, write_catalogue

# Both sides of the baseline offset of 2022-01-25, both orbits, and a day with two granules.
FIRST_WEEKS = range(1, 41)


@pytest.fixture(scope="session")
def pristine_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a workspace with 48 x 32 pixels of scenes in ``scenes``; not to be changed."""
    root = tmp_path_factory.mktemp("pristine")
    config = SimulateConfig(path="scenes", seed=7, year=2022, width=48, height=32)
    write_catalogue(config, root / "scenes", days=FIRST_WEEKS)
    return root


@pytest.fixture
def scenes(pristine_scenes: Path, tmp_path: Path) -> Path:
    """A copy of the catalogue folder that may be damaged."""
    return Path(shutil.copytree(pristine_scenes / "scenes", tmp_path / "scenes"))
