import numpy as np

from tessera_core.evaluate.labelled import smallest_keys


def test_each_field_keeps_at_most_the_given_number():
    group = np.array([5, 5, 5, 2, 2, 9])
    key = np.array([0.3, 0.1, 0.2, 0.9, 0.8, 0.5])

    rows = smallest_keys(group, key, 2)

    assert rows.tolist() == [1, 2, 3, 4, 5]


def test_drawing_from_parts_equals_drawing_from_the_whole():
    rng = np.random.default_rng(0)
    group, key = rng.integers(0, 5, 60), rng.random(60)

    whole = smallest_keys(group, key, 4)
    parts = np.concatenate(
        [
            half + smallest_keys(group[half : half + 30], key[half : half + 30], 4)
            for half in (0, 30)
        ]
    )
    again = parts[smallest_keys(group[parts], key[parts], 4)]

    assert np.array_equal(whole, again)


def test_nothing_to_draw_from_gives_nothing():
    assert len(smallest_keys(np.zeros(0, np.int64), np.zeros(0), 3)) == 0
