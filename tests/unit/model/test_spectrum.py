"""RankMe: how many directions an embedding uses."""

import numpy as np
import pytest
import torch

from tessera_core.model.spectrum import rank_me

MATRICES = (
    "tall", "wide", "rank3", "offset", "decay", "orthonormal", "constant_row", "zeros", "square",
)  # fmt: skip


def random_rows(num, width, seed=1):
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed))


def test_equal_singular_values_use_all_directions():
    orthonormal, _ = torch.linalg.qr(random_rows(40, 8))

    assert rank_me(orthonormal) == pytest.approx(1, abs=1e-5)


def test_one_repeated_row_uses_a_single_direction():
    collapsed = random_rows(1, 8).expand(40, 8)

    assert rank_me(collapsed) == pytest.approx(0, abs=1e-4)


def test_an_embedding_of_zeros_has_rank_0_and_no_nan():
    assert rank_me(torch.zeros(40, 8)) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_embedding_that_is_not_finite_has_no_rank(value):
    broken = random_rows(40, 8)
    broken[3, 2] = value

    assert np.isnan(rank_me(broken))


def test_equal_directions_count_by_their_logarithm():
    two_of_eight = torch.zeros(40, 8)
    two_of_eight[0, 0] = two_of_eight[1, 1] = 5

    assert rank_me(two_of_eight) == pytest.approx(np.log(2) / np.log(8), abs=1e-5)


def test_scale_and_order_of_rows_do_not_matter():
    rows = random_rows(40, 8)

    moved = rank_me(1000 * rows[torch.randperm(40, generator=torch.Generator().manual_seed(2))])

    assert moved == pytest.approx(rank_me(rows), abs=1e-5)


def test_half_precision_is_widened_before_anything_is_computed():
    rows = random_rows(40, 8).half()

    assert rank_me(rows) == rank_me(rows.float())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_the_reference_gives_the_same_rank(shared_data, matrix, dtype):
    stored = np.load(shared_data / "parity" / "metrics.npz")
    values = torch.from_numpy(stored[f"rankme.{matrix}.input"]).to(getattr(torch, dtype))

    found = rank_me(values)

    assert found == pytest.approx(float(stored[f"rankme.{matrix}.{dtype}"]), abs=1e-5)
