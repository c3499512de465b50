"""The training loop: exact resumption, no broken update, what it reports."""

import copy
import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from tessera_core.domain.norms import BandStats
from tessera_core.errors import ArtifactError, TrainingError
from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.interface import Projections
from tessera_core.model.objectives.sigreg import SIGReg
from tessera_core.model.objectives.vicreg import VICReg
from tessera_core.model.projector import build_projector
from tessera_core.model.spectrum import rank_me
from tessera_core.pretrain.checkpoint import CheckpointPolicy
from tessera_core.pretrain.config import OBJECTIVES
from tessera_core.pretrain.loop import build_optimizer, due, train
from tessera_core.pretrain.measure import embed
from tessera_core.pretrain.step_order import rows_of_step
from tessera_core.pretrain.task import Network, SelfSupervised, build_objective
from tessera_core.testing.models import TINY_SHAPE, tiny_encoder, tiny_settings
from tessera_core.testing.pixels import NORMS, as_feed, make_pixels, random_pixels
from tessera_core.testing.tracker import InMemoryTracker
from tests.unit.pretrain.made import batch_at

PIXELS = random_pixels(60, seed=40)
SETTINGS = tiny_settings(num_steps=6, save_every=6)
EVERY_STEP = replace(SETTINGS, save_every=1)


class Power(Exception):
    """The machine was switched off."""


class CutTracker(InMemoryTracker):
    """Switches the machine off when a step reports."""

    __slots__ = ("last_step",)

    def __init__(self, last_step: int) -> None:
        super().__init__()
        self.last_step = last_step

    def log_metrics(self, step, metrics):
        super().log_metrics(step, metrics)
        if step == self.last_step:
            raise Power


def run(
    folder, settings=SETTINGS, *, pixels=PIXELS, norms=NORMS, tracker=None, probe=None, tile=None
):
    folder.mkdir(exist_ok=True)
    return train(
        settings, TINY_SHAPE, as_feed(pixels, tile), norms,
        checkpoints=CheckpointPolicy(folder=folder, identity={}),
        tracker=tracker or InMemoryTracker(), probe=probe,
    )  # fmt: skip


def weights(encoder):
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def are_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def newest_state(folder):
    """Everything in the newest checkpoint: projector, buffers and moments too."""
    return torch.load(sorted(folder.glob("step-*.pt"))[-1], weights_only=True)


def flat(state):
    moments = [value for parts in state["optimizer"]["state"].values() for value in parts.values()]
    assert len(moments) == 3 * sum("running" not in n and "num_b" not in n for n in state["model"])
    return [*state["model"].values(), *moments]


@contextmanager
def counted_updates():
    """Yield a list that grows with every update that any optimiser makes."""
    updates = []
    hook = register_optimizer_step_post_hook(lambda *_: updates.append(len(updates)))
    try:
        yield updates
    finally:
        hook.remove()


@pytest.fixture
def parts():
    return tiny_encoder(1), build_projector(12, 20, 3), batch_at(0, PIXELS, tiny_settings(seed=1))


def test_the_same_run_twice_gives_the_same_bits(tmp_path):
    one, other = run(tmp_path / "one"), run(tmp_path / "other")

    assert are_equal(weights(one.encoder), weights(other.encoder))
    assert one.history == other.history


def test_another_seed_gives_another_encoder(tmp_path):
    one = run(tmp_path / "one")
    other = run(tmp_path / "other", replace(SETTINGS, seed=4))

    assert not are_equal(weights(one.encoder), weights(other.encoder))


def test_training_changes_every_weight_that_a_loss_can_reach(tmp_path):
    before = weights(tiny_encoder(SETTINGS.seed))

    after = weights(run(tmp_path / "run").encoder)

    # One number added to all scores of a softmax has no effect and no gradient.
    unmoved = {name for name in before if torch.equal(before[name], after[name])}
    assert unmoved <= {"s1.pool.bias", "s2.pool.bias"}


@pytest.mark.parametrize("cut_at", [3, 5], ids=["in the middle", "in the last step"])
def test_stop_and_resume_equals_the_uninterrupted_run_bit_for_bit(tmp_path, cut_at):
    whole = run(tmp_path / "whole", EVERY_STEP)

    with pytest.raises(Power):
        run(tmp_path / "cut", EVERY_STEP, tracker=CutTracker(cut_at))
    torch.manual_seed(999)
    resumed_tracker = InMemoryTracker()
    resumed = run(tmp_path / "cut", EVERY_STEP, tracker=resumed_tracker)

    assert TINY_SHAPE.dropout > 0, "dropout is the randomness that resuming must restore"
    assert [step for step, _ in resumed_tracker.metrics] == list(range(cut_at, 6))
    assert are_equal(weights(whole.encoder), weights(resumed.encoder))
    assert whole.history == resumed.history
    states = [newest_state(tmp_path / name) for name in ("whole", "cut")]
    assert all(torch.equal(*pair) for pair in zip(*map(flat, states), strict=True))
    assert states[0]["next_step"] == states[1]["next_step"] == 6


def test_a_run_cut_between_checkpoints_repeats_the_steps_since_the_last(tmp_path):
    settings = replace(EVERY_STEP, save_every=2)
    whole = run(tmp_path / "whole", settings)

    with pytest.raises(Power):
        run(tmp_path / "cut", settings, tracker=CutTracker(3))
    tracker = InMemoryTracker()
    resumed = run(tmp_path / "cut", settings, tracker=tracker)

    assert tracker.metrics[0][0] == 2
    assert are_equal(weights(whole.encoder), weights(resumed.encoder))
    assert whole.history == resumed.history


def test_a_finished_run_is_read_back_without_training(tmp_path):
    finished = run(tmp_path / "run")
    tracker = InMemoryTracker()

    again = run(tmp_path / "run", tracker=tracker)

    assert tracker.metrics == []
    assert are_equal(weights(finished.encoder), weights(again.encoder))
    assert finished.history == again.history


def test_a_truncated_checkpoint_stops_the_run_instead_of_starting_over(tmp_path):
    run(tmp_path / "run", EVERY_STEP)
    newest = sorted((tmp_path / "run").glob("step-*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])

    with pytest.raises(ArtifactError, match=f"cannot resume from {newest}"):
        run(tmp_path / "run", EVERY_STEP)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(tmp_path):
    # Only d-pixels with descending radar overflow, and only one has it: it comes at step 1.
    poison = rows_of_step(1, 60, SETTINGS)[0]
    descending = (np.arange(60) == poison).astype(np.int64)
    pixels = make_pixels(np.full(60, 9), np.zeros(60), descending, seed=42)
    norms = replace(NORMS, s1_descending=BandStats(mean=(-3e38, -3e38), std=(1.0, 1.0)))

    with (
        counted_updates() as updates,
        pytest.raises(TrainingError, match="loss is nan at step 1; the weights were not updated"),
    ):
        run(tmp_path / "run", EVERY_STEP, pixels=pixels, norms=norms)

    assert len(updates) == 1
    assert newest_state(tmp_path / "run")["next_step"] == 1


def test_an_update_that_breaks_the_weights_is_not_saved(tmp_path):
    with pytest.raises(TrainingError, match=r"RankMe .* fell to nan at step 0"):
        run(tmp_path / "run", replace(EVERY_STEP, peak_lr=1e30))

    assert list((tmp_path / "run").iterdir()) == []


def test_a_broken_update_is_not_saved_at_a_step_that_is_not_logged_either(tmp_path):
    settings = replace(EVERY_STEP, peak_lr=1e30, log_every=4)

    with pytest.raises(TrainingError, match=r"RankMe .* fell to nan at step 0"):
        run(tmp_path / "run", settings)

    assert list((tmp_path / "run").iterdir()) == []


def test_a_collapsed_embedding_stops_the_run_and_is_not_saved(tmp_path):
    one = make_pixels([1], [1], [0], seed=41)
    alike = one.take(np.zeros(32, np.int64))

    with pytest.raises(TrainingError, match=r"RankMe .* at step 0.*collapsed"):
        run(tmp_path / "run", EVERY_STEP, pixels=alike)

    assert list((tmp_path / "run").iterdir()) == []


def test_batches_that_see_a_few_of_many_tiles_stop_the_run(tmp_path):
    in_order = replace(SETTINGS, reshuffle=False, save_every=6)
    tile = np.repeat(np.arange(10, dtype=np.int32), 6)

    with pytest.raises(TrainingError, match=r"step 0 comes from 3 tiles, expected about 8;"):
        run(tmp_path / "sorted", in_order, tile=tile)

    run(tmp_path / "shuffled", replace(in_order, reshuffle=True), tile=tile)


def test_identical_views_of_dpixels_that_could_differ_stop_the_run(tmp_path):
    # With as many clear observations as a view draws, both views hold all of them.
    pixels = make_pixels(np.full(60, 5), np.full(60, 4), np.full(60, 4), seed=43)

    with pytest.raises(TrainingError, match=r"identical at step 0 though 32 d-pixels have several"):
        run(tmp_path / "run", replace(SETTINGS, batch_size=32), pixels=pixels)


def test_the_rank_is_that_of_inference_without_the_noise_of_dropout(parts):
    encoder, _, batch = parts

    found = rank_me(embed(encoder.train(), batch.first))

    with torch.no_grad():
        assert found == rank_me(encoder.eval()(*batch.first))
        noisy = [rank_me(encoder.train()(*batch.first)) for _ in range(8)]
    # One draw of dropout may come close by chance; eight do not.
    assert max(abs(found - rank) for rank in noisy) > 0.01
    assert min(abs(found - rank) for rank in noisy) > 0


def test_the_loss_falls(tmp_path):
    settings = replace(SETTINGS, num_steps=30, batch_size=32, save_every=30)

    history = run(tmp_path / "run", settings).history

    alignment = [record["loss/alignment"] for record in history]
    assert np.mean(alignment[-5:]) < 0.8 * np.mean(alignment[:5])


def test_every_logged_step_has_a_complete_finite_record(tmp_path):
    tracker = InMemoryTracker()

    trained = run(tmp_path / "run", replace(SETTINGS, num_steps=7, log_every=3), tracker=tracker)

    assert [record["step"] for record in trained.history] == [2, 5, 6]
    assert [step for step, _ in tracker.metrics] == [2, 5, 6]
    for record in trained.history:
        assert record.keys() == {
            "step", "loss/total", "loss/alignment", "loss/redundancy", "loss/mix",
            "rank/embedding", "rank/dead_share", "views/overlap", "batch/distinct_tiles", "lr",
        }  # fmt: skip
        assert all(math.isfinite(value) for value in record.values())
    assert tracker.metrics[-1][1].keys() == (trained.history[-1].keys() - {"step"}) | {
        "speed/samples_per_second", "speed/tokens_per_second", "speed/model_flops_utilisation",
        "speed/data_wait_share", "memory/peak_gb",
    }  # fmt: skip


def test_speed_is_reported_but_kept_out_of_the_history(tmp_path):
    history = run(tmp_path / "run").history

    assert not [
        name for record in history for name in record if name.startswith(("speed", "memory"))
    ]


def liveliness(encoder):
    """A score that differs from step to step, and that only the weights decide."""
    return next(iter(encoder.reducer.parameters())).sum().item()


def test_the_probe_runs_when_due_and_leaves_training_as_it_was(tmp_path):
    settings = replace(SETTINGS, probe_every=2)
    watched = run(tmp_path / "watched", settings, probe=liveliness)
    alone = run(tmp_path / "alone")

    probed = [record["step"] for record in watched.history if "probe/accuracy" in record]
    assert probed == [1, 3, 5]
    states = [newest_state(tmp_path / name) for name in ("watched", "alone")]
    assert all(torch.equal(*pair) for pair in zip(*map(flat, states), strict=True))
    unprobed = [
        {name: value for name, value in record.items() if name != "probe/accuracy"}
        for record in watched.history
    ]
    assert unprobed == alone.history


@pytest.mark.parametrize("sign", [1, -1], ids=["highest", "lowest"])
def test_the_encoder_that_the_probe_liked_best_is_handed_out(tmp_path, sign):
    settings = replace(SETTINGS, probe_every=1)
    trained = run(tmp_path / "run", settings, probe=lambda encoder: sign * liveliness(encoder))

    scores = [record["probe/accuracy"] for record in trained.history]
    assert trained.selected.step == int(np.argmax(scores))
    assert trained.selected.score == max(scores) == sign * liveliness(trained.encoder)
    assert are_equal(weights(trained.encoder), trained.selected.encoder)


def test_without_a_probe_the_last_encoder_is_handed_out(tmp_path):
    trained = run(tmp_path / "run")

    last = newest_state(tmp_path / "run")["model"]
    assert trained.selected is None
    for name, value in weights(trained.encoder).items():
        assert torch.equal(value, last[f"encoder.{name}"])


@pytest.mark.parametrize("save_every", [1, 4])
def test_a_choice_survives_a_stop_whenever_it_comes(tmp_path, save_every):
    settings = replace(EVERY_STEP, probe_every=2, save_every=save_every)
    whole = run(tmp_path / "whole", settings, probe=liveliness)

    with pytest.raises(Power):
        run(tmp_path / "cut", settings, probe=liveliness, tracker=CutTracker(4))
    resumed = run(tmp_path / "cut", settings, probe=liveliness)

    assert resumed.history == whole.history
    assert resumed.selected.step == whole.selected.step
    assert are_equal(weights(resumed.encoder), weights(whole.encoder))


@pytest.mark.parametrize("changes", [{"num_loaders": 1}, {"num_loaders": 3}], ids=str)
def test_the_number_of_loaders_changes_no_bit(tmp_path, changes):
    plain, other = run(tmp_path / "plain"), run(tmp_path / "other", replace(SETTINGS, **changes))

    assert are_equal(weights(plain.encoder), weights(other.encoder))
    assert plain.history == other.history


@pytest.mark.parametrize(
    "changes",
    [
        {"micro_batch_size": 7},
        {"precision": "bfloat16"},
        {"views": "disjoint", "modality_dropout": 0.3},
        {"view_lengths": (3, 5)},
        {"fake_quantise": True},
    ],
    ids=str,
)
def test_every_way_to_train_resumes_bit_for_bit(tmp_path, changes):
    settings = replace(EVERY_STEP, num_steps=4, **changes)
    whole = run(tmp_path / "whole", settings)

    with pytest.raises(Power):
        run(tmp_path / "cut", settings, tracker=CutTracker(2))
    resumed = run(tmp_path / "cut", settings)

    assert are_equal(weights(whole.encoder), weights(resumed.encoder))
    assert whole.history == resumed.history
    assert all(math.isfinite(record["loss/total"]) for record in whole.history)


def test_the_trained_encoder_is_handed_back_in_evaluation_mode(tmp_path):
    assert not run(tmp_path / "run").encoder.training


def test_gradients_are_clipped_to_the_global_norm(tmp_path):
    vanishing = replace(SETTINGS, num_steps=1, max_grad_norm=1e-12, weight_decay=0.0)

    clipped = weights(run(tmp_path / "clipped", vanishing).encoder)
    free = weights(run(tmp_path / "free", replace(vanishing, max_grad_norm=1e9)).encoder)

    start = weights(tiny_encoder(SETTINGS.seed))
    moved = [
        max((end[name] - start[name]).abs().max().item() for name in start)
        for end in (clipped, free)
    ]
    # AdamW divides by the root of the gradient plus 1e-8, so a vanishing gradient hardly moves.
    assert moved[0] < 1e-5
    assert moved[1] > 1e-3


def loss_of(parts, objective):
    encoder, projector, batch = parts
    task = SelfSupervised(network=Network(encoder, projector), objective=objective)
    answers = task.network(task.views(batch))
    return task.loss(answers, batch, torch.Generator().manual_seed(2))


def test_batch_norm_sees_each_view_alone(parts):
    encoder, projector, batch = parts
    projector.train()
    objective = BarlowTwins(redundancy_weight=0.005, mix_weight=0.0)

    found = loss_of(parts, objective)

    views = encoder(*batch.first), encoder(*batch.second)
    apart, together = (
        objective(Projections(first_BP=first, second_BP=second), generator=torch.Generator())
        for first, second in (map(projector, views), projector(torch.cat(views)).chunk(2))
    )
    assert found.total.item() == pytest.approx(apart.total.item(), rel=1e-5)
    assert abs(found.total.item() - together.total.item()) > 1e-3
    assert found.parts["mix"].item() == 0


@pytest.mark.parametrize(
    ("settings", "num_passes"),
    [
        ({"mix_weight": 0.0}, 2),
        ({"mix_weight": 1.0}, 3),
        ({"objective": "vicreg", "mix_weight": 1.0}, 2),
        ({"objective": "sigreg", "mix_weight": 1.0}, 2),
    ],
)
def test_a_mix_is_projected_only_for_an_objective_that_uses_it(parts, settings, num_passes):
    _, projector, _ = parts
    projector.train()

    loss_of(parts, build_objective(tiny_settings(**settings)))

    assert projector[1].num_batches_tracked.item() == num_passes


def test_the_loss_reaches_encoder_and_projector(parts):
    encoder, projector, _ = parts
    model = nn.ModuleDict({"encoder": encoder.train(), "projector": projector.train()})
    optimizer = build_optimizer(model, SETTINGS)
    before = copy.deepcopy(model.state_dict())

    loss_of(parts, build_objective(SETTINGS)).total.backward()
    optimizer.step()

    changed = {
        name.split(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"encoder", "projector"}


def test_the_settings_name_the_objective_and_weigh_barlow_twins():
    built = [
        build_objective(tiny_settings(objective=name, redundancy_weight=0.25, mix_weight=0.5))
        for name in OBJECTIVES
    ]

    assert built == [BarlowTwins(redundancy_weight=0.25, mix_weight=0.5), VICReg(), SIGReg()]


@pytest.mark.parametrize(
    ("name", "parts_logged"),
    [
        ("vicreg", {"loss/invariance", "loss/variance", "loss/covariance"}),
        ("sigreg", {"loss/invariance", "loss/gaussian"}),
    ],
)
def test_the_other_objectives_train_and_resume_bit_for_bit(tmp_path, name, parts_logged):
    settings = replace(EVERY_STEP, objective=name)
    whole = run(tmp_path / "whole", settings)

    with pytest.raises(Power):
        run(tmp_path / "cut", settings, tracker=CutTracker(3))
    resumed = run(tmp_path / "cut", settings)

    assert are_equal(weights(whole.encoder), weights(resumed.encoder))
    assert whole.history == resumed.history
    logged = {key for record in whole.history for key in record if key.startswith("loss/")}
    assert logged == parts_logged | {"loss/total"}


@pytest.mark.parametrize(
    ("every", "expected"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (9, [4]), (0, [])]
)
def test_something_is_due_every_so_often_and_at_the_last_step(every, expected):
    assert [step for step in range(5) if due(step, every, 5)] == expected
