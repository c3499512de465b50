"""The artifact: whole, strict, never unpickled, and refused when it is not what it claims."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from tessera_core.domain.bands import S2_NAMES
from tessera_core.domain.embedding import quantise
from tessera_core.errors import ArtifactError
from tessera_core.model.artifact import (
    CANARIES_NAME,
    DEVICE_FACT,
    WEIGHTS_NAME,
    device_class,
    load_artifact,
    write_artifact,
)
from tessera_core.model.embed import embed_pixels
from tessera_core.records.files import read_json, write_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences, write_manifest
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels

CANARIES = random_pixels(8, seed=20)


def write(folder, seed=1):
    return write_artifact(folder, tiny_encoder(seed), TINY_CONFIG, NORMS, CANARIES)


@pytest.fixture
def artifact(tmp_path):
    write(tmp_path / "model")
    return tmp_path / "model"


def reseal(folder: Path) -> None:
    """Make the manifest agree with changed files, as a careful forger would."""
    before = Manifest.read(folder)
    write_manifest(folder, before.kind, before.facts)


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the stored tensors and seal the folder again."""
    weights = load_file(folder / WEIGHTS_NAME)
    change(weights)
    save_file(weights, folder / WEIGHTS_NAME)
    reseal(folder)


def change_json(folder: Path, name: str, change: Callable[[dict], object]) -> None:
    """Change one JSON file and seal the folder again."""
    values = read_json(folder / name)
    change(values)
    (folder / name).write_text(json.dumps(values))
    reseal(folder)


def change_canaries(folder: Path, change: Callable[[dict], object]) -> None:
    """Change the stored canaries and seal the folder again."""
    arrays = load_arrays(folder / CANARIES_NAME)
    change(arrays)
    save_arrays(arrays, folder / CANARIES_NAME)
    reseal(folder)


def test_a_written_model_reads_back_and_embeds_the_same(artifact):
    pixels = random_pixels(20, seed=21)

    model = load_artifact(artifact)

    written = tiny_encoder(1).state_dict()
    assert model.config == TINY_CONFIG
    assert model.norms == NORMS
    assert not model.encoder.training
    assert model.encoder.state_dict().keys() == written.keys()
    assert all(torch.equal(model.encoder.state_dict()[name], written[name]) for name in written)
    embedding = embed_pixels(model, pixels, batch_size=8)
    expected = embed_pixels(replace(model, encoder=tiny_encoder(1)), pixels, batch_size=8)
    assert embedding.tobytes() == expected.tobytes()


def test_an_artifact_holds_these_files_and_no_others(artifact):
    names = sorted(path.name for path in artifact.iterdir())

    assert names == [
        "bands.json", "canaries.safetensors", "config.json", "encoder.safetensors",
        "manifest.json", "norms.json",
    ]  # fmt: skip


def test_the_digest_is_stable_and_covers_everything(tmp_path):
    first, second = write(tmp_path / "first"), write(tmp_path / "second")
    other = write(tmp_path / "other", seed=2)

    assert first.digest == second.digest
    assert load_artifact(tmp_path / "first").digest == first.digest
    assert other.digest != first.digest
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_an_older_artifact_is_replaced_as_a_whole(artifact):
    (artifact / "leftover.txt").write_text("of an older format")

    manifest = write(artifact, seed=2)

    assert load_artifact(artifact).digest == manifest.digest
    assert not (artifact / "leftover.txt").exists()


def test_the_stored_codes_are_those_of_the_canaries(artifact):
    arrays = load_arrays(artifact / CANARIES_NAME)

    codes = quantise(embed_pixels(load_artifact(artifact), CANARIES, batch_size=16)).codes

    np.testing.assert_array_equal(arrays["codes"], codes)


@pytest.mark.parametrize(
    "name", ["encoder.safetensors", "canaries.safetensors", "config.json", "norms.json"]
)
def test_a_missing_file_is_refused(artifact, name):
    (artifact / name).unlink()

    with pytest.raises(ArtifactError, match=name):
        load_artifact(artifact)


def test_a_folder_without_manifest_is_no_artifact(artifact):
    (artifact / MANIFEST_NAME).unlink()

    with pytest.raises(ArtifactError, match=r"is not a model artifact: cannot read .*manifest"):
        load_artifact(artifact)


@pytest.mark.parametrize("name", ["encoder.safetensors", "canaries.safetensors", "norms.json"])
def test_one_changed_byte_is_refused(artifact, name):
    content = bytearray((artifact / name).read_bytes())
    content[-2] ^= 1
    (artifact / name).write_bytes(content)

    with pytest.raises(ArtifactError, match=r"content differs|is not JSON"):
        load_artifact(artifact)


def test_a_file_that_nobody_listed_is_refused(artifact):
    (artifact / "extra.bin").write_bytes(b"0")

    with pytest.raises(ArtifactError, match=r"extra\.bin: not in the manifest; fetch it again"):
        load_artifact(artifact)


@pytest.mark.parametrize("sealed", [False, True])
def test_truncated_weights_are_refused(artifact, sealed):
    path = artifact / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:-40])
    if sealed:
        reseal(artifact)

    with pytest.raises(ArtifactError, match="cannot read weights" if sealed else "differs"):
        load_artifact(artifact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("s1.pool.query.bias"), r"missing s1\.pool\.query\.bias"),
        (lambda weights: weights.update(spare=torch.zeros(2)), "extra spare"),
        (
            lambda weights: weights.update({"s1.pool.query.bias": torch.zeros(3)}),
            r"s1\.pool\.query\.bias has shape \(3,\), expected \(1,\)",
        ),
        (
            lambda weights: weights["reducer.0.bias"].fill_(float("nan")),
            r"reducer\.0\.bias holds NaN",
        ),
        (
            lambda weights: weights["s2.pool.query.weight"].fill_(float("inf")),
            r"s2\.pool\.query\.weight holds NaN or infinity",
        ),
    ],
    ids=["missing", "extra", "misshaped", "NaN", "infinite"],
)
def test_weights_that_do_not_fit_are_refused_by_name(artifact, change, message):
    change_weights(artifact, change)

    with pytest.raises(ArtifactError, match=f"does not fit the encoder: {message}"):
        load_artifact(artifact)


def test_every_fault_of_the_weights_is_named_at_once(artifact):
    def break_twice(weights):
        weights.pop("s1.pool.query.bias")
        weights["spare"] = torch.zeros(2)

    change_weights(artifact, break_twice)

    with pytest.raises(ArtifactError, match=r"missing s1\.pool\.query\.bias; extra spare"):
        load_artifact(artifact)


def test_weights_replaced_together_with_the_manifest_miss_the_canaries(artifact, tmp_path):
    write(tmp_path / "other", seed=2)
    (artifact / WEIGHTS_NAME).write_bytes((tmp_path / "other" / WEIGHTS_NAME).read_bytes())
    reseal(artifact)

    assert find_differences(artifact, Manifest.read(artifact)) == []
    with pytest.raises(ArtifactError, match=r"a canary misses: .* at most 1"):
        load_artifact(artifact)


def test_norms_changed_together_with_the_manifest_miss_the_canaries(artifact):
    def brighten(norms):
        norms["s2"]["mean"] = [mean + 500 for mean in norms["s2"]["mean"]]

    change_json(artifact, "norms.json", brighten)

    with pytest.raises(ArtifactError, match="a canary misses"):
        load_artifact(artifact)


def test_swapped_orbit_norms_miss_the_canaries(artifact):
    def swap(norms):
        norms["s1_ascending"], norms["s1_descending"] = (
            norms["s1_descending"], norms["s1_ascending"],
        )  # fmt: skip

    change_json(artifact, "norms.json", swap)

    with pytest.raises(ArtifactError, match="a canary misses"):
        load_artifact(artifact)


def test_another_number_of_heads_fits_every_tensor_but_misses_the_canaries(artifact):
    change_json(artifact, "config.json", lambda config: config["encoder"]["s2"].update(num_heads=4))

    with pytest.raises(ArtifactError, match="a canary misses"):
        load_artifact(artifact)


def test_another_band_contract_is_refused(artifact):
    change_json(artifact, "bands.json", lambda bands: bands.update(s2=sorted(S2_NAMES)))

    with pytest.raises(ArtifactError, match="trained on another band contract"):
        load_artifact(artifact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["encoder"].pop("dropout"), "is not a model artifact.*dropout"),
        (lambda config: config["encoder"].update(depth=3), "is not a model artifact.*depth"),
        (lambda config: config["encoder"].update(pooling="max"), "'max' is not a valid Pooling"),
        (lambda config: config.update(family="v9"), "family 'v9' is unknown"),
        (lambda config: config.pop("output"), "is not a model artifact.*lacks output"),
        (
            lambda config: config["encoder"]["s1"].update(num_heads=3),
            "model_dim 16 .* divisible by num_heads 3",
        ),
        (lambda config: config["encoder"]["s2"].update(num_layers="2"), "num_layers is '2', exp"),
        (lambda config: config["output"].update(dim=5), "output width 5 and usable widths"),
        (lambda config: config["sampling"].update(rule="all"), "no sampling rule"),
    ],
    ids=[
        "missing",
        "unknown",
        "pooling",
        "family",
        "no output",
        "heads",
        "type",
        "width",
        "rule",
    ],
)
def test_a_config_that_describes_no_encoder_is_refused(artifact, change, message):
    change_json(artifact, "config.json", change)

    with pytest.raises(ArtifactError, match=message):
        load_artifact(artifact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda norms: norms.pop("s1_ascending"), "norms lack 's1_ascending'"),
        (lambda norms: norms["s2"]["std"].__setitem__(0, 0.0), "positive deviations"),
        (lambda norms: norms["s2"]["mean"].__setitem__(0, float("nan")), "must be finite"),
    ],
    ids=["missing", "zero", "NaN"],
)
def test_norms_that_cannot_normalise_are_refused(artifact, change, message):
    change_json(artifact, "norms.json", change)

    with pytest.raises(ArtifactError, match=message):
        load_artifact(artifact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("codes"), "canaries.*codes"),
        (lambda arrays: arrays.update(codes=arrays["codes"][:3]), "canaries"),
        (
            lambda arrays: arrays.update(codes=arrays["codes"][:3], scale=arrays["scale"][:3]),
            r"holds 8 canaries and codes of shape \(3, 12\)",
        ),
        (lambda arrays: arrays["codes"].__setitem__((0, 0), 100), "a canary misses"),
        (lambda arrays: arrays["scale"].__setitem__(0, np.nan), "a canary misses"),
    ],
    ids=["no codes", "codes without scale", "too few", "changed", "NaN"],
)
def test_broken_canaries_are_refused(artifact, change, message):
    change_canaries(artifact, change)

    with pytest.raises(ArtifactError, match=message):
        load_artifact(artifact)


def test_unreadable_canaries_are_refused(artifact):
    (artifact / CANARIES_NAME).write_bytes(b"not safetensors at all")
    reseal(artifact)

    with pytest.raises(ArtifactError, match="cannot read the canaries"):
        load_artifact(artifact)


class TouchWhenUnpickled:
    """Leaves a file behind if anything ever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", [WEIGHTS_NAME, CANARIES_NAME])
def test_a_pickle_in_place_of_tensors_is_refused_and_never_run(artifact, tmp_path, name):
    trap = TouchWhenUnpickled(tmp_path / "unpickled")
    (artifact / name).write_bytes(pickle.dumps(trap))
    reseal(artifact)

    with pytest.raises(ArtifactError, match="cannot read"):
        load_artifact(artifact)

    assert not trap.path.exists()


def test_a_torch_checkpoint_in_place_of_weights_is_refused(artifact):
    torch.save(tiny_encoder(1).state_dict(), artifact / WEIGHTS_NAME)
    reseal(artifact)

    with pytest.raises(ArtifactError, match="cannot read weights"):
        load_artifact(artifact)


def test_another_machines_last_digit_is_tolerated(artifact):
    def nudge(arrays):
        codes = arrays["codes"]
        codes[0, 0] += 1 if codes[0, 0] < 0 else -1
        arrays["scale"] *= np.float32(1.001)

    change_canaries(artifact, nudge)

    assert load_artifact(artifact).digest == Manifest.read(artifact).digest


def recorded_on(folder: Path, device: str) -> None:
    """Say that the canaries' codes were computed on another kind of device."""
    before = Manifest.read(folder)
    assert before.facts[DEVICE_FACT] == device_class(torch.device("cpu"))
    write_manifest(folder, before.kind, {**before.facts, DEVICE_FACT: device})


def nudge(folder: Path, *, steps: int, num_codes: int = 1, scale: float = 1.0) -> None:
    """Move the first codes of the first canary towards 0, and every scale by a factor."""

    def change(arrays):
        codes = arrays["codes"]
        codes[0, :num_codes] -= np.sign(codes[0, :num_codes]) * np.int8(steps)
        arrays["scale"] *= np.float32(scale)

    change_canaries(folder, change)


@pytest.mark.parametrize(
    "change",
    [{"steps": 2}, {"steps": 1, "num_codes": 2}, {"steps": 0, "scale": 1.002}],
    ids=["two steps", "two codes", "0.2 % of scale"],
)
def test_the_same_kind_of_device_must_agree_but_for_one_last_digit(artifact, change):
    nudge(artifact, **change)

    with pytest.raises(ArtifactError, match=r"a canary misses: .* expected at most 1, 100\.00%"):
        load_artifact(artifact)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 3},
        {"steps": 1, "num_codes": 12},
        {"steps": 0, "scale": 1.015},
        {"steps": 0, "scale": 0.985},
        {"steps": 3, "scale": 1.015},
    ],
    ids=["three steps", "every code of a canary", "scale up", "scale down", "both"],
)
def test_another_kind_of_device_may_be_a_little_off(artifact, change):
    nudge(artifact, **change)
    recorded_on(artifact, "cuda-NVIDIA H100")

    assert load_artifact(artifact).digest == Manifest.read(artifact).digest


@pytest.mark.parametrize(
    "change",
    [{"steps": 4}, {"steps": 2, "num_codes": 2}, {"steps": 0, "scale": 1.018}],
    ids=["four steps", "two codes of two steps", "1.8 % of scale"],
)
def test_another_kind_of_device_may_not_be_further_off(artifact, change):
    nudge(artifact, **change)
    recorded_on(artifact, "cuda-NVIDIA H100")

    with pytest.raises(ArtifactError, match=r"a canary misses: .* expected at most 3, 99\.99%"):
        load_artifact(artifact)


def test_an_artifact_that_does_not_say_its_device_is_held_to_the_wider_bounds(artifact):
    nudge(artifact, steps=2)
    before = Manifest.read(artifact)
    facts = {name: value for name, value in before.facts.items() if name != DEVICE_FACT}
    write_manifest(artifact, before.kind, facts)

    assert load_artifact(artifact).config == TINY_CONFIG


def test_canaries_are_needed(tmp_path):
    nothing = CANARIES.take(np.zeros(0, np.int64))

    with pytest.raises(ArtifactError, match="at least one canary"):
        write_artifact(tmp_path / "model", tiny_encoder(1), TINY_CONFIG, NORMS, nothing)

    assert not (tmp_path / "model").exists()


def test_a_failed_write_leaves_the_older_artifact_as_it_was(artifact):
    before = Manifest.read(artifact).digest
    encoder = tiny_encoder(2)
    torch.nn.init.constant_(encoder.reducer[4].bias, float("nan"))

    with pytest.raises(ArtifactError, match="canary"):
        write_artifact(artifact, encoder, TINY_CONFIG, NORMS, CANARIES)

    assert load_artifact(artifact).digest == before
    write_json(artifact / "norms.json", NORMS.to_dict())
    assert sorted(path.name for path in artifact.parent.iterdir()) == ["model"]
