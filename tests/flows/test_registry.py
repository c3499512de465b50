"""MLflow as the registry: versions, aliases, and a pyfunc that computes what the core does."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from flows.adapters.registry import MlflowRegistry, _example
from flows.adapters.tracking import open_run
from flows.settings import Settings
from tessera_core.domain.embedding import quantise
from tessera_core.model.artifact import load_artifact, read_canaries
from tessera_core.model.embed import embed_pixels
from tessera_core.records.manifest import Manifest

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def registry(settings: Settings) -> MlflowRegistry:
    with open_run(settings, "key", "run") as tracker:
        return MlflowRegistry(settings, "tessera-test", tracker.run_id)


def test_an_empty_registry_has_neither_champion_nor_version(registry: MlflowRegistry) -> None:
    assert registry.champion() is None
    assert registry.find("digest") is None


def test_a_registered_version_is_found_served_and_fetched_byte_for_byte(
    registry: MlflowRegistry, artifact: Path, tmp_path: Path
) -> None:
    digest = Manifest.read(artifact).digest
    tags = {"tessera.model_digest": digest, "tessera.receipt.evaluate": "receipt"}

    version = registry.register(artifact, tags)
    registry.set_alias("champion", version.version, {"tessera.reasons": "first"})
    registry.fetch(version.version, tmp_path / "fetched")

    assert version.version == "1"
    assert registry.find(digest) == registry.champion() == version
    assert version.receipt == "receipt"
    assert Manifest.read(tmp_path / "fetched").digest == digest
    assert load_artifact(tmp_path / "fetched").digest == digest


def test_the_pyfunc_gives_the_codes_that_the_core_gives(
    registry: MlflowRegistry, artifact: Path, settings: Settings
) -> None:
    version = registry.register(artifact, {"tessera.model_digest": "digest"})
    pixels = read_canaries(artifact).take(np.arange(2))
    expected = quantise(embed_pixels(load_artifact(artifact), pixels, batch_size=2))

    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/tessera-test/{version.version}")
    found = model.predict(_example(artifact))

    np.testing.assert_array_equal(np.array(found["codes"].tolist()), expected.codes)
    np.testing.assert_allclose(found["scale"], expected.scale, rtol=1e-6)


def test_a_new_champion_no_longer_challenges(registry: MlflowRegistry, artifact: Path) -> None:
    first = registry.register(artifact, {"tessera.model_digest": "a"})
    second = registry.register(artifact, {"tessera.model_digest": "b"})
    registry.set_alias("champion", first.version, {})
    registry.set_alias("challenger", second.version, {})

    registry.set_alias("champion", second.version, {})

    champion = registry.champion()
    assert champion is not None
    assert champion.version == second.version
    aliases = registry._client.get_registered_model("tessera-test").aliases
    assert "challenger" not in aliases
