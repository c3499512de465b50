"""Points take the pixel that they lie in, and a head is scored on groups it never saw."""

import numpy as np
import pytest

import tessera_core
from tessera_core import Points, probe, sample_points
from tessera_core.domain.embedding import quantise
from tessera_core.errors import InputError, RecordError
from tessera_core.testing.points import (
    GRID,
    checkerboard_embedding,
    labelled_points,
    to_lon_lat,
    write_export,
    write_geojson,
    write_geopackage,
)

EMBEDDING = checkerboard_embedding(seed=1)
X, Y = GRID.centres()


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return write_export(tmp_path_factory.mktemp("export"), EMBEDDING)


@pytest.fixture(scope="module")
def sample(export, tmp_path_factory):
    file = tmp_path_factory.mktemp("points") / "fields.gpkg"
    return sample_points(export, write_geopackage(file, *labelled_points(400, seed=2)))


def at(rows, columns, **columns_of):
    return Points(x=X[columns], y=Y[rows], crs="EPSG:32631", columns=columns_of)


def test_a_point_takes_the_codes_and_the_scale_of_its_pixel(export):
    rows, columns = np.array([5, 79, 1]), np.array([0, 79, 33])

    found = sample_points(export, at(rows, columns))

    assert np.array_equal(found.embedding.codes, EMBEDDING.codes[rows, columns])
    assert np.array_equal(found.embedding.scale, EMBEDDING.scale[rows, columns])


def test_degrees_and_metres_find_the_same_pixels(export, tmp_path):
    places, known = labelled_points(50, seed=3)
    metres = write_geopackage(tmp_path / "p.gpkg", places, known)
    degrees = write_geojson(tmp_path / "p.geojson", to_lon_lat(places), known)

    first, second = sample_points(export, metres), sample_points(export, degrees)

    assert np.array_equal(first.embedding.codes, second.embedding.codes)


def test_points_outside_and_without_data_are_counted(export):
    points = Points(
        x=np.array([X[3], X[0] - 6, X[3], np.nan]), y=np.array([Y[3], Y[0], Y[0], Y[3]]),
        crs="EPSG:32631", columns={},
    )  # fmt: skip

    found = sample_points(export, points)

    assert found.counts == {"offered": 4, "used": 1, "outside": 2, "without_data": 1}


def test_points_that_all_lie_elsewhere_are_refused(export):
    swapped = Points(x=np.array([50.5]), y=np.array([3.0]), columns={})

    with pytest.raises(InputError, match=r"all 1 points lie outside.*\(50.5, 3.0\).*swapped"):
        sample_points(export, swapped)


def test_another_year_is_refused_with_those_there_are(export):
    with pytest.raises(InputError, match=r"has years \[2022\], got 2021"):
        sample_points(export, at([3], [3]), year=2021)


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(RecordError):
        sample_points(tmp_path, at([3], [3]))


@pytest.mark.parametrize("group", ["field", None])
def test_embeddings_that_tell_labels_apart_lead_the_most_frequent_class(sample, group):
    found = probe(sample, "crop", group=group)

    assert found.classes == ("maize", "wheat")
    assert found.num_groups == 25
    assert found.num_used == 400
    assert found.embeddings["accuracy"].mean > 0.9
    assert found.majority["accuracy"].mean < 0.7
    assert found.lead["accuracy"].low > 0
    assert found.embeddings["accuracy"].low <= found.embeddings["accuracy"].mean


def test_embeddings_of_noise_lead_nothing(tmp_path, sample):
    noise = np.random.default_rng(5).normal(size=(GRID.height, GRID.width, 6)).astype(np.float32)
    export = write_export(tmp_path / "noise", quantise(noise))

    found = probe(sample_points(export, sample.points), "crop")

    assert found.lead["accuracy"].low < 0.1


def test_the_most_frequent_class_is_that_of_the_other_folds(sample):
    _, counts = np.unique(sample.points.columns["crop"].astype(str), return_counts=True)

    found = probe(sample, "crop", group="field")

    # Whichever class leads in the other folds leads at most as often as the one that leads here.
    assert found.majority["accuracy"].mean <= counts.max() / counts.sum()


def test_the_same_seed_gives_the_same_scores(sample):
    assert str(probe(sample, "crop")) == str(probe(sample, "crop"))


def test_what_is_left_out_is_counted_by_reason(export):
    rows, columns = np.indices((80, 80)).reshape(2, -1)
    crops = np.where((rows // 16 + columns // 16) % 2, "wheat", "maize").astype(object)
    crops[(rows == 9) & (columns < 7)] = None
    crops[(rows == 10) & (columns < 3)] = "rice"
    points = at(rows, columns, crop=crops)

    found = probe(sample_points(export, points), "crop")

    assert found.left_out == {
        "outside": 0, "without_data": 80, "without_label": 7, "without_group": 0, "thin_class": 3,
    }  # fmt: skip
    assert found.num_used + sum(found.left_out.values()) == len(points)


def test_one_class_is_refused_with_the_counts(export):
    rows = np.arange(1, 80)
    points = at(rows, rows, crop=np.full(79, "maize", object))

    with pytest.raises(InputError, match=r"of 1 classes in column crop, 1 have points in 5"):
        probe(sample_points(export, points), "crop")


def test_a_label_column_that_is_not_there_is_named(sample):
    with pytest.raises(InputError, match=r"no column 'crp'\. Did you mean 'crop'"):
        tessera_core.probe(sample, "crp")
