"""All diagnostics together: plain JSON, seeded, and honest about what is missing."""

import json

import numpy as np
import pytest

from tessera_core.diagnostics import gather
from tessera_core.diagnostics.gather import diagnose, diagnose_model
from tessera_core.diagnostics.reading import Reading
from tessera_core.domain.embedding import Coding
from tessera_core.domain.geometry import draw_groups
from tessera_core.errors import InputError, RecordError
from tessera_core.model.embed import embed_pixels
from tessera_core.testing.models import tiny_model
from tessera_core.testing.pixels import random_pixels

NUM = 90
FIELD = np.arange(NUM) // 6
PIXELS = random_pixels(NUM, seed=4)
MODEL = tiny_model(seed=1)
NAMES = {"rank_me", "uniformity", "field_ratio", "stability", "stripes", "int8_loss", "num_pixels"}


def test_a_model_is_diagnosed_as_plain_json():
    told = diagnose_model(MODEL, PIXELS, FIELD, seed=1)

    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert set(told) == NAMES
    values = {name: told[name]["value"] for name in NAMES - {"num_pixels"}}
    assert all(value is not None for value in values.values()), told
    assert told["num_pixels"] == NUM
    assert 0 < values["rank_me"] < 1
    assert -8 < values["uniformity"] < 0
    assert 0 < values["stability"] < 1
    assert 0 < values["int8_loss"] < 0.1


def test_known_embeddings_give_the_same_as_embedding_again():
    known = embed_pixels(MODEL, PIXELS, batch_size=gather.EMBED_BATCH)

    told = diagnose_model(MODEL, PIXELS, FIELD, embedding_ND=known, seed=1)

    assert told == diagnose_model(MODEL, PIXELS, FIELD, seed=1)


def test_what_is_looked_at_is_bounded_and_follows_from_the_seed(monkeypatch):
    monkeypatch.setattr(gather, "MAX_ROWS", 40)
    monkeypatch.setattr(gather, "MAX_SPLIT", 20)

    first, again, other = (diagnose_model(MODEL, PIXELS, FIELD, seed=seed) for seed in (1, 1, 2))

    assert first["num_pixels"] == 40
    assert first["stability"]["num_pixels"] <= 20
    assert first == again != other


def test_rows_without_data_are_left_out():
    values = np.random.default_rng(1).normal(size=(NUM, 5)).astype(np.float32)
    values[3] = np.nan
    coverage = np.ones((NUM, 3), np.int64)

    told = diagnose(values, FIELD, coverage, (values, values), coding=Coding.V2, seed=1)

    assert told["num_pixels"] == NUM - 1
    assert told["stability"]["value"] == 1
    assert told["stability"]["num_pixels"] == NUM - 1
    assert told["stripes"]["value"] is None


def test_date_halves_that_are_not_there_have_a_reason():
    values = np.random.default_rng(1).normal(size=(NUM, 5)).astype(np.float32)
    nothing = np.full((NUM, 5), np.nan, np.float32)
    coverage = np.ones((NUM, 3), np.int64)

    without = diagnose(values, FIELD, coverage, None, coding=Coding.V2, seed=1)
    unseen = diagnose(values, FIELD, coverage, (values, nothing), coding=Coding.V2, seed=1)

    assert without["stability"] == {"value": None, "reason": "date halves were not embedded"}
    assert unseen["stability"]["reason"] == gather.UNSEEN


def test_arrays_of_other_d_pixels_are_refused():
    with pytest.raises(InputError, match=r"\[89, 90\] rows; expected equal"):
        diagnose_model(MODEL, PIXELS, FIELD[1:], seed=1)


def test_a_map_without_any_embedding_is_refused():
    nothing = np.full((NUM, 5), np.nan, np.float32)

    with pytest.raises(InputError, match="0 of 90 d-pixels have an embedding"):
        diagnose(nothing, FIELD, np.ones((NUM, 3), int), None, coding=Coding.V2, seed=1)


def test_a_draw_takes_no_more_of_a_group_than_its_share():
    group = np.repeat([5, 9, 2], [500, 40, 3])

    rows = draw_groups(group, 120, seed=1)

    assert (np.diff(rows) > 0).all()
    counts = dict(zip(*np.unique(group[rows], return_counts=True), strict=True))
    assert counts == {2: 3, 5: 40, 9: 40}
    assert len(draw_groups(group, 10, seed=1)) == 10
    assert len(draw_groups(group[:0], 50, seed=1)) == 0


def test_a_reading_has_a_number_or_a_reason_and_never_both():
    with pytest.raises(RecordError, match="expected a number or a reason"):
        Reading(value=None)
    with pytest.raises(RecordError, match="expected a number or a reason"):
        Reading(value=1.0, reason="none")
