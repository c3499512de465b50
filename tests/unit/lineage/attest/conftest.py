"""One lineage for all tests of attestations, and keys that exist for one run."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera_core.lineage.attest.attested import find_attested
from tessera_core.lineage.attest.folder import write_attestations
from tessera_core.records.files import digest_json
from tests.unit.lineage.attest.built import EXPORT, TIMES, VERSIONS, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two versions and an export of the first."""
    world = World(root=tmp_path / "checkout", environment=digest_json(VERSIONS))
    world.version("1")
    world.export(world.version("2"))
    return world


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def subject(world):
    return find_attested(EXPORT, world.paths)


@pytest.fixture
def signed(world, subject, key) -> Path:
    """A signed folder about the export."""
    return write_attestations(subject, world.paths, TIMES, VERSIONS, key)
