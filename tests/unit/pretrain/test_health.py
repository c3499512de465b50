"""What stops a training: broken updates, collapse, identical views, sorted shards."""

import math

import pytest
import torch

from tessera_core.errors import TrainingError
from tessera_core.pretrain.health import (
    ENOUGH_PIXELS,
    MAX_DEAD_SHARE,
    MIN_RANK,
    dead_share,
    require_alive,
    require_finite,
    require_mixed_tiles,
    require_two_views,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_name_and_step(value):
    with pytest.raises(TrainingError, match=rf"gradient is {value} at step 7; .*not updated"):
        require_finite(7, loss=1.0, gradient=value)


def test_finite_values_pass_however_large():
    require_finite(7, loss=1e300, gradient=0.0)


def test_a_collapsed_embedding_is_refused_with_its_rank_and_a_remedy():
    with pytest.raises(TrainingError, match=r"fell to 0\.049 at step 9.*collapsed\. Lower"):
        require_alive(9, 0.049, 0.0)


def test_a_rank_of_nan_is_refused_too():
    with pytest.raises(TrainingError, match="fell to nan at step 9"):
        require_alive(9, math.nan, 0.0)


def test_an_embedding_that_hardly_varies_is_refused_with_the_share_and_a_remedy():
    with pytest.raises(TrainingError, match=r"94% of .* at step 9, expected less than 90%.*Lower"):
        require_alive(9, 0.8, 0.94)


def test_an_embedding_that_uses_enough_directions_passes():
    require_alive(9, MIN_RANK, MAX_DEAD_SHARE)


def test_views_that_are_identical_everywhere_are_refused():
    with pytest.raises(TrainingError, match=r"both views are identical at step 9 though 32 d-"):
        require_two_views(9, 1.0, ENOUGH_PIXELS)


@pytest.mark.parametrize(
    ("overlap", "num_able"), [(0.999, 500), (1.0, ENOUGH_PIXELS - 1)], ids=["almost", "by chance"]
)
def test_views_that_differ_somewhere_or_may_agree_by_chance_pass(overlap, num_able):
    require_two_views(9, overlap, num_able)


def test_a_batch_of_far_too_few_tiles_is_refused_with_the_stage_that_mends_it():
    with pytest.raises(TrainingError, match=r"step 9 comes from 4 tiles, expected about 9;.*shuff"):
        require_mixed_tiles(9, 4, 8.6)


def test_a_batch_of_about_the_expected_tiles_passes():
    require_mixed_tiles(9, 5, 8.6)
    require_mixed_tiles(9, 1, 1.0)


def test_dimensions_are_dead_that_vary_less_than_a_hundredth_of_the_liveliest():
    torch.manual_seed(1)
    noise_BE = torch.randn(400, 5)
    scale_E = torch.tensor([10.0, 1.0, 0.05, 0.0, 0.2])

    assert dead_share(noise_BE * scale_E + 7) == pytest.approx(2 / 5)


def test_a_batch_that_does_not_vary_at_all_is_dead_in_every_dimension():
    assert dead_share(torch.ones(8, 4)) == 1


def test_a_broken_training_exits_as_a_failure_of_the_tool():
    assert TrainingError("").exit_code == 1
