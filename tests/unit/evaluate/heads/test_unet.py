"""Whole chips: what lies around a pixel counts, unlabelled pixels teach nothing."""

import numpy as np
import pytest
import torch

from tessera_core.errors import InputError
from tessera_core.scoring.heads.unet import predict_unet
from tessera_core.scoring.heads.unet_network import chip_rmse_loss, class_loss, flipped, value_loss

SMALL = (8, 8, 8)


def planted(num=24, edge=8, seed=0):
    """Return chips of 4 features and classes 0..2 in quadrants, tenths of them unlabelled."""
    rng = np.random.default_rng(seed)
    quadrants = rng.integers(0, 3, (num, 2, 2))
    classes = quadrants.repeat(edge // 2, axis=1).repeat(edge // 2, axis=2)
    centres = np.array([[0, 0, 0, 1], [2, 0, 0, 0], [0, 2, 0, 0]])
    chips = (centres[classes] + rng.normal(size=(num, edge, edge, 4))).astype(np.float32)
    truth = classes.astype(np.float64)
    truth[rng.random(truth.shape) < 0.1] = np.nan
    return chips, truth, classes


def predict(chips, truth, test, *, num_classes=3, **changes):
    settings = {"seed": 0, "widths": SMALL, "num_steps": 60, **changes}
    return predict_unet(chips, truth, test, num_classes=num_classes, **settings)


def test_planted_classes_are_found_better_than_pixel_by_pixel():
    chips, truth, _ = planted()
    test, _, expected = planted(seed=1)

    predicted = predict(chips, truth, test)

    assert predicted.dtype == np.int64
    # A linear rule that sees one pixel alone has 0.81.
    assert (predicted == expected).mean() > 0.9


@pytest.mark.parametrize("by_chip", [False, True])
def test_planted_values_are_found(by_chip):
    chips, truth, classes = planted()

    predicted = predict(chips, truth * 10 + 5, chips, num_classes=None, by_chip=by_chip)

    assert predicted.dtype == np.float64
    assert np.corrcoef(predicted.ravel(), classes.ravel())[0, 1] > 0.85
    assert abs(predicted.mean() - (classes * 10 + 5).mean()) < 2


def test_what_is_not_labelled_teaches_nothing():
    chips, truth, _ = planted(num=4)
    truth[1] = np.nan

    with_it = predict(chips, truth, chips[:1], num_steps=4)
    without = predict(chips[[0, 2, 3]], truth[[0, 2, 3]], chips[:1], num_steps=4)

    assert with_it.tobytes() == without.tobytes()


@pytest.mark.parametrize("num_classes", [3, None])
def test_one_label_in_most_chips_is_enough_to_go_on(num_classes):
    chips, truth, _ = planted(num=30)
    sparse = np.full_like(truth, np.nan)
    sparse[[3, 17], 2, 2] = [0, 2]

    predicted = predict(chips, sparse, chips, num_classes=num_classes, num_steps=4)

    assert np.isfinite(predicted).all()


@pytest.mark.parametrize("num_classes", [3, None])
def test_a_single_chip_of_the_smallest_size_is_learnt_from(num_classes):
    chips = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    truth = np.arange(16.0).reshape(1, 4, 4) % 3

    predicted = predict(chips, truth, chips, num_classes=num_classes, num_steps=4)

    assert predicted.shape == (1, 4, 4)


@pytest.mark.parametrize("num_classes", [3, None])
def test_it_repeats_itself_and_leaves_everything_as_it_was(num_classes):
    chips, truth, _ = planted(num=4)
    chance, num_threads = torch.get_rng_state(), torch.get_num_threads()
    torch.use_deterministic_algorithms(mode=True)

    try:
        first, second = (
            predict(chips, truth, chips, num_classes=num_classes, num_steps=4) for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(mode=False)

    assert first.tobytes() == second.tobytes()
    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.get_num_threads() == num_threads


def test_one_label_alone_is_predicted_everywhere():
    chips, truth, _ = planted(num=3)
    same = np.where(np.isfinite(truth), 2, np.nan)

    assert (predict(chips, same, chips) == 2).all()
    assert (predict(chips, same, chips, num_classes=None) == 2.0).all()


def test_no_test_chips_give_no_predictions():
    chips, truth, _ = planted(num=3)

    assert predict(chips, truth, chips[:0]).shape == (0, 8, 8)


def test_chips_that_do_not_fit_are_refused():
    chips, truth, _ = planted(num=3)
    holed = chips.copy()
    holed[1, 2, 3, 0] = np.inf

    with pytest.raises(InputError, match=r"\(3, 6, 6, 4\), expected .* a multiple of 4"):
        predict(chips[:, :6, :6], truth[:, :6, :6], chips)
    with pytest.raises(InputError, match="expected a truth per training pixel"):
        predict(chips, truth[:2], chips)
    with pytest.raises(InputError, match="the same features on both sides"):
        predict(chips, truth, chips[..., :3])
    with pytest.raises(InputError, match=r"1 of 768 numbers in the training chips .* not finite"):
        predict(holed, truth, chips)
    with pytest.raises(InputError, match="no pixel of the training chips is labelled"):
        predict(chips, np.full_like(truth, np.nan), chips)
    with pytest.raises(InputError, match="labelled 0 to 2, expected class numbers 0 to 1"):
        predict(chips, truth, chips, num_classes=2)


def test_losses_see_labelled_pixels_only():
    truth = torch.tensor([[[1.0, float("nan")], [3.0, float("nan")]], [[2.0] * 2] * 2])
    output = torch.zeros(2, 1, 2, 2, requires_grad=True)

    squared = value_loss(output, truth)
    by_chip = chip_rmse_loss(output, truth)
    by_chip.backward()

    assert squared.item() == pytest.approx((1 + 9 + 4 * 4) / 6)
    assert by_chip.item() == pytest.approx((5**0.5 + 2) / 2)
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    assert not output.grad[0, 0, :, 1].any()


def test_classes_that_are_not_labelled_do_not_count():
    truth = torch.tensor([[[1.0, float("nan")]]])
    output = torch.tensor([[[[0.0, 9.0]], [[0.0, -9.0]]]])

    assert class_loss(output, truth).item() == pytest.approx(np.log(2))


def test_a_chip_and_its_truth_are_flipped_alike():
    chips = torch.arange(16.0).reshape(1, 1, 4, 4)

    with torch.random.fork_rng(devices=[]):
        seen = {tuple(flipped(chips, chips[:, 0])[1].flatten().tolist()) for _ in range(40)}
        turned, truth = flipped(chips, chips[:, 0])

    assert len(seen) == 4
    assert torch.equal(turned[:, 0], truth)
