"""Few labels go further where fields are known, and nothing else about a field is asked."""

import numpy as np
import pytest

from tessera_core.errors import InputError
from tessera_core.pretrain.probe import predict_linear, standardise
from tessera_core.scoring.heads.few_shot import predict_few_shot
from tessera_core.scoring.heads.field_model import field_axes, learn_means
from tessera_core.scoring.heads.linear import predict_standardised_linear

NUM_CLASSES = 4
NUM_FEATURES = 12
CODES = np.array([200, 1200, 2200, 5100])


def made_fields(num_per_class=12, seed=0, *, distance=3.0):
    """Return d-pixels (N, D) of fields, their classes and their fields.

    Classes differ in four features, fields of a class a little, and the eight d-pixels of a field
    mostly along directions that tell nothing. At 3, all labels give 0.91; at 10, classes are apart.
    """
    rng = np.random.default_rng(seed)
    of_field = np.repeat(np.arange(NUM_CLASSES), num_per_class)
    field_GD = distance * np.eye(NUM_CLASSES, NUM_FEATURES)[of_field]
    field_GD += 0.6 * rng.normal(size=field_GD.shape)
    group = np.repeat(np.arange(len(of_field)), 8)
    spread_D = np.where(np.arange(NUM_FEATURES) < NUM_CLASSES, 1.0, 3.0)
    rows = field_GD[group] + spread_D * rng.normal(size=(len(group), NUM_FEATURES))
    return rows.astype(np.float32), CODES[of_field[group]], group + 100


def loud_fields(seed, *, num_fields=60, num_per_field=8, num_noise=6):
    """Return fields of two crops that differ in one direction, under loud noise within each."""
    rng = np.random.default_rng(seed)
    field = np.repeat(np.arange(num_fields), num_per_field)
    classes = field % 2
    values = rng.normal(size=(len(field), 1 + num_noise)) * ([0.3] + [6.0] * num_noise)
    values[:, 0] += 2.0 * classes
    return values, classes, field


def first_of_each(classes, num=1, seed=0):
    """Return ``num`` random rows of each class."""
    order = np.random.default_rng(seed).permutation(len(classes))
    return np.concatenate([order[classes[order] == code][:num] for code in np.unique(classes)])


def cosine(left_KD, right_KD):
    length_K = np.linalg.norm(left_KD, axis=1) * np.linalg.norm(right_KD, axis=1)
    return (left_KD * right_KD).sum(axis=1) / length_K


def test_one_label_per_class_finds_more_than_logistic_regression_does():
    pool, classes, group = made_fields(seed=0)
    test, expected, _ = made_fields(seed=1)
    known, asked = standardise(pool, pool, test)
    found, linear = [], []

    for draw in range(3):
        rows = first_of_each(classes, seed=draw)
        predicted = predict_few_shot(pool, classes[rows], rows, test, pool_groups=group)
        found.append((predicted == expected).mean())
        linear.append((predict_linear(known[rows], classes[rows], asked) == expected).mean())

    assert predicted.dtype == np.int64
    assert np.mean(found) > np.mean(linear) + 0.2


def test_with_two_labels_it_finds_what_the_plain_probe_cannot():
    ours, plain = [], []

    for seed in range(5):
        pool, classes, field = loud_fields(seed)
        test, truth, _ = loud_fields(seed + 100)
        rows = first_of_each(classes, seed=seed)
        found = predict_few_shot(pool, classes[rows], rows, test, pool_groups=field)
        ours.append((found == truth).mean())
        probed = predict_standardised_linear(pool[rows], classes[rows], test)
        plain.append((probed == truth).mean())

    assert np.mean(ours) > np.mean(plain) + 0.1


def test_classes_far_apart_are_found_with_one_label_each():
    pool, classes, group = made_fields(distance=10)
    test, expected, _ = made_fields(seed=1, distance=10)
    rows = first_of_each(classes)

    predicted = predict_few_shot(pool, classes[rows], rows, test, pool_groups=group)

    assert (predicted == expected).mean() > 0.95


def test_shuffled_labels_score_about_chance():
    pool, classes, group = made_fields(seed=0)
    test, expected, _ = made_fields(seed=1)
    of_field = np.random.default_rng(3).permutation(classes.reshape(-1, 8)[:, 0])
    rows = np.arange(0, len(pool), 8)

    predicted = predict_few_shot(pool, of_field, rows, test, pool_groups=group)

    assert abs((predicted == expected).mean() - 1 / NUM_CLASSES) < 0.2


def test_what_fields_are_called_and_in_which_order_rows_come_changes_nothing():
    pool, classes, group = made_fields()
    test, _, _ = made_fields(seed=1)
    rows = first_of_each(classes)
    order = np.random.default_rng(2).permutation(len(pool))
    place = np.argsort(order)

    plain = predict_few_shot(pool, classes[rows], rows, test, pool_groups=group)
    other = predict_few_shot(
        pool[order], classes[rows], place[rows], test, pool_groups=7000 - group[order]
    )

    # Sums in another order differ in the last digit, which may turn a tie.
    assert (plain == other).mean() > 0.99


def test_it_repeats_itself_and_leaves_its_rows_as_they_were():
    pool, classes, group = made_fields()
    test, _, _ = made_fields(seed=1)
    rows = first_of_each(classes)
    before = pool.copy(), test.copy(), classes.copy(), group.copy()

    first, second = (
        predict_few_shot(pool, classes[rows], rows, test, pool_groups=group) for _ in range(2)
    )

    assert first.tobytes() == second.tobytes()
    for left, right in zip(before, (pool, test, classes, group), strict=True):
        assert np.array_equal(left, right)


def test_without_fields_it_is_logistic_regression_scaled_by_the_pool():
    pool, classes, _ = made_fields()
    test, _, _ = made_fields(seed=1)
    rows = first_of_each(classes, num=3)
    known, asked = standardise(pool, pool, test)

    predicted = predict_few_shot(pool, classes[rows], rows, test, pool_groups=np.arange(len(pool)))

    assert np.array_equal(predicted, predict_linear(known[rows], classes[rows], asked))


def test_a_field_whose_labels_differ_counts_for_both():
    pool, classes, group = made_fields(distance=10)
    test, expected, _ = made_fields(seed=1, distance=10)
    rows = np.append(first_of_each(classes), [0, 1])
    given = np.append(classes[rows[:-2]], [CODES[0], 9999])

    predicted = predict_few_shot(pool, given, rows, test, pool_groups=group)

    assert set(predicted) <= {*CODES, 9999}
    # A code that shares its only field with a class is as likely as that class, nowhere else.
    rest = expected != CODES[0]
    assert (predicted[rest] == expected[rest]).mean() > 0.95


def test_unlabelled_fields_turn_a_class_towards_its_middle():
    pool, classes, group = made_fields()
    known, asked = standardise(pool, pool, pool)
    _, of_pixel = np.unique(group, return_inverse=True)
    axes = field_axes(known, asked, of_pixel)
    of_field = np.searchsorted(CODES, classes.reshape(-1, 8)[:, 0])
    votes_GK = np.zeros((len(of_field), NUM_CLASSES), np.int64)
    single = first_of_each(of_field)
    votes_GK[single, of_field[single]] = 1
    middle_KD = np.stack([axes.field_GD[of_field == k].mean(axis=0) for k in range(NUM_CLASSES)])

    centre_KD, variance_KD = learn_means(axes, votes_GK)

    # Its length is that of a cautious guess, shorter than the truth; the direction decides.
    before_K = cosine(axes.field_GD[single], middle_KD)
    assert (cosine(centre_KD, middle_KD) > np.maximum(before_K, 0.9)).all()
    assert (variance_KD > 0).all()
    assert (variance_KD < axes.between_D).all()


def test_noise_has_variance_one_in_every_direction():
    pool, _, group = made_fields(num_per_class=60)
    known, asked = standardise(pool, pool, pool)
    _, of_pixel = np.unique(group, return_inverse=True)

    axes = field_axes(known, asked, of_pixel)

    residual = axes.pool_ND - axes.field_GD[of_pixel]
    noise = residual.T @ residual / (len(pool) - len(axes.noise_G))
    assert np.diag(noise) == pytest.approx(1, abs=0.1)
    assert np.abs(noise - np.diag(np.diag(noise))).max() < 0.1


@pytest.mark.parametrize("kind", ["constant feature", "fields without noise", "more features"])
def test_odd_pools_are_no_obstacle(kind):
    pool, classes, group = made_fields(num_per_class=4, distance=10)
    test, expected, _ = made_fields(seed=1, distance=10)
    if kind == "constant feature":
        pool[:, -1] = 0.1
    elif kind == "fields without noise":
        pool = np.repeat(pool[::8], 8, axis=0)
    else:
        rng = np.random.default_rng(0)
        extra = [rng.normal(size=(len(each), 200)).astype(np.float32) for each in (pool, test)]
        pool, test = np.hstack([pool, extra[0]]), np.hstack([test, extra[1]])
    rows = first_of_each(classes, num=4)

    predicted = predict_few_shot(pool, classes[rows], rows, test, pool_groups=group)

    assert (predicted == expected).mean() > 0.6


def test_one_class_alone_is_predicted_and_no_test_rows_give_nothing():
    pool, classes, group = made_fields(num_per_class=2)
    rows = first_of_each(classes)

    alone = predict_few_shot(pool, np.full(4, 1200), rows, pool[:3], pool_groups=group)
    nothing = predict_few_shot(pool, classes[rows], rows, pool[:0], pool_groups=group)

    assert alone.tolist() == [1200] * 3
    assert nothing.shape == (0,)


def test_a_single_test_row_is_answered():
    pool, classes, group = made_fields(distance=10)
    rows = first_of_each(classes)

    predicted = predict_few_shot(pool, classes[rows], rows, pool[:1], pool_groups=group)

    assert predicted.tolist() == [classes[0]]


def test_what_teaches_nothing_is_refused():
    pool, classes, group = made_fields(num_per_class=2)
    rows, holed = first_of_each(classes), pool.copy()
    holed[3, 0] = np.nan
    given = classes[rows]

    with pytest.raises(InputError, match="0 training rows and the truth of 0"):
        predict_few_shot(pool, given[:0], rows[:0], pool, pool_groups=group)
    with pytest.raises(InputError, match="64 pool rows with 63 field ids"):
        predict_few_shot(pool, given, rows, pool, pool_groups=group[1:])
    with pytest.raises(InputError, match="4 labelled rows with 3 classes"):
        predict_few_shot(pool, given[1:], rows, pool, pool_groups=group)
    with pytest.raises(InputError, match="reach from 0 to 64, but the pool has 64 rows"):
        predict_few_shot(pool, given[:2], np.array([0, 64]), pool, pool_groups=group)
    with pytest.raises(InputError, match=r"1 of .* numbers in the pool features"):
        predict_few_shot(holed, given, rows, pool, pool_groups=group)
    with pytest.raises(InputError, match="expected the same features on both sides"):
        predict_few_shot(pool, given, rows, pool[:, 1:], pool_groups=group)
