"""Two models on the same d-pixels, their comparison on disk and its map read back."""

import json

import numpy as np
import pytest

from tessera_core.compare.bridge.compare import (
    canary_fault,
    compare_models,
    describe_model,
    time_ratio,
)
from tessera_core.compare.bridge.maps import apply_bridge
from tessera_core.compare.bridge.stored import (
    BRIDGE_NAME,
    COMPARISON_NAME,
    read_bridge,
    read_comparison,
    write_comparison,
)
from tessera_core.compare.bridge.verdict import Verdict
from tessera_core.errors import InputError, RecordError
from tessera_core.model.artifact import load_artifact, write_artifact
from tessera_core.model.embed import embed_pixels
from tessera_core.records.files import digest_tree
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder, tiny_model
from tessera_core.testing.pixels import NORMS, make_pixels, random_pixels

NUM = 160
PIXELS = random_pixels(NUM, seed=4)
GROUP = np.arange(NUM) // 4
CLASS = GROUP % 2


def turned(encoder):
    """The same network with its last layer's outputs in reverse order."""
    for value in encoder.reducer[-1].parameters():
        value.data = value.data.flip(0)
    return encoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two written models; the second is the first with its dimensions in reverse."""
    root = tmp_path_factory.mktemp("models")
    encoders = {"old": tiny_encoder(1), "new": turned(tiny_encoder(1))}
    for name, encoder in encoders.items():
        write_artifact(root / name, encoder, TINY_CONFIG, NORMS, PIXELS.take(np.arange(4)))
    return root


@pytest.fixture(scope="module")
def models(folders):
    return load_artifact(folders / "old"), load_artifact(folders / "new")


@pytest.fixture(scope="module")
def compared(models):
    return compare_models(*models, PIXELS, GROUP, CLASS, 1)


@pytest.fixture
def folder(compared, tmp_path):
    write_comparison(tmp_path / "comparison", *compared)
    return tmp_path / "comparison"


def test_a_version_with_its_dimensions_in_another_order_is_bridgeable(compared):
    comparison, bridge = compared

    assert bridge.verdict is Verdict.BRIDGEABLE
    assert bridge.error < 1e-5
    assert bridge.cka == pytest.approx(1, abs=1e-5)
    assert comparison["bridge"]["num_anchors"] == NUM
    assert comparison["bridge"]["left_out"] == 0
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison


def test_a_model_is_described_by_what_it_costs(models):
    told = describe_model(models[0])

    assert told["model_digest"] == models[0].digest
    assert told["num_parameters"] == sum(part.numel() for part in tiny_encoder(1).parameters())
    assert told["flops_per_pixel"] > told["num_parameters"]
    assert told["canaries_pass"] is True
    assert describe_model(tiny_model(1))["canaries_pass"] is None


def test_all_but_the_time_follows_from_the_arguments(models, compared):
    again, _ = compare_models(*models, PIXELS, GROUP, CLASS, 1)

    first = dict(compared[0])
    assert again.pop("time_ratio").keys() == first.pop("time_ratio").keys()
    assert again == first


def test_a_time_ratio_is_a_median_within_the_range_of_its_pairs(models):
    ratio = time_ratio(*models, PIXELS.take(np.arange(20)), num_pairs=5)

    assert (ratio["num_pairs"], ratio["num_pixels"]) == (5, 20)
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]


def test_d_pixels_that_one_model_cannot_embed_are_left_out(models):
    optical = np.full(NUM, 5)
    optical[:7] = 0
    pixels = make_pixels(optical, np.zeros(NUM), np.zeros(NUM), seed=1)

    comparison, _ = compare_models(*models, pixels, GROUP, None, 1)

    assert comparison["bridge"]["left_out"] == 7
    assert comparison["bridge"]["num_anchors"] == NUM - 7
    assert comparison["bridge"]["probe_transfer"] is None


def test_what_the_raw_series_would_do_stands_beside_the_bridge(models, compared):
    pixels = random_pixels(700, seed=5)

    comparison, _ = compare_models(*models, pixels, np.arange(700) // 4, None, 1)

    assert comparison["bridge"]["error"] < 0.1 < comparison["bridge"]["raw_error"]
    assert compared[0]["bridge"]["raw_error"] is None


def test_groups_of_other_d_pixels_are_refused(models):
    with pytest.raises(InputError, match=r"number \[160, 159, 160\]; expected equal"):
        compare_models(*models, PIXELS, GROUP[1:], CLASS, 1)


def test_a_comparison_on_disk_is_sealed_by_its_manifest(folder, compared):
    manifest = json.loads((folder / "manifest.json").read_text())

    assert read_comparison(folder) == compared[0]
    assert [entry["path"] for entry in manifest["files"]] == [BRIDGE_NAME, COMPARISON_NAME]
    assert manifest["kind"] == "comparison"
    assert manifest["facts"]["verdict"] == "bridgeable"
    assert manifest["facts"]["champion"] == compared[0]["champion"]["model_digest"]


def test_a_stored_map_takes_new_embeddings_to_where_old_ones_are(folder, models):
    old, new = (embed_pixels(model, PIXELS, batch_size=64) for model in models)

    bridge = read_bridge(folder, champion=models[0].digest, challenger=models[1].digest)

    assert np.abs(new - old).max() > 0.5
    np.testing.assert_allclose(apply_bridge(bridge, new), old, atol=1e-4)


def test_a_bridge_of_other_models_is_refused(folder, models):
    old, new = (model.digest for model in models)

    with pytest.raises(RecordError, match=r"was made for champion .* not"):
        read_bridge(folder, champion=new, challenger=old)
    with pytest.raises(RecordError, match="was made for challenger"):
        read_bridge(folder, champion=old, challenger="f" * 64)


@pytest.mark.parametrize("name", [BRIDGE_NAME, COMPARISON_NAME])
def test_a_comparison_that_was_changed_is_refused(folder, models, name):
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(RecordError, match=f"{name}: content differs"):
        read_bridge(folder, champion=models[0].digest, challenger=models[1].digest)


def test_incompatible_versions_are_stored_without_a_map(tmp_path):
    models = tiny_model(1), tiny_model(2)
    pixels = random_pixels(NUM, seed=9)
    comparison, bridge = compare_models(*models, pixels, GROUP, None, 1)

    write_comparison(tmp_path / "out", comparison, bridge)

    assert bridge.verdict is Verdict.INCOMPATIBLE
    assert not (tmp_path / "out" / BRIDGE_NAME).exists()
    with pytest.raises(RecordError, match=r"holds no map: .* Keep embeddings of the two"):
        read_bridge(tmp_path / "out", champion="", challenger="")


def test_another_kind_of_folder_is_no_comparison(folders):
    with pytest.raises(RecordError, match="is of kind 'model', expected 'comparison'"):
        read_comparison(folders / "old")


def test_canaries_that_miss_are_told_without_an_exception(folders, tmp_path):
    write_artifact(tmp_path / "m", tiny_encoder(1), TINY_CONFIG, NORMS, PIXELS.take(np.arange(4)))
    weights = folders / "new" / "encoder.safetensors"
    (tmp_path / "m" / "encoder.safetensors").write_bytes(weights.read_bytes())

    assert canary_fault(folders / "old") == ""
    assert "content differs" in canary_fault(tmp_path / "m")
    assert len(digest_tree(tmp_path / "m", tmp_path)) == 6
