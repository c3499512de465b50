"""Ground truth is read where the pixel is: by position, zone and nodata, not by index."""

import json

import numpy as np
import pytest

from tessera_core.errors import SceneError
from tessera_core.records.labels import (
    MAX_PARCELS,
    label_folders,
    label_sources,
    raster_places,
    read_labels,
    read_legend,
    read_raster,
)
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.tiles import make_grid

GRID = make_grid(west=500_000, north=5_600_000, width=4, height=3)
CROPS = np.arange(1, 13, dtype=np.uint16).reshape(3, 4)


def read(folders, grid=GRID, epsg=None):
    """Labels of all pixels of a grid, row by row."""
    x, y = grid.centres()
    xs, ys = np.meshgrid(x, y)
    codes = np.full(xs.size, grid.epsg if epsg is None else epsg, np.int32)
    return read_labels(folders, codes, xs.ravel(), ys.ravel())


@pytest.fixture
def folder(tmp_path):
    """Crop types 1 to 12 on ``GRID``."""
    write_raster(tmp_path / "crop_type.tif", CROPS, GRID, nodata=0)
    return tmp_path


def test_labels_are_read_at_pixel_centres(folder):
    labels = read([folder])

    assert labels.crop_type.tolist() == list(range(1, 13))
    assert labels.parcel.tolist() == [0] * 12
    assert np.isnan(labels.canopy_height_m).all()


def test_a_raster_that_lies_beside_the_tile_is_read_at_its_own_place(folder):
    # Two columns further east and one row further north than the labels.
    tile = make_grid(west=500_020, north=5_600_010, width=4, height=3)

    labels = read([folder], tile)

    assert labels.crop_type.reshape(3, 4).tolist() == [
        [0, 0, 0, 0],
        [3, 4, 0, 0],
        [7, 8, 0, 0],
    ]


def test_a_coarser_raster_gives_each_pixel_the_value_that_covers_it(tmp_path):
    grid = make_grid(west=500_000, north=5_600_000, width=4, height=2)
    write_raster(tmp_path / "crop_type.tif", np.array([[5, 6]], np.uint16), grid, nodata=0)

    assert read([tmp_path], grid).crop_type.tolist() == [5, 5, 6, 6] * 2


def test_the_same_metres_in_another_zone_are_another_place(folder):
    assert read([folder], epsg=32632).crop_type.tolist() == [0] * 12


def test_nodata_of_the_raster_is_unlabelled(tmp_path):
    write_raster(tmp_path / "crop_type.tif", CROPS, GRID, nodata=7)
    heights = np.where(CROPS == 2, np.float32(-9999), CROPS.astype(np.float32))
    write_raster(tmp_path / "canopy_height.tif", heights, GRID, nodata=-9999)

    labels = read([tmp_path])

    assert labels.crop_type[6] == 0
    assert np.isnan(labels.canopy_height_m).tolist() == (CROPS.ravel() == 2).tolist()


@pytest.mark.parametrize("nodata", [np.nan, None])
def test_nan_in_a_raster_is_unlabelled(tmp_path, nodata):
    values = np.where(CROPS == 3, np.nan, CROPS).astype(np.float32)
    for name in ("crop_type", "parcel_id", "canopy_height"):
        write_raster(tmp_path / f"{name}.tif", values, GRID, nodata=nodata)

    labels = read([tmp_path])

    assert labels.crop_type[2] == labels.parcel[2] == 0
    assert np.isnan(labels.canopy_height_m[2])
    assert labels.crop_type[3] == labels.parcel[3] == labels.canopy_height_m[3] == 4


def test_the_first_folder_that_labels_a_pixel_wins(tmp_path):
    for name, values in (("one", np.where(CROPS > 6, 0, CROPS)), ("two", CROPS + 100)):
        (tmp_path / name).mkdir()
        write_raster(tmp_path / name / "crop_type.tif", values.astype(np.uint16), GRID, nodata=0)

    labels = read([tmp_path / "one", tmp_path / "two"])

    assert labels.crop_type.tolist() == [*range(1, 7), *range(107, 113)]


def test_field_7_of_two_rasters_is_two_fields(tmp_path):
    left, right = CROPS.copy(), CROPS.copy()
    left[:, 2:], right[:, :2] = 0, 0
    for name, values in (("left", left), ("right", right)):
        (tmp_path / name).mkdir()
        sevens = np.where(values > 0, 7, 0).astype(np.uint32)
        write_raster(tmp_path / name / "parcel_id.tif", sevens, GRID, nodata=0)

    labels = read([tmp_path / "left", tmp_path / "right"])

    assert labels.parcel.reshape(3, 4).tolist() == [[7, 7, 7 + MAX_PARCELS, 7 + MAX_PARCELS]] * 3


def test_a_cut_off_raster_is_refused(folder):
    path = folder / "crop_type.tif"
    path.write_bytes(path.read_bytes()[:20])

    with pytest.raises(SceneError, match=r"cannot read the label raster .*crop_type\.tif"):
        read([folder])


def test_a_raster_without_coordinate_system_is_refused(tmp_path):
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    profile = {"driver": "GTiff", "height": 3, "width": 4, "count": 1, "dtype": "uint16"}
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(tmp_path / "crop_type.tif", "w", **profile) as target,
    ):
        target.write(CROPS, 1)

    with pytest.raises(SceneError, match="has no coordinate system; expected UTM"):
        read([tmp_path])


def test_the_setting_is_the_only_place_looked_at(folder, tmp_path):
    assert label_folders(tmp_path.parent, tmp_path.name, "stac", "elsewhere") == [folder]


def test_a_setting_without_rasters_is_refused(tmp_path):
    with pytest.raises(SceneError, match=r"evaluate\.labels names .*absent, which holds none of"):
        label_folders(tmp_path, "absent", "tiles", "tiles")


@pytest.mark.parametrize("path", ["scenes", "scenes/catalog.json"])
def test_labels_of_a_catalogue_lie_beside_it(tmp_path, path):
    (tmp_path / "scenes" / "labels").mkdir(parents=True)
    write_raster(tmp_path / "scenes" / "labels" / "crop_type.tif", CROPS, GRID, nodata=0)

    assert label_folders(tmp_path, None, "stac", path) == [tmp_path / "scenes" / "labels"]


def test_labels_of_tile_directories_lie_in_them(tmp_path):
    for name in ("b", "a", "without"):
        (tmp_path / "tiles" / name).mkdir(parents=True)
    for name in ("b", "a"):
        write_raster(tmp_path / "tiles" / name / "parcel_id.tif", CROPS, GRID, nodata=0)

    found = label_folders(tmp_path, None, "tiles", "tiles")

    assert [folder.name for folder in found] == ["a", "b"]


def test_an_api_has_no_labels(tmp_path):
    assert label_folders(tmp_path, None, "stac", "https://example.org/stac") == []


def test_receipts_name_every_label_file(folder, tmp_path):
    (folder / "legend.json").write_text("{}")

    digests = label_sources([folder], tmp_path)

    assert [digest.path for digest in digests] == ["crop_type.tif", "legend.json"]


def test_class_names_come_from_the_legend_where_there_is_one(tmp_path):
    (tmp_path / "with").mkdir()
    (tmp_path / "with" / "legend.json").write_text(json.dumps({"crop_type": {"3": "maize"}}))

    assert read_legend([tmp_path / "with", tmp_path / "without"]) == {3: "maize"}


# -- what no pixel of a tile can be compared with ----------------------------------------------


def test_a_raster_that_is_not_in_utm_is_refused_rather_than_found_empty(tmp_path):
    import rasterio
    from rasterio.transform import from_origin

    profile = {"driver": "GTiff", "height": 3, "width": 4, "count": 1, "dtype": "uint16"}
    place = from_origin(3.0, 50.5, 0.0001, 0.0001)
    with rasterio.open(
        tmp_path / "crop_type.tif", "w", crs="EPSG:4326", transform=place, **profile
    ) as target:
        target.write(CROPS, 1)

    with pytest.raises(SceneError, match=r"is in EPSG:4326, where no pixel .*; reproject it"):
        read([tmp_path])
    with pytest.raises(SceneError, match=r"is in EPSG:4326, where no pixel .*; reproject it"):
        raster_places(tmp_path / "crop_type.tif", np.zeros(1, np.int64), np.zeros(1, np.int64))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["crop_type", "parcel_id", "canopy_height"])
def test_a_value_that_is_no_code_id_or_height_is_refused(tmp_path, name, value):
    values = np.where(CROPS == 3, value, CROPS)
    write_raster(tmp_path / f"{name}.tif", values, GRID, nodata=None)

    with pytest.raises(SceneError, match=rf"{name}\.tif holds values beyond .* or infinity"):
        read([tmp_path])
    with pytest.raises(SceneError, match=rf"{name}\.tif holds values beyond .* or infinity"):
        read_raster(tmp_path / f"{name}.tif")


def test_a_raster_of_a_whole_country_is_read_only_where_the_tile_lies(tmp_path):
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    profile = {"driver": "GTiff", "height": 10**6, "width": 10**6, "count": 1, "dtype": "uint16"}
    options = {"sparse_ok": True, "tiled": True, "bigtiff": "yes", "compress": "deflate"}
    place = from_origin(GRID.west - 5_000_000, GRID.north + 5_000_000, 10, 10)
    with rasterio.open(
        tmp_path / "crop_type.tif", "w", crs="EPSG:32631", transform=place,
        blockxsize=4096, blockysize=4096, **profile, **options,
    ) as target:  # fmt: skip
        target.write(CROPS, 1, window=Window(500_000, 500_000, 4, 3))

    assert read([tmp_path]).crop_type.tolist() == list(range(1, 13))


@pytest.mark.parametrize(
    "text", ["[]", "5", '{"crop_type": ["maize"]}', '{"crop_type": {"x": "y"}}']
)
def test_a_legend_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "legend.json").write_text(text)

    with pytest.raises(SceneError, match=r"legend\.json: crop_type is not a mapping from class"):
        read_legend([tmp_path])
