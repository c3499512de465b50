"""What training asks of an encoder: agreement, agreement behind int8, or a teacher's answer."""

import numpy as np
import pytest
import torch

from tessera_core.model.embed import embed_pixels
from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.distillation import MatryoshkaHeads, distillation_loss
from tessera_core.model.projector import build_projector
from tessera_core.pretrain.task import Distillation, Network, SelfSupervised, build_task
from tessera_core.testing.models import TINY_SHAPE, tiny_encoder, tiny_model, tiny_settings
from tessera_core.testing.pixels import random_pixels
from tests.unit.pretrain.made import batch_at

PIXELS = random_pixels(60, seed=40)
OBJECTIVE = BarlowTwins(redundancy_weight=0.005, mix_weight=1.0)


@pytest.fixture
def batch():
    return batch_at(0, PIXELS, tiny_settings(seed=1))


def loss_of(task, batch):
    answers = task.network(task.views(batch))
    return task.loss(answers, batch, torch.Generator().manual_seed(2))


def taught(encoder, teacher):
    """A task of distillation for this encoder, in evaluation mode so that dropout rests."""
    task = build_task(tiny_settings(), TINY_SHAPE, PIXELS, teacher)
    task.network.encoder.load_state_dict(encoder.state_dict())
    task.network.eval()
    return task


def test_a_teacher_makes_the_task_distillation_and_nothing_else_does():
    alone = build_task(tiny_settings(), TINY_SHAPE, PIXELS, None)
    taught = build_task(tiny_settings(), TINY_SHAPE, PIXELS, tiny_model(seed=5))

    assert isinstance(alone, SelfSupervised)
    assert isinstance(taught, Distillation)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"mix_weight": 1.0}, 3), ({"mix_weight": 0.0}, 2), ({"objective": "vicreg"}, 2)],
)
def test_the_network_sees_as_many_views_as_the_task_says(batch, changes, expected):
    task = build_task(tiny_settings(**changes), TINY_SHAPE, PIXELS, None)

    assert task.num_views == len(task.views(batch)) == expected
    assert len(task.network(task.views(batch))) == expected


def test_distillation_looks_at_one_view(batch):
    task = build_task(tiny_settings(), TINY_SHAPE, PIXELS, tiny_model(seed=5))

    assert task.num_views == len(task.views(batch)) == 1


def test_settings_reach_the_network():
    settings = tiny_settings(fake_quantise=True, micro_batch_size=4)

    network = build_task(settings, TINY_SHAPE, PIXELS, None).network

    assert network.behind_int8
    assert network.micro_batch_size == 4


def test_fake_int8_changes_what_the_projector_sees_but_leaves_every_gradient_alive(batch):
    torch.manual_seed(1)
    encoder, projector = tiny_encoder(1), build_projector(12, 20, 3).eval()
    losses, gradients = [], []

    for behind_int8 in (False, True):
        network = Network(encoder, projector, behind_int8=behind_int8)
        encoder.zero_grad()
        loss = loss_of(SelfSupervised(network=network, objective=OBJECTIVE), batch).total
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([value.grad.flatten() for value in encoder.parameters()]))

    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9


def test_a_heads_loss_is_the_share_of_the_teachers_variance_that_a_prefix_leaves(batch):
    torch.manual_seed(3)
    heads = MatryoshkaHeads((3, 12), teacher_dim=7)
    embedding, target = torch.randn(16, 12), 5 + 4 * torch.randn(16, 7)

    loss = distillation_loss(heads(embedding), target, heads.dims)

    by_hand = []
    for dim, head in zip((3, 12), heads.heads, strict=True):
        weight, bias = (value.detach().numpy() for value in head.parameters())
        rebuilt = embedding[:, :dim].numpy() @ weight.T + bias
        residual = ((rebuilt - target.numpy()) ** 2).mean()
        by_hand.append(residual / ((target.numpy() - target.numpy().mean(0)) ** 2).mean())
    found = [part.item() for part in loss.parts.values()]
    assert list(loss.parts) == ["prefix_3", "prefix_12"]
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)
    assert loss.total.item() == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_a_prefix_sees_only_its_own_values():
    heads = MatryoshkaHeads((3, 12), teacher_dim=7)
    embedding = torch.randn(16, 12, requires_grad=True)

    loss = distillation_loss(heads(embedding), torch.randn(16, 7), heads.dims)
    loss.parts["prefix_3"].backward()

    assert embedding.grad[:, :3].abs().min() > 0
    assert not embedding.grad[:, 3:].any()


def test_a_teacher_that_says_the_same_of_all_dpixels_gives_a_finite_loss():
    heads = MatryoshkaHeads((12,), teacher_dim=7)

    loss = distillation_loss(heads(torch.randn(16, 12)), torch.ones(16, 7), heads.dims)

    assert torch.isfinite(loss.total)


def test_the_target_is_what_the_teacher_says_of_the_same_dpixels(batch):
    teacher, encoder = tiny_model(seed=5), tiny_encoder(1)
    task = taught(encoder, teacher)

    loss = loss_of(task, batch)

    target = torch.from_numpy(embed_pixels(teacher, PIXELS.take(batch.rows), batch_size=16))
    heads = task.network.head
    expected = distillation_loss(heads(encoder(*batch.first)), target, heads.dims)
    assert loss.total.item() == expected.total.item()


def test_the_teacher_is_not_trained(batch):
    teacher = tiny_model(seed=5)
    before = [value.clone() for value in teacher.encoder.parameters()]
    task = taught(tiny_encoder(1), teacher)

    loss_of(task, batch).total.backward()

    assert all(value.grad is None for value in teacher.encoder.parameters())
    after = teacher.encoder.parameters()
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert all(value.grad is not None for value in task.network.parameters())
    assert not any(name.startswith("teacher") for name in task.network.state_dict())


def test_a_student_learns_to_say_what_its_teacher_says(batch):
    torch.manual_seed(4)
    task = taught(tiny_encoder(1), tiny_model(seed=5))
    task.network.train()
    optimizer = torch.optim.AdamW(task.network.parameters(), lr=3e-3)

    losses = []
    for _ in range(60):
        loss = loss_of(task, batch).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
