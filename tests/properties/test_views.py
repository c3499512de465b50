"""Views: for every validity, length, rule and key."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tessera_core.model.tokens import series_tokens
from tessera_core.pretrain.chance import stream_words
from tessera_core.pretrain.raw_pixels import RawPixels
from tessera_core.pretrain.views import draw_compiled, draw_views
from tessera_core.pretrain.views_plain import DrawRule, draw_plain
from tessera_core.testing.pixels import NORMS, make_pixels
from tessera_core.testing.raw import AS_STORED, numbered_pixels, padded_pixels
from tessera_core.testing.strategies import SEEDS, dpixels

KEYS = st.integers(0, 2**63 - 1)
LENGTHS = st.tuples(st.integers(1, 100), st.integers(1, 100))
SHORT = st.tuples(st.integers(1, 9), st.integers(1, 9))
CHANCES = st.sampled_from([0.0, 0.3, 1.0])


@st.composite
def masks(draw, max_times=30):
    num = draw(st.integers(1, 5))
    times = st.integers(0, max_times)
    return [draw(arrays(np.bool_, (num, draw(times)))) for _ in range(3)]


def views_of(masks, *, key, lengths, is_disjoint=False):
    """Return which observations the views hold, by sensor and view, counted from 1; 0 is none."""
    raw = RawPixels.from_padded(numbered_pixels(*masks))
    views = draw_views(
        raw,
        AS_STORED,
        position_B=torch.arange(len(raw)),
        key=key,
        lengths=lengths,
        is_disjoint=is_disjoint,
        modality_dropout=0.0,
    )
    pairs = zip(views.first, views.second, strict=True)
    return [[view.numpy()[..., -1].astype(int) for view in pair] for pair in pairs]


def by_sensor(masks):
    return [masks[0], np.concatenate(masks[1:], axis=1)]


@given(
    counts=st.lists(st.tuples(*[st.integers(0, 90)] * 3), min_size=1, max_size=4),
    unusable=st.integers(0, 3),
    padding=st.integers(0, 9),
    lengths=LENGTHS,
    is_disjoint=st.booleans(),
    num_hidden=st.sampled_from([0, 2**31, 2**32]),
    seed=SEEDS,
    key=KEYS,
)
def test_both_forms_give_the_same_bits(
    counts, unusable, padding, lengths, is_disjoint, num_hidden, seed, key
):
    pixels = make_pixels(*zip(*counts, strict=True), seed=seed, num_unusable=unusable)
    padded, rng = padded_pixels(pixels, num_padding=padding), np.random.default_rng(seed)
    for series in (padded.optical, padded.ascending, padded.descending):
        series.values[:] = rng.integers(0, 2**16, series.values.shape).astype(series.values.dtype)
    raw = RawPixels.from_padded(padded)
    position = torch.arange(len(raw)) * 1000 + seed
    rule = DrawRule(
        words=stream_words(key), lengths=lengths, is_disjoint=is_disjoint, num_hidden=num_hidden
    )

    plain = draw_plain(raw, NORMS, position, rule)
    compiled = draw_compiled(raw, NORMS, position, rule)

    for one, other in zip(plain, compiled, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert one.shape == other.shape
        assert one.numpy().tobytes() == other.numpy().tobytes()


@given(masks=masks(), lengths=LENGTHS, is_disjoint=st.booleans(), key=KEYS)
def test_a_view_sees_only_valid_observations_in_stored_order(masks, lengths, is_disjoint, key):
    sensors = views_of(masks, key=key, lengths=lengths, is_disjoint=is_disjoint)

    for valid, length, views in zip(by_sensor(masks), lengths, sensors, strict=True):
        has_any = valid.any(axis=1)
        for view in views:
            assert view.shape == (len(valid), length)
            assert (np.diff(view, axis=1) >= 0).all()
            assert (view[~has_any] == 0).all()
            assert (view[has_any] > 0).all()
            assert np.take_along_axis(valid[has_any], view[has_any] - 1, axis=1).all()


@given(masks=masks(), lengths=LENGTHS, key=KEYS)
def test_no_observation_is_repeated_where_there_are_enough(masks, lengths, key):
    sensors = views_of(masks, key=key, lengths=lengths)

    for valid, length, views in zip(by_sensor(masks), lengths, sensors, strict=True):
        enough = valid.sum(axis=1) >= length
        assert all((np.diff(view[enough], axis=1) > 0).all() for view in views)


@given(masks=masks(), lengths=SHORT, key=KEYS)
def test_disjoint_views_share_an_observation_only_if_it_is_the_only_one(masks, lengths, key):
    sensors = views_of(masks, key=key, lengths=lengths, is_disjoint=True)

    for valid, length, (first, second) in zip(by_sensor(masks), lengths, sensors, strict=True):
        for num, one, two in zip(valid.sum(axis=1), first, second, strict=True):
            if num == 1:
                assert set(one) == set(two)
            elif num > 1:
                assert not set(one) & set(two)
                assert len(set(one)) == length or length > -(-num // 2)
                assert len(set(two)) == length or length > num // 2


@given(
    pixels=dpixels(min_pixels=2),
    padding=st.integers(0, 9),
    lengths=SHORT,
    is_disjoint=st.booleans(),
    chance=CHANCES,
    key=KEYS,
)
def test_what_a_dpixel_gets_depends_on_no_neighbour_and_no_padding(
    pixels, padding, lengths, is_disjoint, chance, key
):
    def draw(part, position, padding):
        raw = RawPixels.from_padded(padded_pixels(part, num_padding=padding))
        views = draw_views(
            raw,
            NORMS,
            position_B=position,
            key=key,
            lengths=lengths,
            is_disjoint=is_disjoint,
            modality_dropout=chance,
        )
        return [*views.first, *views.second]

    position = torch.arange(len(pixels)) + 5
    together = draw(pixels, position, padding)

    alone = [
        draw(pixels.take(np.array([row])), position[row : row + 1], 0) for row in range(len(pixels))
    ]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(parts))


@given(pixels=dpixels(min_pixels=1), lengths=SHORT, chance=CHANCES, key=KEYS)
def test_every_token_is_a_valid_observation_normalised_as_everywhere_else(
    pixels, lengths, chance, key
):
    raw = RawPixels.from_padded(padded_pixels(pixels))
    rows = np.arange(len(pixels))
    known = list(
        zip(*(usable_tokens(pixels.take(rows[row : row + 1])) for row in rows), strict=True)
    )

    views = draw_views(
        raw,
        NORMS,
        position_B=torch.from_numpy(rows),
        key=key,
        lengths=lengths,
        is_disjoint=False,
        modality_dropout=chance,
    )

    for view in (views.first, views.second):
        sees = []
        for tokens, usable in zip(view, known, strict=True):
            sees.append((tokens != 0).any(dim=2).any(dim=1).numpy())
            for row in rows[sees[-1]]:
                assert {token.tobytes() for token in tokens[row].numpy()} <= usable[row]
        could = [np.array([len(tokens) > 0 for tokens in usable]) for usable in known]
        assert ((sees[0] | sees[1]) == (could[0] | could[1])).all()


def usable_tokens(pixel):
    """Return the tokens of one d-pixel's valid observations, as bytes: of S2, and of S1."""
    series = (pixel.optical, pixel.ascending, pixel.descending)
    stats = (NORMS.s2, NORMS.s1_ascending, NORMS.s1_descending)
    optical, *radar = (
        {token.tobytes() for token in series_tokens(one, np.flatnonzero(one.valid), scale)}
        for one, scale in zip(series, stats, strict=True)
    )
    return optical, set.union(*radar)
