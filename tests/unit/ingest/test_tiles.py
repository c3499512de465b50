"""TESSERA tile directories: read as they are, and refused by name where they are not right."""

import json
from pathlib import Path

import numpy as np
import pytest

from tessera_core.domain.backscatter import scaled_db_from_power
from tessera_core.domain.scl import SceneClass, clear_mask
from tessera_core.domain.tile import TileSeries
from tessera_core.errors import InputError, SceneError
from tessera_core.ingest.sources.tiles import REQUIRED, TileDirectories
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.tiles import make_grid, make_tile

TILE = make_tile(name="here", year=2018, seed=5)
SHAPE = TILE.optical.scl.shape


def write(folder: Path, tile: TileSeries = TILE, document=None, **changes) -> Path:
    """A tile directory with some arrays replaced."""
    document = tile_document(tile.grid, tile.year) if document is None else document
    return write_tile_directory(folder, {**tile_arrays(tile), **changes}, document)


def open_tiles(root: Path, path: str = "here", **changes) -> TileDirectories:
    return TileDirectories(root / path, root, **changes)


def read_only_tile(root: Path, path: str = "here", **changes) -> TileSeries:
    source = open_tiles(root, path, **changes)
    (ref,) = source.tiles()
    return source.read(ref)[0]


def test_a_directory_is_read_array_by_array(tmp_path):
    write(tmp_path / "here")

    tile = read_only_tile(tmp_path)

    assert (tile.name, tile.year, tile.grid) == ("here", 2018, TILE.grid)
    assert np.array_equal(tile.optical.reflectance, TILE.optical.reflectance)
    assert np.array_equal(tile.optical.day_of_year, TILE.optical.day_of_year)
    assert np.array_equal(clear_mask(tile.optical.scl), clear_mask(TILE.optical.scl))
    for orbit in ("ascending", "descending"):
        read, written = getattr(tile, orbit), getattr(TILE, orbit)
        assert np.array_equal(read.backscatter_scaled_db, written.backscatter_scaled_db)
        assert np.array_equal(read.day_of_year, written.day_of_year)
    assert tile.inside.all()


def test_every_file_is_a_scene_with_its_digest(tmp_path):
    write(tmp_path / "here")
    source = open_tiles(tmp_path)

    _, scenes = source.read(source.tiles()[0])

    assert {scene.href for scene in scenes} == {f"here/{name}" for name in (*REQUIRED, "tile.json")}
    assert {(scene.href, scene.sha256) for scene in scenes} == {
        (digest.path, digest.sha256) for digest in source.digests()
    }


def test_a_folder_of_directories_is_read_in_name_order(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / "tiles" / name)
    (tmp_path / "tiles" / "labels").mkdir()

    refs = open_tiles(tmp_path, "tiles").tiles()

    assert [(ref.name, ref.year) for ref in refs] == [("a", 2018), ("b", 2018)]


def test_two_links_to_directories_of_one_name_are_two_tiles(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name / "tile")
        (tmp_path / "tiles").mkdir(exist_ok=True)
        (tmp_path / "tiles" / name).symlink_to(tmp_path / name / "tile")

    assert [ref.name for ref in open_tiles(tmp_path, "tiles").tiles()] == ["one", "two"]


def test_a_path_that_ends_in_dots_still_names_the_tile(tmp_path):
    write(tmp_path / "here")
    (tmp_path / "here" / "labels").mkdir()

    assert [ref.name for ref in open_tiles(tmp_path, "here/labels/..").tiles()] == ["here"]


@pytest.mark.parametrize("path", ["absent", "."])
def test_a_path_without_tiles_is_refused(tmp_path, path):
    with pytest.raises(SceneError, match=r"holds no tile: .* set ingest\.path to a TESSERA"):
        open_tiles(tmp_path, path)


def test_scene_classes_are_kept_where_they_agree_with_the_mask(tmp_path):
    scl = np.full(SHAPE, SceneClass.SNOW, np.uint8)
    masks = np.ones(SHAPE, np.uint8)
    masks[1] = 0
    write(tmp_path / "here", scl=scl, masks=masks)

    read = read_only_tile(tmp_path).optical.scl

    assert (read[0] == SceneClass.SNOW).all()
    assert (read[1] == SceneClass.UNUSABLE_BY_MASK).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.int64])
def test_days_may_be_stored_in_any_integer_type(tmp_path, dtype):
    names = ("doys", "sar_ascending_doy", "sar_descending_doy")
    arrays = tile_arrays(TILE)
    write(tmp_path / "here", **{name: arrays[name].astype(dtype) for name in names})

    tile = read_only_tile(tmp_path)

    assert tile.optical.day_of_year.dtype == tile.ascending.day_of_year.dtype == np.uint16
    assert tile.descending.day_of_year.tolist() == TILE.descending.day_of_year.tolist()


def test_an_orbit_of_length_0_is_accepted(tmp_path):
    tile = make_tile(num_descending=0)
    write(tmp_path / "here", tile)

    read = read_only_tile(tmp_path)

    assert read.descending.backscatter_scaled_db.shape == (0, 4, 5, 2)
    assert len(read.ascending.day_of_year) == 7


# -- where and when ---------------------------------------------------------------------------


def test_the_year_comes_from_the_settings_when_the_tile_does_not_say(tmp_path):
    document = tile_document(TILE.grid, 2018)
    del document["year"]
    write(tmp_path / "here", document=document)

    assert read_only_tile(tmp_path, year=2021).year == 2021
    with pytest.raises(SceneError, match=r"here does not say its year: .* set ingest\.year"):
        open_tiles(tmp_path).tiles()


def folder_of_years(root: Path, **years: int | None) -> Path:
    """A folder with a directory per name, which says its year where that is not None."""
    for name, year in years.items():
        document = tile_document(TILE.grid, year or 2018)
        if year is None:
            del document["year"]
        write(root / "tiles" / name, document=document)
    return root / "tiles"


def test_a_directory_of_another_year_than_the_settings_is_refused(tmp_path):
    base = folder_of_years(tmp_path, here=2018) / "here"

    assert TileDirectories(base, tmp_path, year=2018).tiles()[0].year == 2018
    with pytest.raises(
        SceneError,
        match=r"ingest\.year is 2021, but tile\.json of here in .* says 2018; set ingest",
    ):
        TileDirectories(base, tmp_path, year=2021)


def test_of_a_folder_only_the_year_of_the_settings_is_read_and_the_others_are_named(tmp_path):
    base = folder_of_years(tmp_path, a=2018, b=2021, c=None, d=2018)

    source = TileDirectories(base, tmp_path, year=2018)

    assert [(ref.name, ref.year) for ref in source.tiles()] == [
        ("a", 2018),
        ("c", 2018),
        ("d", 2018),
    ]
    assert source.remarks() == ["1 of 4 tiles are not of ingest.year 2018 and are left out: b"]
    with pytest.raises(
        SceneError, match=r"is 2015, but tile\.json of a, b, d in \S+ says 2018, 2021"
    ):
        TileDirectories(base, tmp_path, year=2015, exclude=("c",))


def test_every_year_of_a_folder_is_read_where_the_settings_name_none(tmp_path):
    source = TileDirectories(folder_of_years(tmp_path, a=2018, b=2021), tmp_path)

    assert [ref.year for ref in source.tiles()] == [2018, 2021]
    assert source.remarks() == []


def test_what_keeps_a_tile_out_is_among_the_sources(tmp_path):
    base = folder_of_years(tmp_path, a=2018, b=2021)

    names = {digest.path for digest in TileDirectories(base, tmp_path, year=2018).digests()}

    assert "tiles/b/tile.json" in names
    assert "tiles/b/bands.npy" not in names


@pytest.mark.parametrize("year", [True, "2018", 9999, 2018.5, -1, [2018]])
def test_a_year_that_is_none_is_refused(tmp_path, year):
    write(tmp_path / "here", document={**tile_document(TILE.grid, 2018), "year": year})

    with pytest.raises(SceneError, match=r"tile\.json: year is .*, expected a number of 2015 to 2"):
        open_tiles(tmp_path).tiles()


@pytest.mark.parametrize("name", ["bands.npy", "doys.npy"])
@pytest.mark.parametrize("shape", ["(1000000000, 1000000000)", "(-4,)", "(9,) + (", "(10**400,)"])
def test_an_array_that_claims_what_no_memory_holds_is_refused(tmp_path, name, shape):
    folder = write(tmp_path / "here")
    head = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.ljust(117) + "\n"
    (folder / name).write_bytes(
        b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode()
    )

    with pytest.raises(SceneError, match=rf"cannot read .*{name}: "):
        read_only_tile(tmp_path)


def test_a_region_raster_says_where_the_tile_lies_and_what_is_inside(tmp_path):
    folder = write(tmp_path / "here", document={"year": 2018})
    roi = np.ones((4, 5), np.uint8)
    roi[0, 4] = roi[3, 1] = 0
    grid = make_grid(epsg=32733, west=300_000, north=7_000_000)
    write_raster(folder / "roi.tiff", roi, grid, nodata=None)

    tile = read_only_tile(tmp_path)

    assert tile.grid == grid
    assert np.array_equal(tile.inside, roi == 1)


def test_padding_beyond_a_smaller_region_raster_is_not_inside(tmp_path):
    folder = write(tmp_path / "here")
    real = make_grid(width=3, height=2)
    write_raster(folder / "roi.tiff", np.ones((2, 3), np.uint8), real, nodata=None)

    inside = read_only_tile(tmp_path).inside

    assert inside.sum() == 6
    assert inside[:2, :3].all()


@pytest.mark.parametrize("region", ["same", "other", "smaller"])
def test_backscatter_inside_a_region_of_any_shape_equals_the_reference(
    tmp_path, shared_data, region
):
    golden = np.load(shared_data / "parity" / "preprocess.npz")
    coded = scaled_db_from_power(golden["s1.image"])
    grid = make_grid(width=6, height=5)
    series = np.broadcast_to(coded[None, ..., None], (1, *coded.shape, 2))
    folder = write(
        tmp_path / "here",
        make_tile(grid=grid, year=2018, num_ascending=1),
        sar_ascending=series,
    )
    roi = golden[f"s1.roi_{region}"]
    real = make_grid(width=roi.shape[1], height=roi.shape[0])
    write_raster(folder / "roi.tiff", roi, real, nodata=None)

    tile = read_only_tile(tmp_path)

    # The reference zeroes what lies outside; we keep the values and say what is inside.
    ours = np.where(tile.inside, tile.ascending.backscatter_scaled_db[0, ..., 0], 0)
    theirs = golden[f"s1.image_code_{region}"]
    assert np.array_equal(ours == 0, theirs == 0)
    assert np.abs(ours - theirs.astype(int)).max() <= 1


def test_a_region_raster_without_coordinates_leaves_the_place_to_the_document(tmp_path):
    folder = write(tmp_path / "here")
    write_without_coordinates(folder / "roi.tiff", np.ones((4, 5), np.uint8))

    assert read_only_tile(tmp_path).grid == TILE.grid


def write_without_coordinates(path: Path, values: np.ndarray) -> None:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    height, width = values.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1}
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(path, "w", dtype=values.dtype, **profile) as target,
    ):
        target.write(values, 1)


def test_a_region_raster_of_another_pixel_size_is_refused(tmp_path):
    folder = write(tmp_path / "here")
    write_raster(folder / "roi.tiff", np.ones((2, 5), np.uint8), make_grid(width=10), nodata=None)

    with pytest.raises(SceneError, match=r"roi\.tiff has pixels of 20\.0 x -20\.0 m"):
        open_tiles(tmp_path).tiles()


def test_a_broken_region_raster_is_refused(tmp_path):
    folder = write(tmp_path / "here")
    (folder / "roi.tiff").write_bytes(b"not a raster")

    with pytest.raises(SceneError, match=r"cannot read .*roi\.tiff"):
        open_tiles(tmp_path).tiles()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": "EPSG:4326"}, "EPSG:4326 is not a UTM zone"),
        ({"crs": "UTM 31N"}, r"tile\.json: crs 'UTM 31N' or transform is not of the form"),
        ({"transform": [10, 0]}, r"tile\.json: crs .* or transform is not of the form"),
        ({"transform": None}, "or transform is not of the form"),
        (
            {"transform": [20.0, 0.0, 500_000.0, 0.0, -20.0, 5_600_000.0]},
            r"tile\.json has pixels of 20\.0 x -20\.0 m, expected 10 x -10 m",
        ),
        (
            {"transform": [10.0, 0.0, 500_000.0, 0.0, 10.0, 5_600_000.0]},
            r"tile\.json has pixels of 10\.0 x 10\.0 m, expected 10 x -10 m",
        ),
    ],
)
def test_a_document_that_does_not_place_the_tile_is_refused(tmp_path, changes, message):
    write(tmp_path / "here", document={**tile_document(TILE.grid, 2018), **changes})

    with pytest.raises(SceneError, match=message):
        open_tiles(tmp_path).tiles()


def test_a_tile_that_does_not_say_where_it_lies_is_refused(tmp_path):
    write(tmp_path / "here", document={"year": 2018})

    with pytest.raises(SceneError, match=r"here does not say where it lies: expected .* roi\.tiff"):
        open_tiles(tmp_path).tiles()


def test_a_document_that_is_not_json_is_refused(tmp_path):
    folder = write(tmp_path / "here")
    (folder / "tile.json").write_text("{")

    with pytest.raises(InputError, match=r"tile\.json is not JSON"):
        open_tiles(tmp_path).tiles()


# -- faults in the arrays ---------------------------------------------------------------------


def with_nan(shape: tuple[int, ...]) -> np.ndarray:
    values = np.ones(shape, np.float32)
    values.flat[1] = np.nan
    return values


NUM_S2, NUM_ASC = SHAPE[0], len(TILE.ascending.day_of_year)
FAULTS = {
    "mask without a row": ({"masks": np.ones((9, 3, 5), np.uint8)}, r"masks.npy has shape \(9, 3"),
    "mask without a date": ({"masks": np.ones((8, 4, 5), np.uint8)}, r"needs \(9, 4, 5\) of uint8"),
    "mask of 255": (
        {"masks": np.full(SHAPE, 255, np.uint8)},
        r"masks\.npy goes up to 255, expected 0 or 1 \(1 = usable\)",
    ),
    "mask as booleans": ({"masks": np.ones(SHAPE, np.bool_)}, "type bool, but .* of uint8"),
    "never clear": ({"masks": np.zeros(SHAPE, np.uint8)}, "none of 9 .* dates is clear anywhere"),
    "scl of another shape": ({"scl": np.zeros((9, 4, 6), np.uint8)}, r"scl\.npy has shape \(9, 4"),
    "scl of another product": (
        {"scl": np.full(SHAPE, 42, np.uint8), "masks": np.ones(SHAPE, np.uint8)},
        r"scl holds codes \[42\]",
    ),
    "bands first": (
        {"bands": np.ones((9, 10, 4, 5), np.uint16), "masks": np.ones((9, 10, 4), np.uint8)},
        r"expected \(time, row, column, 10\); is the array stored band-first",
    ),
    "reflectance as float": (
        {"bands": np.ones((*SHAPE, 10), np.float32)},
        "S2 reflectance is float32, expected uint16",
    ),
    "reflectance with NaN": (
        {"bands": with_nan((*SHAPE, 10))},
        r"bands\.npy is float32 with 1 NaN; stored arrays are integers, where 0 means no data",
    ),
    "day 0": ({"doys": np.arange(NUM_S2)}, r"spans 0\.\.8, expected 1\.\.366 \(1 = 1 January"),
    "day -1": ({"doys": np.arange(NUM_S2) - 1}, r"doys\.npy spans -1\.\.7, expected 1\.\.366"),
    "day 70000": ({"doys": np.full(NUM_S2, 70_000)}, r"doys\.npy spans 70000\.\.70000"),
    "days as float": ({"doys": np.arange(1.0, 10.0)}, r"doys\.npy is float64, expected integers"),
    "days with NaN": ({"doys": with_nan((NUM_S2,))}, r"doys\.npy is float32 with 1 NaN"),
    "days backwards": ({"doys": np.arange(NUM_S2, 0, -1)}, "S2 dates are not in time order"),
    "a day too many": ({"doys": np.arange(1, NUM_S2 + 2)}, r"9 dates need \(9,\)"),
    "radar days backwards": (
        {"sar_ascending_doy": np.arange(NUM_ASC, 0, -1)},
        "S1 dates are not in time order",
    ),
    "radar without days": ({"sar_ascending_doy": np.zeros(0, np.int16)}, r"7 dates need \(7,\)"),
    "radar in plain dB": (
        {"sar_ascending": np.full((NUM_ASC, 4, 5, 2), -12, np.int16)},
        "goes down to -12, expected scaled dB",
    ),
    "radar as power": (
        {"sar_descending": np.ones((4, 4, 5, 2), np.float32)},
        "S1 backscatter is float32, expected int16",
    ),
    "radar of another tile": (
        {"sar_descending": np.ones((4, 4, 6, 2), np.int16)},
        r"S1 descending covers \(4, 6\) \(rows, columns\), but the grid is \(4, 5\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_array_is_refused_with_folder_and_reason(tmp_path, fault):
    changes, message = FAULTS[fault]
    write(tmp_path / "here", **changes)

    with pytest.raises(SceneError, match=message) as caught:
        read_only_tile(tmp_path)

    assert str(tmp_path / "here") in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("shape", [(4, 5, 10), (9, 4, 5), (10,), ()])
def test_bands_without_a_time_axis_are_refused(tmp_path, shape):
    write(tmp_path / "here", bands=np.ones(shape, np.uint16))

    with pytest.raises(SceneError, match=r"bands\.npy has shape .*, expected \(time, row, column"):
        open_tiles(tmp_path).tiles()


@pytest.mark.parametrize("name", [name for name in REQUIRED if name != "bands.npy"])
def test_a_missing_array_is_named(tmp_path, name):
    folder = write(tmp_path / "here")
    (folder / name).unlink()

    with pytest.raises(
        SceneError, match=rf"{name} is missing; .*an orbit without passes is an array of length 0"
    ):
        read_only_tile(tmp_path)


@pytest.mark.parametrize("name", [*REQUIRED, "scl.npy"])
def test_a_pickle_is_never_opened(tmp_path, name):
    folder = write(tmp_path / "here")
    np.save(folder / name, np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(SceneError, match=rf"cannot read .*{name}: .*"):
        read_only_tile(tmp_path)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("num_bytes", [0, 40, 150])
def test_a_cut_off_array_is_refused(tmp_path, name, num_bytes):
    folder = write(tmp_path / "here")
    content = (folder / name).read_bytes()[:num_bytes]
    # The day arrays are whole after 150 bytes.
    (folder / name).write_bytes(content[:-1] if num_bytes == 150 else content)

    with pytest.raises(SceneError, match=rf"cannot read .*{name}: .* is the file truncated"):
        read_only_tile(tmp_path)


def test_a_document_that_is_not_a_mapping_is_refused(tmp_path):
    folder = write(tmp_path / "here")
    (folder / "tile.json").write_text(json.dumps([2018]))

    with pytest.raises(SceneError, match=r"tile\.json holds list, expected year, crs"):
        open_tiles(tmp_path).tiles()


def test_an_excluded_directory_is_neither_a_tile_nor_a_source(tmp_path):
    for name in ("33UXP", "33UXQ"):
        made = make_tile(seed=1)
        write_tile_directory(
            tmp_path / "tiles" / name, tile_arrays(made), tile_document(made.grid, 2022)
        )

    source = TileDirectories(tmp_path / "tiles", tmp_path, exclude=("33UXQ",))

    assert [ref.name for ref in source.tiles()] == ["33UXP"]
    assert not [digest.path for digest in source.digests() if "33UXQ" in digest.path]
    assert source.remarks() == []
    with pytest.raises(SceneError, match=r"ingest\.exclude leaves no tile"):
        TileDirectories(tmp_path / "tiles", tmp_path, exclude=("33UXP", "33UXQ"))


def test_an_exclusion_that_no_directory_has_is_told(tmp_path):
    write(tmp_path / "tiles" / "here")

    source = TileDirectories(tmp_path / "tiles", tmp_path, exclude=("hre",))

    assert [ref.name for ref in source.tiles()] == ["here"]
    (remark,) = source.remarks()
    assert remark.startswith("ingest.exclude names 'hre', but nothing that was found has that")
