"""How many directions embeddings use, on planted ones."""

import numpy as np
import pytest
import torch

from tessera_core.diagnostics.spectrum import measure_rank, singular_spectrum
from tessera_core.diagnostics.uniformity import measure_uniformity
from tessera_core.errors import InputError
from tessera_core.model.spectrum import rank_me

RNG = np.random.default_rng(1)
ISOTROPIC = RNG.normal(size=(1500, 16)).astype(np.float32)
RANK_1 = np.outer(RNG.normal(size=1500), RNG.normal(size=16)).astype(np.float32)


def test_isotropic_embeddings_use_all_directions_and_a_line_uses_one():
    isotropic, line = measure_rank(ISOTROPIC), measure_rank(RANK_1)

    assert isotropic.value > 0.99
    assert 15.8 < isotropic.more["effective_rank"] <= 16
    assert line.value == pytest.approx(0, abs=1e-4)
    assert line.more["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert line.more["num_directions"] == 1


def test_the_rank_is_the_one_that_training_reports():
    assert measure_rank(ISOTROPIC).value == pytest.approx(
        rank_me(torch.from_numpy(ISOTROPIC)), abs=1e-6
    )


def test_a_spectrum_holds_the_whole_variance_in_falling_order():
    spectrum = singular_spectrum(ISOTROPIC * np.arange(1, 17))

    assert (np.diff(spectrum) <= 0).all()
    assert (spectrum**2).sum() == pytest.approx((ISOTROPIC * np.arange(1, 17)).var(0).sum())


def test_a_common_mean_is_no_direction_of_the_spectrum_but_lowers_the_rank():
    moved = ISOTROPIC + np.float32(100)

    assert measure_rank(moved).value < 0.5
    assert measure_rank(moved).more["effective_rank"] > 15.8


def test_equal_embeddings_have_rank_0_and_no_error():
    reading = measure_rank(np.ones((20, 4), np.float32))

    assert reading.to_dict() == {
        "value": 0.0, "reason": "", "effective_rank": 1.0, "num_directions": 0, "spectrum": [0.0],
    }  # fmt: skip


def test_uniformity_is_0_when_collapsed_and_the_pairs_mean_otherwise():
    unit = ISOTROPIC[:300] / np.linalg.norm(ISOTROPIC[:300], axis=1, keepdims=True)
    square = ((unit[:, None] - unit[None]) ** 2).sum(-1)
    pairs = np.exp(-2 * square[np.triu_indices(300, 1)])

    assert measure_uniformity(ISOTROPIC[:300]).value == pytest.approx(np.log(pairs.mean()))
    assert measure_uniformity(np.ones((600, 4))).value == pytest.approx(0, abs=1e-9)
    assert measure_uniformity(RNG.normal(size=(1500, 128))).value == pytest.approx(-4, abs=0.1)


def test_two_clusters_are_less_uniform_than_no_clusters():
    clusters = np.where(np.arange(1500)[:, None] % 2, 5, -5) + ISOTROPIC

    assert measure_uniformity(clusters).value > measure_uniformity(ISOTROPIC).value + 1


@pytest.mark.parametrize("measure", [measure_rank, measure_uniformity, singular_spectrum])
def test_rows_that_are_not_finite_are_refused_by_number(measure):
    broken = ISOTROPIC[:30].copy()
    broken[7, 2] = np.nan

    with pytest.raises(InputError, match="1 of 30 rows are not finite, the first is row 7"):
        measure(broken)


def test_a_single_row_is_refused():
    with pytest.raises(InputError, match=r"shape \(1, 16\), expected .* 2 rows or more"):
        measure_rank(ISOTROPIC[:1])
