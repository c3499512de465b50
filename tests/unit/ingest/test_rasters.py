"""Rasters arrive on the tile's own pixels, whatever grid they were on before."""

import numpy as np
import pytest

from tessera_core.errors import SceneError
from tessera_core.ingest.rasters import georeference, read_onto_grid, read_plain
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.tiles import make_grid

GRID = make_grid(west=500_000, north=5_600_000, width=6, height=4)
VALUES = np.arange(1, 25, dtype=np.uint16).reshape(4, 6)


def read(path, grid=GRID, resampling="nearest", nodata=0.0):
    return read_onto_grid(str(path), grid, resampling=resampling, nodata=nodata)


@pytest.fixture
def path(tmp_path):
    """A raster of 1 to 24 on ``GRID``."""
    write_raster(tmp_path / "values.tif", VALUES, GRID, nodata=0)
    return tmp_path / "values.tif"


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_a_raster_on_the_same_grid_is_read_unchanged(path, resampling):
    values = read(path, resampling=resampling)

    assert values.tolist() == VALUES.tolist()
    assert values.dtype == np.uint16


def test_a_tile_beside_the_raster_gets_its_part_and_no_data_beyond(path):
    tile = make_grid(west=500_040, north=5_600_010, width=4, height=3)

    values = read(path, tile)

    assert values.tolist() == [[0, 0, 0, 0], [5, 6, 0, 0], [11, 12, 0, 0]]


def test_a_tile_far_away_gets_no_data_only(path):
    assert not read(path, make_grid(west=600_000)).any()


def test_nearest_repeats_a_coarse_pixel_and_bilinear_blends_it(tmp_path):
    grid = make_grid(width=4, height=4)
    write_raster(tmp_path / "coarse.tif", np.array([[100, 200]] * 2, np.uint16), grid, nodata=0)

    nearest = read(tmp_path / "coarse.tif", grid)
    bilinear = read(tmp_path / "coarse.tif", grid, "bilinear")

    assert nearest.tolist() == [[100, 100, 200, 200]] * 4
    assert bilinear.tolist() == [[100, 125, 175, 200]] * 4


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_a_pixel_does_not_depend_on_how_its_tile_was_cut(tmp_path, resampling, size):
    grid = make_grid(west=500_000, north=5_600_000, width=24, height=24)
    coarse = np.random.default_rng(1).integers(1, 9000, (12, 12)).astype(np.uint16)
    write_raster(tmp_path / "coarse.tif", coarse, grid, nodata=0)
    whole = read(tmp_path / "coarse.tif", grid, resampling)

    for first in (0, 1, 10, 11):
        west, north = 500_000 + 10 * first, 5_600_000 - 10 * first
        tile = make_grid(west=west, north=north, width=size, height=size)
        part = whole[first : first + size, first : first + size]
        assert np.array_equal(read(tmp_path / "coarse.tif", tile, resampling), part), first


def test_bilinear_never_blends_with_missing_pixels(tmp_path):
    grid = make_grid(width=4, height=2)
    write_raster(tmp_path / "coarse.tif", np.array([[1000, 0]], np.uint16), grid, nodata=0)

    values = read(tmp_path / "coarse.tif", grid, "bilinear")

    assert set(values.ravel().tolist()) <= {0, 1000}
    assert (values[:, :2] == 1000).all()


def test_the_nodata_value_of_the_file_becomes_that_of_the_result(tmp_path):
    power = np.array([[0.5, -32768]], np.float32)
    write_raster(tmp_path / "vv.tif", power, make_grid(width=2, height=1), nodata=-32768)

    assert read(tmp_path / "vv.tif", make_grid(width=2, height=1)).tolist() == [[0.5, 0.0]]


def test_a_raster_of_the_neighbouring_zone_is_warped_onto_the_tile(tmp_path):
    from rasterio.warp import transform

    # The same spot, a few kilometres west of the border between zones 31 and 32.
    (x,), (y,) = transform("EPSG:32631", "EPSG:32632", [712_000], [5_600_000])
    west, north = round(x, -1) - 500, round(y, -1) + 500
    east = make_grid(epsg=32632, west=west, north=north, width=100, height=100)
    write_raster(tmp_path / "east.tif", np.full((100, 100), 7, np.uint16), east, nodata=0)

    values = read(tmp_path / "east.tif", make_grid(west=712_000, north=5_600_000))

    assert (values == 7).all()


def test_a_raster_without_coordinate_system_is_refused(tmp_path):
    import rasterio
    from rasterio.transform import from_origin

    profile = {"driver": "GTiff", "height": 4, "width": 6, "count": 1, "dtype": "uint16"}
    place = from_origin(GRID.west, GRID.north, 10, 10)
    with rasterio.open(tmp_path / "x.tif", "w", transform=place, **profile) as target:
        target.write(VALUES, 1)

    with pytest.raises(SceneError, match=r"x\.tif has no coordinate system; expected a geo"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>"])
def test_a_file_that_is_no_raster_is_refused(tmp_path, content):
    (tmp_path / "x.tif").write_bytes(content)

    with pytest.raises(SceneError, match=r"cannot read .*x\.tif: .* truncated or not a GeoTIFF"):
        read(tmp_path / "x.tif")


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(SceneError, match=r"cannot read .*absent\.tif"):
        read(tmp_path / "absent.tif")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_off_raster_is_refused(scenes, share):
    path = sorted(scenes.glob("sentinel-2-l2a/*/B04.tif"))[0]
    epsg, west, north = georeference(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(SceneError, match=r"cannot read .*B04\.tif: .* is the file truncated"):
        read(path, make_grid(epsg=epsg, west=west, north=north))


def test_a_small_raster_is_read_as_it_is_stored(path):
    assert read_plain(path).tolist() == VALUES.tolist()
    assert georeference(path) == (32631, 500_000, 5_600_000)


def test_a_small_raster_that_is_broken_is_refused(tmp_path):
    (tmp_path / "roi.tiff").write_bytes(b"II*\0")

    with pytest.raises(SceneError, match=r"cannot read .*roi\.tiff: .* or not a GeoTIFF"):
        read_plain(tmp_path / "roi.tiff")
    with pytest.raises(SceneError, match=r"cannot read .*roi\.tiff: .* or not a GeoTIFF"):
        georeference(tmp_path / "roi.tiff")
