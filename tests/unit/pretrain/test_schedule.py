"""The learning rate: warm-up, cosine, and one multiplier per group of tensors."""

import numpy as np
import pytest
import torch
from torch import nn

from tessera_core.errors import ConfigError
from tessera_core.model.projector import build_projector
from tessera_core.pretrain.loop import build_optimizer
from tessera_core.pretrain.schedule import learning_rate, set_learning_rate
from tessera_core.testing.models import tiny_encoder, tiny_settings

NUM_REFERENCE_CASES = 4
"""Schedules in ``metrics.npz``; 1 and 3 hold the peak for a while."""


def rates(**settings):
    config = tiny_settings(**settings)
    return np.array([learning_rate(step, config) for step in range(config.num_steps)])


def test_warm_up_is_linear_and_ends_at_the_peak():
    found = rates(num_steps=100, warmup_share=0.2, peak_lr=0.5)

    np.testing.assert_allclose(found[:21], 0.5 * np.arange(21) / 20, rtol=1e-12)
    assert found.argmax() == 20
    assert found.max() == 0.5


def test_after_warm_up_the_rate_falls_as_a_cosine_towards_0():
    found = rates(num_steps=100, warmup_share=0.2, peak_lr=0.5)

    assert (np.diff(found[20:]) < 0).all()
    assert found[60] == pytest.approx(0.25)
    assert 0 < found[-1] < 0.001


def test_the_plateau_holds_the_peak_for_its_share_of_steps():
    found = rates(num_steps=100, warmup_share=0.2, plateau_share=0.3, peak_lr=0.5)

    assert (found[20:51] == 0.5).all()
    assert (np.diff(found[50:]) < 0).all()
    assert found[75] == pytest.approx(0.25)


def test_a_plateau_needs_no_warm_up():
    found = rates(num_steps=10, warmup_share=0.0, plateau_share=0.5, peak_lr=0.5)

    assert found[:6].tolist() == [0.5] * 6
    assert found[6] < 0.5


def test_warm_up_and_plateau_are_cut_to_whole_steps_each_by_itself():
    # 1.85 and 7.4 of 37 steps: 1 and 7, although they are 9.25 together.
    found = rates(num_steps=37, warmup_share=0.05, plateau_share=0.2, peak_lr=0.5)

    assert np.flatnonzero(found == 0.5).tolist() == list(range(1, 9))


@pytest.mark.parametrize("share", [0.5, 0.6, 0.99])
def test_warm_up_and_plateau_leave_steps_to_fall(share):
    with pytest.raises(ConfigError, match=rf"warmup_share 0\.5 and plateau_share {share} add up"):
        tiny_settings(warmup_share=0.5, plateau_share=share)


@pytest.mark.parametrize("name", ["warmup_share", "plateau_share"])
@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_lies_between_0_and_1(name, share):
    with pytest.raises(ConfigError, match=rf"pretrain\.{name} is {share}, expected 0\.\.1"):
        tiny_settings(**{name: share})


def test_without_warm_up_the_first_step_has_the_peak_rate():
    assert rates(num_steps=10, warmup_share=0.0, peak_lr=0.5)[0] == 0.5


def test_a_share_of_less_than_one_step_is_no_warm_up():
    assert rates(num_steps=6, warmup_share=0.1, peak_lr=0.5)[0] == 0.5


def test_a_run_of_one_step_has_a_rate():
    assert rates(num_steps=1, warmup_share=0.5, peak_lr=0.5).tolist() == [0.5]


@pytest.fixture
def model():
    projector = build_projector(12, 20, 3)
    return nn.ModuleDict({"encoder": tiny_encoder(1), "projector": projector})


def test_at_the_peak_matrices_and_vectors_get_their_own_multiplier(model):
    config = tiny_settings(
        peak_lr=0.002, warmup_share=0.5, matrix_lr_scale=0.2, vector_lr_scale=0.0048
    )
    optimizer = build_optimizer(model, config)

    set_learning_rate(optimizer, learning_rate(3, config))

    by_tensor = {
        parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        expected = 4e-4 if parameter.ndim > 1 else 9.6e-6
        assert by_tensor[parameter] == pytest.approx(expected), name


def test_biases_and_norms_are_vectors_and_every_tensor_is_in_one_group(model):
    matrices, vectors = (
        {id(parameter) for parameter in group["params"]}
        for group in build_optimizer(model, tiny_settings()).param_groups
    )

    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert matrices.isdisjoint(vectors)
    assert matrices | vectors == names.keys()
    assert all(names[key].endswith("weight") for key in matrices)
    assert {"encoder.reducer.1.weight", "encoder.s2.layers.0.norm1.bias"} <= {
        names[key] for key in vectors
    }
    assert all("bias" in names[key] or names[key].split(".")[-2][-1].isdigit() for key in vectors)


def test_weight_decay_and_betas_are_those_of_the_settings(model):
    optimizer = build_optimizer(model, tiny_settings(weight_decay=0.25))

    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}


@pytest.mark.parametrize("case", range(NUM_REFERENCE_CASES))
def test_the_reference_gives_the_same_rates(shared_data, case):
    stored = np.load(shared_data / "parity" / "metrics.npz")
    num_steps, peak_lr, warmup_share, plateau_share = stored[f"lr.{case}.config"].tolist()
    config = tiny_settings(
        num_steps=int(num_steps),
        peak_lr=peak_lr,
        warmup_share=warmup_share,
        plateau_share=plateau_share,
    )
    optimizer = torch.optim.SGD(
        [
            {"params": [nn.Parameter(torch.zeros(2, 2))], "lr_scale": 0.2},
            {"params": [nn.Parameter(torch.zeros(2))], "lr_scale": 0.0048},
        ]
    )

    found = []
    for step in stored[f"lr.{case}.step"].tolist():
        set_learning_rate(optimizer, learning_rate(step, config))
        found.append([group["lr"] for group in optimizer.param_groups])

    np.testing.assert_allclose(found, stored[f"lr.{case}.lr_weights_biases"], rtol=1e-12)
