"""The projector: the released shape, and nothing of it after training."""

import pytest
import torch
from torch import nn

from tessera_core.model.encoder import count_parameters
from tessera_core.model.projector import build_projector


def kinds(projector):
    return [type(layer).__name__ for layer in projector]


def test_every_linear_but_the_last_is_followed_by_batch_norm_and_relu():
    projector = build_projector(12, 20, 3)

    assert kinds(projector) == [
        "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear",
    ]  # fmt: skip


def test_the_first_linear_reads_embeddings_and_all_others_keep_the_width():
    projector = build_projector(12, 20, 4)

    sizes = [(p.in_features, p.out_features) for p in projector if isinstance(p, nn.Linear)]

    assert sizes == [(12, 20), (20, 20), (20, 20), (20, 20)]


def test_one_layer_is_a_plain_linear():
    assert kinds(build_projector(12, 20, 1)) == ["Linear"]


@pytest.mark.parametrize(("width", "millions"), [(4096, 84.5), (16384, 1345.0)])
def test_six_layers_have_the_size_of_the_released_projectors(width, millions):
    with torch.device("meta"):
        projector = build_projector(128, width, 6)

    assert count_parameters(projector) / 1e6 == pytest.approx(millions, rel=1e-3)


def test_a_batch_is_projected_row_by_row_only_in_evaluation_mode():
    generator = torch.Generator().manual_seed(1)
    projector = build_projector(12, 20, 3)
    embedding = torch.randn(6, 12, generator=generator)

    with torch.no_grad():
        in_training = projector.train()(embedding)[:3] - projector.train()(embedding[:3])
        in_evaluation = projector.eval()(embedding)[:3] - projector.eval()(embedding[:3])

    assert in_training.abs().max() > 1e-2
    assert in_evaluation.abs().max() < 1e-6
