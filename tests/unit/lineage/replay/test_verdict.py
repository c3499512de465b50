"""Identical is a matter of bytes; equivalent has a rule for models, exports and scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.domain.embedding import Embedding
from tessera_core.lineage.replay.verdict import (
    deviation,
    different_facts,
    different_files,
    equivalence,
)
from tessera_core.model.artifact import OTHER_DEVICE, SAME_DEVICE, write_artifact
from tessera_core.records.files import FileDigest, write_json
from tessera_core.records.paths import Paths
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels

FILE = FileDigest(path="a", sha256="0" * 64, md5="1" * 32, size=3)


@pytest.fixture
def both(tmp_path):
    """Workspaces with what was recorded and what was made."""
    folders = (tmp_path / "recorded", tmp_path / "made")
    return [Paths(root=folder, workspace=folder) for folder in folders]


def embeddings(num_pixels=200, seed=1):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-100, 101, (num_pixels, 128)).astype(np.int8)
    return Embedding(codes=codes, scale=np.full(num_pixels, 0.5, np.float32))


def moved(embedding, steps, share, seed=2):
    """Codes of which a share is some steps off."""
    rng = np.random.default_rng(seed)
    size = embedding.codes.size
    off = np.zeros(size, np.int8)
    off[rng.permutation(size)[: round(share * size)]] = steps
    off = off.reshape(embedding.codes.shape)
    return replace(embedding, codes=(embedding.codes + off).astype(np.int8))


def write_model(folder, seed=1, nudge=0.0):
    encoder = tiny_encoder(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1 + nudge)
    write_artifact(folder, encoder, TINY_CONFIG, NORMS, random_pixels(4, 2))


def write_tile(paths, embedding):
    folder = paths.exports / "tessera-v1-0" / "npy" / "a" / "2022"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", embedding.codes)
    np.save(folder / "a_scales.npy", embedding.scale)


def test_files_that_differ_are_missing_or_new_are_named():
    recorded = {"a": FILE, "b": FILE, "c": FILE}
    made = {"a": FILE, "b": replace(FILE, sha256="2" * 64), "d": FILE}

    assert different_files(recorded, made) == ("b", "c", "d")


def test_facts_that_differ_are_named():
    assert different_facts({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": None}) == ("fact b",)


@pytest.mark.parametrize(
    ("steps", "share", "same", "other"),
    [
        (0, 0.0, True, True),
        (1, 0.003, True, True),
        (1, 0.05, False, True),
        (3, 0.00005, False, True),
        (2, 0.01, False, False),
        (5, 0.00005, False, False),
    ],
)
def test_the_tolerance_is_narrow_on_the_same_device_and_wide_on_another(steps, share, same, other):
    first = embeddings()

    found = deviation(first, moved(first, steps, share))

    assert (found.within(SAME_DEVICE), found.within(OTHER_DEVICE)) == (same, other)


def test_a_scale_may_drift_a_little():
    first = embeddings()

    found = deviation(first, replace(first, scale=first.scale * np.float32(1.01)))

    assert not found.within(SAME_DEVICE)
    assert found.within(OTHER_DEVICE)


def test_a_pixel_that_lost_its_data_is_never_equivalent():
    first = embeddings()
    scale = first.scale.copy()
    scale[3] = np.nan

    assert not deviation(first, replace(first, scale=scale)).within(OTHER_DEVICE)


def test_pixels_without_data_are_not_compared():
    first = embeddings()
    scale = first.scale.copy()
    scale[3] = np.nan
    codes = first.codes.copy()
    codes[3] = 0
    one = replace(first, scale=scale)

    assert deviation(one, replace(one, codes=codes)).num_changed == 0


def test_a_model_with_weights_a_hair_off_is_equivalent(both):
    write_model(both[0].model)
    write_model(both[1].model, nudge=1e-6)

    is_equivalent, reason = equivalence("pretrain", *both, same_device=False)

    assert is_equivalent, reason
    assert "cosine at least 1.0" in reason or "cosine at least 0.9999" in reason


def test_a_model_trained_otherwise_is_not(both):
    write_model(both[0].model)
    write_model(both[1].model, seed=2)

    is_equivalent, reason = equivalence("pretrain", *both, same_device=False)

    assert not is_equivalent
    assert "codes changed" in reason


def test_a_model_of_another_shape_is_not(both):
    write_model(both[0].model)
    write_model(both[1].model)
    (both[1].model / "config.json").write_text("{}", encoding="utf-8")

    assert equivalence("pretrain", *both, same_device=False) == (
        False,
        "the model's config.json is another",
    )


def test_an_export_with_a_few_codes_a_step_off_is_equivalent_on_another_device(both):
    first = embeddings()
    write_tile(both[0], first)
    write_tile(both[1], moved(first, 1, 0.02))

    assert equivalence("export", *both, same_device=False)[0]
    assert not equivalence("export", *both, same_device=True)[0]


def test_an_export_without_a_tile_is_not_equivalent(both):
    write_tile(both[0], embeddings())

    is_equivalent, reason = equivalence("export", *both, same_device=False)

    assert not is_equivalent
    assert "a.npy" in reason


@pytest.mark.parametrize(
    ("made", "same_device", "expected"),
    [
        ({"score": 0.503, "num": 3}, False, True),
        ({"score": 0.503, "num": 3}, True, False),
        ({"score": 0.6, "num": 3}, False, False),
        ({"score": 0.5, "num": 4}, False, False),
        ({"score": 0.5}, False, False),
    ],
)
def test_scores_may_move_a_little_on_another_device_and_counts_never(
    both, made, same_device, expected
):
    for paths, values in zip(both, ({"score": 0.5, "num": 3}, made), strict=True):
        write_json(paths.evaluation / "evaluation.json", {"tasks": {"crop_type": [values]}})

    assert equivalence("evaluate", *both, same_device=same_device)[0] is expected


@pytest.mark.parametrize("stage", ["ingest", "quality", "shuffle"])
def test_data_is_identical_or_differs(both, stage):
    assert equivalence(stage, *both, same_device=False) == (False, "")
