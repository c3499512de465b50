import json
from dataclasses import replace

import numpy as np
import pytest

from tessera_core.evaluate.tasks.canopy_height import score_canopy_height
from tests.unit.evaluate.planted import SETTINGS, make_labelled, uninformative

HEIGHTS = np.random.default_rng(7).uniform(2, 30, 60)


def telling(labelled):
    """Return features of which the encoder's first is the height itself, with a little noise."""
    features = uninformative(labelled)
    encoder = features.encoder.copy()
    encoder[:, 0] += 2 * labelled.truth
    return replace(features, encoder=encoder)


def test_planted_heights_are_found_in_blocks_never_seen():
    result = score_canopy_height(make_labelled(HEIGHTS), telling, SETTINGS)

    scores = result.report["scores"]
    assert set(scores) == {"encoder/ridge", "random_encoder/ridge", "raw_forest", "raw/ridge"}
    assert scores["encoder/ridge"]["r2"]["mean"] > 0.9
    assert scores["encoder/ridge"]["global_rmse_m"]["mean"] < 3
    assert scores["random_encoder/ridge"]["r2"]["high"] < 0.2
    for difference in result.report["differences"].values():
        assert difference["r2"]["low"] > 0.5
        assert difference["global_rmse_m"]["high"] < 0


def test_the_report_names_its_blocks_and_is_plain_json():
    report = score_canopy_height(make_labelled(HEIGHTS), telling, SETTINGS).report

    assert set(report) == {
        "status", "reason", "num_pixels", "num_blocks", "block_size_m", "scores", "differences",
    }  # fmt: skip
    assert (report["num_blocks"], report["block_size_m"]) == (60, 160)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("heights", "reason"),
    [
        ([], "no d-pixel has a canopy height"),
        ([5.0, 9.0], "heights lie in 2 blocks of 160 m, fewer than 3 folds"),
        ([4.0] * 9, "all heights are 4 m"),
    ],
)
def test_too_little_truth_skips_the_task_with_a_reason(heights, reason):
    result = score_canopy_height(make_labelled(heights), telling, SETTINGS)

    assert result.report["status"] == "skipped"
    assert reason in result.report["reason"]
    assert result.report["scores"] == {}
