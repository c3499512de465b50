"""The false-colour picture."""

import numpy as np
from matplotlib.image import imread

from tessera_core.domain.embedding import quantise
from tessera_core.domain.grid import TileGrid
from tessera_core.export.preview import fit_colours, write_preview
from tessera_core.export.tiles import save_tile
from tessera_core.export.zones import zones_of

GRID = TileGrid(epsg=32631, west=500000, north=5000000, width=12, height=10)


def two_fields(folder, name="t", dimensions=8):
    """Left half and right half have different embeddings, with a little noise."""
    rng = np.random.default_rng(3)
    values = rng.normal(scale=0.01, size=(10, 12, dimensions)).astype(np.float32)
    values[:, :6, 0] += 1
    values[:, 6:, min(1, dimensions - 1)] -= 2
    values[0, 0] = np.nan
    return save_tile(folder, name, 2022, GRID, quantise(values))


def picture(folder):
    return np.rint(imread(folder / "preview.png") * 255).astype(int)


def test_fields_have_different_colours_and_missing_pixels_are_transparent(tmp_path):
    tile = two_fields(tmp_path)

    write_preview(tmp_path, zones_of([tile]), [2022])

    image = picture(tmp_path)
    left, right = image[1:, :6, 0], image[1:, 6:, 0]
    assert image.shape == (10, 12, 4)
    assert image[0, 0, 3] == 0
    assert (image.reshape(-1, 4)[1:, 3] == 255).all()
    assert min(abs(left.min() - right.max()), abs(left.max() - right.min())) > 200


def test_the_largest_loading_of_each_component_is_positive(tmp_path):
    tile = two_fields(tmp_path)

    components = fit_colours(tmp_path, [tile]).components

    assert (components[np.abs(components).argmax(axis=0), range(3)] > 0).all()
    assert np.allclose(components.T @ components, np.eye(3), atol=1e-9)


def test_an_embedding_of_two_dimensions_still_makes_a_picture(tmp_path):
    tile = two_fields(tmp_path, dimensions=2)

    write_preview(tmp_path, zones_of([tile]), [2022])

    # The third colour has nothing to show and stays mid-grey.
    assert set(picture(tmp_path)[1:, :, 2].ravel().tolist()) == {128}


def test_years_and_zones_are_panels_below_each_other(export):
    height, width, _ = picture(export).shape

    # utm31 is 50 x 30 pixels in both years, utm36 9 x 7 in one; gaps of 4 between.
    assert (height, width) == (30 + 4 + 30 + 4 + 7, 50)


def test_a_zone_beyond_the_largest_edge_is_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr("tessera_core.export.preview.MAX_EDGE", 5)
    tile = two_fields(tmp_path)

    write_preview(tmp_path, zones_of([tile]), [2022])

    assert picture(tmp_path).shape[:2] == (4, 4)
