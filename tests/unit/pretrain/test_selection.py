"""Which encoder is handed out: the probe's favourite, found beside training and without a trace."""

import threading

import pytest
import torch

from tessera_core.pretrain.checkpoint import Progress
from tessera_core.pretrain.selection import METRIC, Selection
from tessera_core.testing.models import tiny_encoder
from tessera_core.testing.tracker import InMemoryTracker

PATIENCE_S = 20.0


def progress_of(num_steps):
    return Progress(history=[{"step": step, "loss/total": 1.0} for step in range(num_steps)])


def weights_at(step):
    return tiny_encoder(step).state_dict()


def select(scores, *, progress=None, tracker=None):
    """Probe the encoders of steps 0, 1, ... that get these scores; return the progress."""
    told = iter(scores)
    progress = progress or progress_of(len(scores))
    with Selection(probe=lambda _: next(told), scratch=tiny_encoder(99)) as selection:
        for step in range(len(scores)):
            selection.submit(step, weights_at(step))
        selection.settle(progress, tracker or InMemoryTracker(), wait=True)
    return progress


def are_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_encoder_with_the_highest_score_is_the_best_with_its_step_and_weights():
    best = select([0.2, 0.7, 0.5]).best

    assert (best.step, best.score) == (1, 0.7)
    assert are_equal(best.encoder, weights_at(1))


def test_of_equal_scores_the_earlier_encoder_stays():
    assert select([0.2, 0.7, 0.7, 0.7]).best.step == 1


def test_a_later_encoder_must_beat_what_was_best_before_a_resumption():
    progress = select([0.6])

    assert select([0.6, 0.5], progress=progress_with(progress)).best.step == 0
    assert select([0.6, 0.61], progress=progress_with(progress)).best.step == 1


def progress_with(progress):
    return Progress(history=progress_of(2).history, best=progress.best)


def test_every_score_lands_in_the_record_of_its_step_and_is_reported_there():
    tracker = InMemoryTracker()

    progress = select([0.2, 0.7, 0.5], tracker=tracker)

    assert [record[METRIC] for record in progress.history] == [0.2, 0.7, 0.5]
    assert tracker.metrics == [(0, {METRIC: 0.2}), (1, {METRIC: 0.7}), (2, {METRIC: 0.5})]


def test_a_record_of_a_step_that_is_not_probed_gets_no_score():
    progress = progress_of(3)
    with Selection(probe=lambda _: 0.5, scratch=tiny_encoder(99)) as selection:
        selection.submit(1, weights_at(1))
        selection.settle(progress, InMemoryTracker(), wait=True)

    assert [METRIC in record for record in progress.history] == [False, True, False]


def test_without_waiting_training_goes_on_and_the_score_comes_later():
    opened, progress = threading.Event(), progress_of(1)

    def slow(_):
        assert opened.wait(PATIENCE_S)
        return 0.5

    with Selection(probe=slow, scratch=tiny_encoder(99)) as selection:
        selection.submit(0, weights_at(0))
        selection.settle(progress, InMemoryTracker(), wait=False)
        early = (progress.best, METRIC in progress.history[0])
        opened.set()
        selection.settle(progress, InMemoryTracker(), wait=True)

    assert early == (None, False)
    assert progress.best.step == 0


def test_after_waiting_nothing_is_outstanding():
    num_done, progress = [], progress_of(5)

    def note(_):
        num_done.append(None)
        return len(num_done) / 10

    with Selection(probe=note, scratch=tiny_encoder(99)) as selection:
        for step in range(5):
            selection.submit(step, weights_at(step))
        selection.settle(progress, InMemoryTracker(), wait=True)

        assert len(num_done) == 5
        assert all(METRIC in record for record in progress.history)
        tracker = InMemoryTracker()
        selection.settle(progress, tracker, wait=True)
        assert tracker.metrics == []


def test_the_probe_sees_the_weights_of_its_step_in_a_copy_that_rests():
    scratch, seen = tiny_encoder(99).train(), []

    def look(encoder):
        weights = {name: value.clone() for name, value in encoder.state_dict().items()}
        seen.append((encoder is scratch, encoder.training, weights))
        return 0.5

    weights = [weights_at(step) for step in range(3)]
    with Selection(probe=look, scratch=scratch) as selection:
        for step in range(3):
            selection.submit(step, weights[step])
        selection.settle(progress_of(3), InMemoryTracker(), wait=True)

    assert [(is_copy, training) for is_copy, training, _ in seen] == [(True, False)] * 3
    assert all(
        are_equal(found, wanted) for (_, _, found), wanted in zip(seen, weights, strict=True)
    )


def test_a_probe_that_changes_its_copy_changes_neither_the_next_nor_the_best():
    def spoil(encoder):
        score = next(encoder.parameters()).detach().abs().sum().item()
        for parameter in encoder.parameters():
            parameter.data.zero_()
        return score

    progress = progress_of(2)
    with Selection(probe=spoil, scratch=tiny_encoder(99)) as selection:
        for step in range(2):
            selection.submit(step, weights_at(step))
        selection.settle(progress, InMemoryTracker(), wait=True)

    assert all(record[METRIC] > 0 for record in progress.history)
    assert are_equal(progress.best.encoder, weights_at(progress.best.step))


def test_probing_happens_in_a_thread_of_its_own_that_ends():
    names = []

    def note(_):
        names.append(threading.current_thread().name)
        return 0.5

    with Selection(probe=note, scratch=tiny_encoder(99)) as selection:
        selection.submit(0, weights_at(0))
        selection.settle(progress_of(1), InMemoryTracker(), wait=True)

    assert names[0].startswith("probe")
    assert not [t for t in threading.enumerate() if t.name.startswith("probe")]


def test_an_error_of_the_probe_is_raised_where_its_score_is_awaited():
    def fail(_):
        raise ArithmeticError("no labels")

    with Selection(probe=fail, scratch=tiny_encoder(99)) as selection:
        selection.submit(0, weights_at(0))

        with pytest.raises(ArithmeticError, match="no labels"):
            selection.settle(progress_of(1), InMemoryTracker(), wait=True)


def test_an_error_of_training_ends_the_probe_under_way_and_forgets_the_others():
    begun, opened, seen = threading.Event(), threading.Event(), []

    def slow(_):
        begun.set()
        seen.append(None)
        assert opened.wait(PATIENCE_S)
        return 0.5

    def train(selection):
        for step in range(3):
            selection.submit(step, weights_at(step))
        assert begun.wait(PATIENCE_S)
        threading.Timer(0.05, opened.set).start()
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        Selection(probe=slow, scratch=tiny_encoder(99)) as selection,
    ):
        train(selection)

    assert len(seen) == 1


def test_without_a_probe_nothing_is_chosen():
    progress = progress_of(2)
    with Selection(probe=None, scratch=tiny_encoder(99)) as selection:
        selection.submit(0, weights_at(0))
        selection.settle(progress, InMemoryTracker(), wait=True)

    assert progress.best is None
    assert progress.history == progress_of(2).history


def test_a_score_of_nan_is_never_the_best():
    assert select([float("nan"), 0.4]).best.step == 1
    assert select([0.4, float("nan")]).best.step == 0
