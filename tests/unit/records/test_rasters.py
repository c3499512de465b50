"""A raster is opened as GeoTIFF or JPEG 2000 and by its own bytes alone, whoever reads it."""

import contextlib
import random
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.shutil import copy

from tessera_core.errors import SceneError
from tessera_core.ingest.rasters import georeference, read_onto_grid, read_plain
from tessera_core.records import rasters
from tessera_core.records.labels import raster_places, read_label, read_raster
from tessera_core.records.rasters import DRIVERS
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.tiles import make_grid

GRID = make_grid(west=500_000, north=5_600_000, width=32, height=32)
VALUES = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) % 200
INDEX = np.zeros(1, np.int64)
X, Y = np.meshgrid(*GRID.centres())

READERS = {
    "ingest, onto a grid": lambda path: read_onto_grid(
        str(path), GRID, resampling="nearest", nodata=0
    ),
    "ingest, region of interest": read_plain,
    "ingest, place of a tile": georeference,
    "labels, at positions": lambda path: read_label(
        [path.parent], path.name, np.full(X.size, GRID.epsg, np.int32), X.ravel(), Y.ravel()
    ),
    "labels, whole": read_raster,
    "labels, places": lambda path: raster_places(path, INDEX, INDEX),
}
"""Every way in which the platform reads a raster of the user's."""

REFUSAL = re.compile(
    r"cannot read (the label raster )?/\S+/x\.tif: it begins with .*, so it is truncated or not a "
    r"GeoTIFF or JPEG 2000 file, and no other format is opened; convert it with `rio convert` or "
    r"download it again"
)


@pytest.fixture
def path(tmp_path):
    """A GeoTIFF on ``GRID``."""
    write_raster(tmp_path / "plain.tif", VALUES.astype(np.uint8), GRID, nodata=None)
    return tmp_path / "plain.tif"


def drivers() -> list[str]:
    with rasterio.Env() as env:
        return sorted(env.drivers())


def written_by_every_driver(plain: Path, folder: Path) -> dict[str, Path]:
    """Return a file ``x.tif`` of every format that GDAL writes; what it cannot is left out."""
    found = {}
    for driver in drivers():
        target = folder / driver / "x.tif"
        target.parent.mkdir(parents=True)
        try:
            # Under another name this driver writes a bare codestream, which has no coordinates.
            first = target.with_suffix(".jp2") if driver.startswith("JP2") else target
            copy(str(plain), str(first), driver=driver)
            first.rename(target)
        except (RasterioError, CPLE_BaseError, SystemError, FileNotFoundError):
            continue
        if target.is_file():
            found[driver] = target
    return found


@pytest.mark.filterwarnings("ignore")  # of what formats cannot hold
def test_of_all_the_formats_that_gdal_writes_only_the_named_ones_open(path, tmp_path):
    files = written_by_every_driver(path, tmp_path / "all")
    assert len(files) > 40
    assert {"VRT", "PNG", "ENVI", "HFA", "NITF", "COG", *DRIVERS} <= set(files)

    opened = {
        (driver, name) for driver, file in files.items() for name in READERS if opens(file, name)
    }

    assert opened == {(driver, name) for driver in ("COG", *DRIVERS) for name in READERS}


def opens(file: Path, reader: str) -> bool:
    """Return whether a file is read; a refusal is one sentence with the path and the remedy."""
    try:
        READERS[reader](file)
    except SceneError as error:
        assert REFUSAL.fullmatch(str(error)), error  # noqa: PT017, for some files do open
        return False
    return True


VRT = (
    '<VRTDataset rasterXSize="32" rasterYSize="32"><SRS>EPSG:32631</SRS>'
    "<GeoTransform>500000,10,0,5600000,0,-10</GeoTransform>"
    '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{}</SourceFilename>'
    "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
)
INSTRUCTIONS = {
    "VRT": VRT,
    "VRT after a space": f"\n {VRT}",
    "VRT that warps": VRT.replace("<VRTDataset", '<VRTDataset subClass="VRTWarpedDataset"'),
    "WMS": '<GDAL_WMS><Service name="TMS"><ServerUrl>{}</ServerUrl></Service></GDAL_WMS>',
    "WCS": "<WCS_GDAL><ServiceURL>{}</ServiceURL><CoverageName>x</CoverageName></WCS_GDAL>",
    "WMTS": "<GDAL_WMTS><GetCapabilitiesUrl>{}</GetCapabilitiesUrl></GDAL_WMTS>",
    "GTI": "<GDALTileIndexDataset><IndexDataset>{}</IndexDataset></GDALTileIndexDataset>",
    "STACIT": '{{"type": "FeatureCollection", "stac_version": "1.0.0", "features": ["{}"]}}',
    "MRF": "<MRF_META><CachedSource><Source>{}</Source></CachedSource></MRF_META>",
    "PDS4": "<Product_Observational><file_name>{}</file_name></Product_Observational>",
    "DIMAP": "<Dimap_Document><DATA_FILE_PATH href='{}'/></Dimap_Document>",
    "a name": "{}",
}
"""Files that say where to read on."""


@pytest.mark.parametrize("text", INSTRUCTIONS.values(), ids=INSTRUCTIONS)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_only_says_where_to_read_on_is_refused(path, tmp_path, text, reader):
    (tmp_path / "x.tif").write_text(text.format(path))

    assert not opens(tmp_path / "x.tif", reader)


@pytest.mark.parametrize(
    "name",
    [
        "GTIFF_DIR:1:{}",
        "GTIFF_RAW:{}",
        "vrt://{}",
        "file://{}",
        "zip+file://{}!x.tif",
        "/vsizip/{}",
        "/vsigzip/{}",
        "/vsisubfile/0_100,{}",
        "/vsicurl/file://{}",
        "/vsicurl/http://127.0.0.1:9/x.tif",
        "s3://bucket/x.tif",
        "ftp://127.0.0.1:9/x.tif",
        "data:image/tiff;base64,SUkqAA==",
        VRT,
        "x\0.tif",
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_a_name_that_only_gdal_understands_is_no_file(path, name, reader):
    given = Path(name.format(path))
    if reader == "labels, at positions":
        # Looks for the file first: where there is none, there are no labels.
        assert "\0" in name or np.isnan(READERS[reader](given)).all()
        return

    with pytest.raises(SceneError, match=r"cannot read (the label raster )?.*: \w"):
        READERS[reader](given)


def test_a_file_with_the_name_of_a_prefix_is_that_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path.rename("GTIFF_DIR:2:plain.tif")

    assert read_plain(Path("GTIFF_DIR:2:plain.tif")).tolist() == VALUES.tolist()


SIDECARS = {
    "plain.tif.aux.xml": (
        "<PAMDataset><SRS>EPSG:32632</SRS><GeoTransform>0,7,0,0,0,-7</GeoTransform>"
        '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue><Scale>3</Scale></PAMRasterBand>'
        "</PAMDataset>"
    ),
    "plain.tfw": "7\n0\n0\n-7\n3\n3\n",
    "plain.wld": "7\n0\n0\n-7\n3\n3\n",
    "plain_RPC.TXT": "LINE_OFF: 1\n",
    "gdalrc": "[configoptions]\nGDAL_PAM_ENABLED=YES\n",
}


def test_nothing_that_lies_beside_a_raster_is_obeyed(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = [np.array(read(path), dtype=object).tolist() for read in READERS.values()]
    for name, content in SIDECARS.items():
        (tmp_path / name).write_text(content)
    write_raster(tmp_path / "plain.tif.msk", np.zeros((32, 32), np.uint8), GRID, nodata=None)
    write_raster(tmp_path / "plain.tif.ovr", np.zeros((16, 16), np.uint8), GRID, nodata=None)
    coarse = make_grid(west=500_000, north=5_600_000, width=4, height=4)

    beside = [np.array(read(path), dtype=object).tolist() for read in READERS.values()]

    assert str(beside) == str(alone)
    assert read_onto_grid(str(path), coarse, resampling="nearest", nodata=0).any()


def test_a_raster_without_coordinates_takes_none_from_a_world_file(tmp_path):
    profile = {"driver": "GTiff", "height": 32, "width": 32, "count": 1, "dtype": "uint8"}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(tmp_path / "plain.tif", "w", **profile) as target,
    ):
        target.write(VALUES.astype(np.uint8), 1)
    for name, content in SIDECARS.items():
        (tmp_path / name).write_text(content)

    assert georeference(tmp_path / "plain.tif") is None
    with pytest.raises(SceneError, match="has no coordinate system; expected UTM"):
        READERS["labels, at positions"](tmp_path / "plain.tif")


def test_a_raster_that_claims_more_pixels_than_fit_is_refused(tmp_path):
    profile = {"driver": "GTiff", "height": 10**6, "width": 10**6, "count": 1, "dtype": "uint8"}
    place = rasterio.transform.from_origin(500_000, 5_600_000, 10, 10)
    options = {"sparse_ok": True, "tiled": True, "crs": "EPSG:32631", "bigtiff": "yes"}
    with rasterio.open(
        tmp_path / "x.tif", "w", transform=place, blockxsize=65536, blockysize=4096,
        **profile, **options,
    ):  # fmt: skip
        pass

    for reader in ("ingest, region of interest", "labels, whole"):
        with pytest.raises(SceneError, match=r"x\.tif has 1000000 x 1000000 pixels where"):
            READERS[reader](tmp_path / "x.tif")


@pytest.mark.filterwarnings("ignore")  # of what the damage means
@pytest.mark.parametrize("driver", ["GTiff", "COG", "JP2OpenJPEG"])
def test_a_damaged_raster_is_read_or_refused(path, tmp_path, driver):
    whole = tmp_path / ("whole.jp2" if driver.startswith("JP2") else "whole.tif")
    copy(str(path), str(whole), driver=driver)
    content, draw = whole.read_bytes(), random.Random(7)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 1, 2, 4])):
            damaged[draw.randrange(4, min(len(content), 700))] = draw.choice([0, 1, 255, 128])
        (tmp_path / "x.tif").write_bytes(damaged)
        for read in READERS.values():
            with contextlib.suppress(SceneError):
                read(tmp_path / "x.tif")


def test_a_raster_of_complex_numbers_is_refused(tmp_path):
    write_raster(tmp_path / "x.tif", VALUES.astype(np.complex64), GRID, nodata=None)

    for read in READERS.values():
        with pytest.raises(SceneError, match=r"x\.tif holds complex numbers, expected real"):
            read(tmp_path / "x.tif")


def test_rasters_are_opened_in_one_place(repo):
    opening = re.compile(r"rasterio\.open|DatasetReader|osgeo|import rioxarray|imread\(")
    sources = [p for top in ("tessera_core", "flows") for p in (repo / top).rglob("*.py")]
    found = {p for p in sources if opening.search(p.read_text()) and "testing" not in p.parts}

    assert found == {Path(rasters.__file__)}
