"""Canaries of imported weights: the same every time, and one for each thing that may go wrong."""

import numpy as np
import pytest

from tessera_core.domain.sampling import BUCKETS, SPARSE_LENGTH, V1_0_SAMPLING, V2_SAMPLING
from tessera_core.errors import ArtifactError
from tessera_core.model.artifact import load_artifact, read_canaries, write_artifact
from tessera_core.model.canaries import made_up_canaries
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.records.manifest import Manifest
from tessera_core.testing.checkpoints import tiny_release
from tessera_core.testing.models import tiny_encoder
from tessera_core.testing.observations import pixels_as_lists

by_family = pytest.mark.parametrize("family", list(Family))


def canaries_of(family):
    release = RELEASES[family]
    return made_up_canaries(release.norms, release.sampling)


def counts(pixels):
    """Usable S2, ascending and descending observations, (3, N)."""
    return np.stack(
        [part.num_valid() for part in (pixels.optical, pixels.ascending, pixels.descending)]
    )


def write(folder, family):
    config = tiny_release(family)
    return write_artifact(
        folder, tiny_encoder(1, config.encoder), config, RELEASES[family].norms, canaries_of(family)
    )


@by_family
def test_canaries_are_the_same_every_time(family):
    first, second = (pixels_as_lists(canaries_of(family)) for _ in range(2))

    assert first == second


def test_canaries_do_not_depend_on_the_norms():
    release, other = RELEASES[Family.V1_1_MPC], RELEASES[Family.V1_1_AWS]

    assert pixels_as_lists(made_up_canaries(release.norms, V2_SAMPLING)) == pixels_as_lists(
        made_up_canaries(other.norms, V2_SAMPLING)
    )


@by_family
def test_canaries_have_few_and_many_observations_and_more_than_any_rule_takes(family):
    s2, ascending, descending = counts(canaries_of(family))

    assert ((s2 > 1) & (s2 < BUCKETS[0])).any()
    for of_sensor in (s2, ascending + descending):
        assert (of_sensor == 1).any()
        assert (of_sensor > SPARSE_LENGTH).any()
        assert (of_sensor > BUCKETS[-1]).any()


@by_family
def test_canaries_lack_either_orbit_or_all_radar(family):
    s2, ascending, descending = counts(canaries_of(family))

    assert ((ascending == 0) & (descending > 0)).any()
    assert ((ascending > 0) & (descending == 0)).any()
    assert ((ascending == 0) & (descending == 0) & (s2 > 0)).any()


@by_family
def test_a_canary_without_s2_is_there_unless_the_release_embeds_none(family):
    s2, *_ = counts(canaries_of(family))

    assert (s2 == 0).any() == (RELEASES[family].sampling != V1_0_SAMPLING)


@by_family
def test_canaries_reach_days_that_bfloat16_cannot_tell_apart(family):
    pixels = canaries_of(family)

    for series in (pixels.optical, pixels.ascending, pixels.descending):
        days = series.day_of_year
        assert days.min() == 1
        assert days.max() == 366
        assert ((days > 256) & (days % 2 == 1)).any()
        for start, stop in zip(series.offsets, series.offsets[1:], strict=False):
            assert (np.diff(days[start:stop].astype(int)) >= 0).all()


@by_family
def test_canaries_are_unlike_each_other_and_within_the_units_of_their_sensor(family):
    pixels = canaries_of(family)

    assert (pixels.optical.values > 0).all()
    assert (pixels.optical.values < 10_000).all()
    for series in (pixels.ascending, pixels.descending):
        assert ((series.values > 0) & (series.values < 12_000)).all()
    as_text = {str(pixel) for pixel in pixels_as_lists(pixels)}
    assert len(as_text) == len(pixels)


@by_family
def test_a_released_model_with_made_up_canaries_reads_back(family, tmp_path):
    digest = write(tmp_path / "model", family).digest

    model = load_artifact(tmp_path / "model")

    assert model.digest == digest == write(tmp_path / "again", family).digest
    assert pixels_as_lists(read_canaries(tmp_path / "model")) == pixels_as_lists(
        canaries_of(family)
    )
    assert Manifest.read(tmp_path / "model").facts["family"] == family


@pytest.mark.parametrize(
    ("change", "families"),
    [
        ("swap orbits", list(Family)),
        ("chronological", [Family.V1_0_EARLY, Family.V1_0_QAT, Family.V1_1_MPC]),
        ("next day", list(Family)),
        ("bands by wavelength", list(Family)),
    ],
)
def test_canaries_notice_a_fault_of_the_machinery(change, families, tmp_path, monkeypatch):
    from tessera_core.model import embed, sequences

    original = sequences.sequences_of

    def faulty(pixels, norms, sampling):
        s2, s1, has_data = original(pixels, norms, sampling)
        if change == "swap orbits":
            _, s1, _ = original(
                type(pixels)(
                    optical=pixels.optical,
                    ascending=pixels.descending,
                    descending=pixels.ascending,
                ),
                norms,
                sampling,
            )
        elif change == "chronological":
            pixel = np.repeat(np.arange(len(pixels)), s1.num_usable())
            s1.tokens_MC[:] = s1.tokens_MC[np.lexsort((s1.tokens_MC[:, -1], pixel))]
        elif change == "next day":
            s2.tokens_MC[:, -1] += 1
        else:
            s2.tokens_MC[:, :10] = s2.tokens_MC[:, [1, 2, 0, 5, 6, 7, 3, 4, 8, 9]]
        return s2, s1, has_data

    for family in families:
        write(tmp_path / family, family)
    monkeypatch.setattr(embed, "sequences_of", faulty)

    for family in families:
        with pytest.raises(ArtifactError, match="a canary misses"):
            load_artifact(tmp_path / family)
