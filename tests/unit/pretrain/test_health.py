"""Broken updates stop before they reach the weights."""

import math

import pytest

from tessera_core.errors import TrainingError
from tessera_core.pretrain.health import MIN_RANK, require_finite, require_rank


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_name_and_step(value):
    with pytest.raises(TrainingError, match=rf"gradient is {value} at step 7; .*not updated"):
        require_finite(7, loss=1.0, gradient=value)


def test_finite_values_pass_however_large():
    require_finite(7, loss=1e300, gradient=0.0)


def test_a_collapsed_embedding_is_refused_with_its_rank_and_a_remedy():
    with pytest.raises(TrainingError, match=r"fell to 0\.049 at step 9.*collapsed\. Lower"):
        require_rank(9, 0.049)


def test_a_rank_of_nan_is_refused_too():
    with pytest.raises(TrainingError, match="fell to nan at step 9"):
        require_rank(9, math.nan)


def test_an_embedding_that_uses_enough_directions_passes():
    require_rank(9, MIN_RANK)


def test_a_broken_training_exits_as_a_failure_of_the_tool():
    assert TrainingError("").exit_code == 1
