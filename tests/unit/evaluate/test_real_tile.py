"""Real measurements: parcels of West Flanders, 2018."""

import json

import pytest

from tessera_core.config import PlatformConfig
from tessera_core.evaluate import stage
from tessera_core.ingest import stage as ingest
from tessera_core.model.artifact import write_artifact
from tessera_core.ports import OFFLINE
from tessera_core.records.paths import Paths
from tessera_core.testing.benchmarks import lay_benchmarks
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels


@pytest.mark.slow
def test_a_forest_tells_real_crops_apart_in_parcels_it_never_saw(tmp_path, repo, shared_data):
    config = PlatformConfig.read(
        repo / "params.yaml",
        [
            "ingest.source=tiles",
            f"ingest.path={shared_data / 'flanders-2018'}",
            "evaluate.max_pixels_per_field=10000",
            "evaluate.labels_per_class=[5]",
            "evaluate.num_draws=2",
        ],
    )
    paths = Paths(root=tmp_path, workspace=tmp_path)
    lay_benchmarks(repo, tmp_path, "crop_type", "canopy_height")
    ingest.run(config, paths, OFFLINE)
    write_artifact(paths.model, tiny_encoder(0), TINY_CONFIG, NORMS, random_pixels(8, 0))

    stage.run(config, paths, OFFLINE)

    evaluation = json.loads((paths.evaluation / "evaluation.json").read_text())
    crops = evaluation["tasks"]["crop_type"]
    # One parcel each of cabbage and potato; the three large classes remain.
    assert set(crops["left_out"]) == {"2130", "5100"}
    assert set(crops["classes"]) == {"1200", "7900", "9120"}
    assert (crops["num_pixels"], crops["num_groups"]) == (2180, 17)
    # Few parcels: folds alone move this score by a tenth.
    assert 0.6 < crops["scores"]["raw/forest"]["accuracy"]["mean"] < 0.85
    assert crops["scores"]["raw/forest"]["balanced_accuracy"]["mean"] > 0.4
    assert evaluation["tasks"]["canopy_height"]["status"] == "skipped"
    assert evaluation["simulated"] is False
