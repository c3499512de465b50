"""The reference of the benchmarks does what the field's own code does."""

import numpy as np
import pytest
import torch

from tests.bench.faithful import v1_0, v1_1, v2
from tests.bench.faithful.models import EncoderV10Early, EncoderV10Qat, EncoderV11, StudentV2
from tests.bench.faithful.tiles import V1_0, V1_1_AWS, V1_1_MPC, Tile, bucket_of, synthetic_tile

TOLERANCE = 2e-5
IGNORED = ("projector.", "segmented_matryoshka_projector.")
TILES = ("mixed", "dense", "noasc", "nosar")

MODELS = {
    "v1_0_early": lambda: EncoderV10Early(16, 2, 4, 64),
    "v1_0_early_noprefix": lambda: EncoderV10Early(16, 2, 4, 64),
    "v1_0_qat": lambda: EncoderV10Qat(16, 2, 4, 64),
    "v1_1": lambda: EncoderV11(16, 2, 4, 64, representation_dim=20, s1=(2, 2, 96)),
    "v1_1_full": lambda: EncoderV11(16, 2, 4, 64, representation_dim=20, s1=(2, 2, 96)),
    "v2_student": lambda: StudentV2(16, 2, 4, 96),
    "v2_student_qknorm": lambda: StudentV2(16, 2, 4, 96, qk_norm=True),
}


@pytest.fixture(scope="module")
def parity(shared_data):
    return shared_data / "parity"


def load(parity, name):
    """Build the model and load its golden checkpoint, strictly."""
    checkpoint = torch.load(parity / f"{name}.pt", weights_only=True)
    names = ("model", "model_state", "model_state_dict")
    state = next(checkpoint[name] for name in names if name in checkpoint)
    state = {key.removeprefix("_orig_mod."): value for key, value in state.items()}
    state = {key: value for key, value in state.items() if not key.startswith(IGNORED)}
    model = MODELS[name]()
    model.load_state_dict(state)
    return model.eval()


def golden_tile(parity, name):
    with np.load(parity / "tiles.npz") as arrays:
        source = "dense" if name == "dense" else "mixed"
        fields = {field: arrays[f"{source}.{field}"] for field in Tile.__dataclass_fields__}
    emptied = {"noasc": ("ascending",), "nosar": ("ascending", "descending")}.get(name, ())
    for orbit in emptied:
        for field in (f"sar_{orbit}", f"sar_{orbit}_doy"):
            fields[field] = fields[field][:0]
    return Tile(**fields)


def codes(embedding, scale_floor, lowest):
    """Return int8 codes (..., D) and scales (...)."""
    scale = np.maximum(np.abs(embedding).max(axis=-1) / np.float32(127), np.float32(scale_floor))
    rounded = np.rint(embedding / scale[..., None])
    return np.clip(rounded, lowest, 127).astype(np.int8), scale


def apart(codes_a, codes_b):
    return np.abs(codes_a.astype(int) - codes_b.astype(int)).max()


class Still(torch.nn.Module):
    """Embeds a pixel as means of its tokens, so that only the data path matters."""

    representation_dim = 14

    def forward(self, s2, s1):
        return torch.cat([s2.mean(1), s1.mean(1)], dim=1)


# -------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("arrays", "checkpoint"),
    [
        ("v1_0_early", "v1_0_early"),
        ("v1_0_early", "v1_0_early_noprefix"),
        ("v1_0_qat", "v1_0_qat"),
        ("v1_1", "v1_1"),
        ("v1_1", "v1_1_full"),
        ("v2_student", "v2_student"),
        ("v2_student_qknorm", "v2_student_qknorm"),
    ],
)
def test_a_golden_checkpoint_gives_the_golden_representations(parity, arrays, checkpoint):
    model = load(parity, checkpoint)
    with np.load(parity / f"{arrays}.npz") as z:
        for i in range(int(z["n_cases"])):
            s2, s1 = torch.from_numpy(z[f"case{i}.s2"]), torch.from_numpy(z[f"case{i}.s1"])
            with torch.no_grad():
                found = model(s2, s1).numpy()
            np.testing.assert_allclose(found, z[f"case{i}.repr"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("model", "num_parameters"),
    [
        (EncoderV10Early, 87_841_922),
        (EncoderV10Qat, 45_828_226),
        (EncoderV11, 57_708_738),
        (StudentV2, 7_112_322),
    ],
)
def test_the_defaults_have_the_size_of_the_release(model, num_parameters):
    with torch.device("meta"):
        assert sum(weights.numel() for weights in model().parameters()) == num_parameters


# --------------------------------------------------------------------------------------- tiles


@pytest.mark.parametrize("source", ["mpc", "aws"])
@pytest.mark.parametrize("name", TILES)
def test_a_raw_tile_gives_the_golden_embeddings_of_v1_1(parity, name, source):
    model = load(parity, "v1_1")
    tile = golden_tile(parity, name)
    norms = {"mpc": V1_1_MPC, "aws": V1_1_AWS}[source]
    found = v1_1.encode_tile(model, tile, norms=norms, batch_size=7)
    with np.load(parity / "v1_1.npz") as z:
        expected = {key: z[f"{name}.{source}.{key}"] for key in ("embedding", "int8", "scale")}
        saved = int(z["save_embedding_dim"])
    np.testing.assert_allclose(found, expected["embedding"], rtol=0, atol=TOLERANCE)
    found_codes, scale = codes(found[..., :saved], 1e-8, -128)
    assert apart(found_codes, expected["int8"]) <= 1
    np.testing.assert_allclose(scale, expected["scale"], rtol=1e-4)


@pytest.mark.parametrize("name", TILES)
def test_the_model_inputs_of_v1_1_are_the_golden_ones(parity, name):
    dataset = v1_1.BucketDataset(golden_tile(parity, name), V1_1_MPC)
    pairs = [dataset[index] for index in range(len(dataset))]
    with np.load(parity / "v1_1.npz") as z:
        for place, sensor in enumerate(("s2", "s1")):
            found = torch.cat([pair[place] for pair in pairs]).numpy()
            expected = z[f"{name}.mpc.inputs_{sensor}"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
            np.testing.assert_array_equal(found[:, -1], expected[:, -1])


@pytest.mark.parametrize("student", ["v2_student", "v2_student_qknorm"])
@pytest.mark.parametrize("name", TILES)
def test_a_raw_tile_gives_the_golden_embeddings_of_a_student(parity, name, student):
    model = load(parity, student)
    found = v2.encode_tile(model, golden_tile(parity, name))
    with np.load(parity / f"{student}.npz") as z:
        compare = z[f"{name}.compare"]
        assert np.isnan(found[~compare]).all()
        expected = z[f"{name}.embedding"]
        np.testing.assert_allclose(found[compare], expected[compare], rtol=0, atol=TOLERANCE)
        for width in (16, 32, 64, 128):
            found_codes, scale = codes(found[compare][:, :width], 1e-12 / 127, -127)
            assert apart(found_codes, z[f"{name}.int8_{width}"][compare]) <= 1
            np.testing.assert_allclose(scale, z[f"{name}.scale_{width}"][compare], rtol=1e-4)


@pytest.mark.parametrize(
    ("prefix", "resample"), [("v1_1.index", v1_1.resample), ("v2.pattern", v2.resample)]
)
def test_buckets_are_filled_with_the_golden_observations(parity, prefix, resample):
    with np.load(parity / "sampling.npz") as z:
        for n in z["n"][z["n"] > 0]:
            for key in (key for key in z.files if key.startswith(f"{prefix}.n{n}")):
                suffix = key.removeprefix(f"{prefix}.n{n}")
                if suffix and not suffix.startswith("_to"):
                    continue
                length = int(suffix.removeprefix("_to")) if suffix else bucket_of(n)
                np.testing.assert_array_equal(resample(n, length), z[key], err_msg=key)


# ---------------------------------------------------------------------------------------- v1.0


def test_a_draw_repeats_nothing_where_there_is_enough():
    chosen = v1_0.draw(np.ones(60, bool), np.random.default_rng(1))
    assert len(set(chosen)) == 40
    assert (np.diff(chosen) > 0).all()


def test_a_draw_repeats_the_few_there_are():
    valid = np.zeros(60, bool)
    valid[[3, 9, 50]] = True
    chosen = v1_0.draw(valid, np.random.default_rng(1))
    assert len(chosen) == 40
    assert set(chosen) <= {3, 9, 50}
    assert (np.diff(chosen) >= 0).all()


def test_a_draw_falls_back_to_every_date_where_none_is_valid():
    chosen = v1_0.draw(np.zeros(50, bool), np.random.default_rng(1))
    assert len(set(chosen)) == 40


def test_a_tile_with_just_forty_observations_leaves_nothing_to_chance():
    tile = synthetic_tile(
        3, 4, num_s2=40, clear_share=1, num_asc=20, num_desc=20, edge_share=0, seed=1
    )
    found = v1_0.encode_tile(Still(), tile, batch_size=5, repeats=2)
    s2 = V1_0.s2.apply(tile.bands).mean(axis=0)
    np.testing.assert_allclose(found[..., :10], s2, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[..., 10], tile.doys.mean(), rtol=1e-5)
    days = np.concatenate([tile.sar_ascending_doy, tile.sar_descending_doy])
    np.testing.assert_allclose(found[..., 13], days.mean(), rtol=1e-5)


def test_a_pixel_without_sentinel_2_values_stays_zero():
    tile = synthetic_tile(2, 3, seed=1)
    tile.bands[:, 1, 2] = 0
    found = v1_0.encode_tile(Still(), tile)
    assert (found[1, 2] == 0).all()
    assert found[1, 1].all()


def test_absent_orbits_become_one_row_of_zeros(parity):
    found = v1_0.encode_tile(Still(), golden_tile(parity, "nosar"))
    assert (found[..., 13] == v1_0.EMPTY_ORBIT_DAY).all()
    np.testing.assert_allclose(found[..., 11:13], V1_0.ascending.apply(np.zeros((6, 5, 2))))


def test_repeats_are_averaged():
    tile = synthetic_tile(2, 3, seed=1)
    once = v1_0.encode_tile(Still(), tile, seed=2)
    often = v1_0.encode_tile(Still(), tile, seed=2, repeats=50)
    clear = (tile.bands * (tile.masks == 1)[..., None]).sum(axis=0) / tile.masks.sum(axis=0)[
        ..., None
    ]
    expected = V1_0.s2.apply(clear)
    assert np.abs(often[..., :10] - expected).max() < np.abs(once[..., :10] - expected).max()


# ------------------------------------------------------------------------------- made-up tiles


def test_a_made_up_tile_has_the_layout_of_a_real_one_and_several_buckets():
    tile = synthetic_tile(24, 20, seed=3)
    dtypes = [getattr(tile, field).dtype.name for field in Tile.__dataclass_fields__]
    assert dtypes == ["uint16", "uint8", "uint16", "int16", "int16", "int16", "int16"]
    assert tile.bands.shape == (60, 24, 20, 10)
    assert abs(tile.masks.mean() - 0.6) < 0.02
    dataset = v1_1.BucketDataset(tile, V1_1_MPC)
    assert len({s2 for s2, _ in dataset.keys}) > 3
    assert {s1 for _, s1 in dataset.keys} == {88, 104}


def test_a_made_up_tile_depends_on_its_seed_alone():
    first, again, other = (synthetic_tile(4, 5, seed=seed) for seed in (1, 1, 2))
    assert first.bands.tobytes() == again.bands.tobytes()
    assert first.bands.tobytes() != other.bands.tobytes()
