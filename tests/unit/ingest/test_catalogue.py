"""Static catalogues: faults are named, and nothing outside the folder is ever read."""

import json
from pathlib import Path
from typing import Any

import pytest

from tessera_core.errors import SceneError
from tessera_core.ingest.catalogue import StaticCatalogue, open_catalogue
from tessera_core.ingest.items import StacItem
from tessera_core.testing.catalogues import OPTICAL, RADAR, optical_scene, write_catalogue
from tessera_core.testing.settings import ingest_settings
from tessera_core.testing.tiles import make_grid

GRID = make_grid(width=8, height=6)


@pytest.fixture
def root(tmp_path) -> Path:
    """A workspace with one optical scene and a file that is nobody's business."""
    scene = optical_scene("june", "2022-06-01T10:00:00", GRID, value=3000)
    write_catalogue(tmp_path / "scenes", [scene])
    (tmp_path / "secret.tif").write_bytes(b"secret")
    return tmp_path


def item_path(root: Path) -> Path:
    return root / "scenes" / OPTICAL / "june" / "june.json"


def change(path: Path, **changes: Any) -> None:
    """Replace top-level entries of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def items(root: Path, collection: str = OPTICAL, **changes) -> list[StacItem]:
    return StaticCatalogue(ingest_settings(**changes), root).items(collection)


@pytest.mark.parametrize("path", ["scenes", "scenes/catalog.json"])
def test_an_item_says_what_ingest_needs(root, path):
    (item,) = items(root, path=path)

    assert (item.scene_id, item.collection, item.acquired.isoformat()) == (
        "june",
        OPTICAL,
        "2022-06-01",
    )
    assert (item.epsg, item.bounds) == (32631, GRID.bounds)
    assert (item.orbit, item.baseline) == ("", "04.00")
    assert item.asset("B04") == str(root / "scenes" / OPTICAL / "june" / "B04.tif")


def test_addresses_are_recorded_relative_to_the_root(root):
    catalogue = StaticCatalogue(ingest_settings(), root)
    (item,) = catalogue.items(OPTICAL)

    assert catalogue.relative(item.asset("B04")) == f"scenes/{OPTICAL}/june/B04.tif"
    assert item.identity.path == f"scenes/{OPTICAL}/june/june.json"


def test_the_projection_may_be_named_by_code(root):
    properties = json.loads(item_path(root).read_text())["properties"]
    del properties["proj:epsg"]
    change(item_path(root), properties={**properties, "proj:code": "EPSG:32633"})

    assert items(root)[0].epsg == 32633


def test_an_item_reaches_the_tiles_that_it_overlaps(root):
    (item,) = items(root)

    assert item.overlaps(GRID)
    assert item.overlaps(make_grid(west=GRID.west + 70))
    assert not item.overlaps(make_grid(west=GRID.west + 80))
    assert not item.overlaps(make_grid(epsg=32633))


def test_an_item_reaches_a_tile_of_the_neighbouring_zone_by_degrees(root):
    from rasterio.warp import transform

    (item,) = items(root)
    (x,), (y,) = transform("EPSG:32631", "EPSG:32632", [GRID.west + 40], [GRID.north - 30])

    assert item.overlaps(make_grid(epsg=32632, west=round(x, -1) - 20, north=round(y, -1) + 20))


def test_a_collection_without_items_is_empty(root):
    assert items(root, RADAR) == []


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("sentinel-2-l2", r"Did you mean 'sentinel-2-l2a'\?"),
        ("landsat", r"Known: sentinel-1-rtc, sentinel-2-l2a\."),
    ],
)
def test_an_unknown_collection_is_refused_with_the_nearest_name(root, asked, hint):
    with pytest.raises(SceneError, match=rf"has no collection '{asked}'\. {hint}"):
        items(root, asked)


def test_an_asset_that_is_not_there_is_refused_with_those_that_are(root):
    (item,) = items(root)

    with pytest.raises(SceneError, match=r"june of sentinel-2-l2a has no asset B01; it has B02, "):
        item.asset("B01")


@pytest.mark.parametrize("path", ["absent", "absent.json", "scenes/sentinel-1-rtc"])
def test_a_path_without_catalogue_is_refused(root, path):
    with pytest.raises(
        SceneError, match=r"cannot read the STAC catalogue .*json: .* set ingest\.path to a folder"
    ):
        open_catalogue(ingest_settings(path=path), root)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"type": "Feature"}'])
def test_a_file_that_is_no_catalogue_is_refused(root, content):
    (root / "scenes" / "catalog.json").write_text(content)

    with pytest.raises(SceneError, match=r"cannot read the STAC catalogue .*catalog\.json"):
        open_catalogue(ingest_settings(), root)


def test_a_listed_item_that_is_missing_is_refused(root):
    item_path(root).unlink()

    with pytest.raises(
        SceneError, match=r"cannot read the items of sentinel-2-l2a in .*june\.json.*No such"
    ):
        items(root)


@pytest.mark.parametrize("content", ["", "{", '{"type": "Catalog"}', '{"type": "Feature"}'])
def test_an_item_that_cannot_be_read_is_refused(root, content):
    item_path(root).write_text(content)

    with pytest.raises(
        SceneError, match=r"cannot read the items of sentinel-2-l2a in .*scenes: .*june\.json"
    ):
        items(root)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"datetime": None, "start_datetime": "2022-01-01T00:00:00Z"}, "june has no datetime or"),
        ({"sat:orbit_state": "geostationary"}, "sat:orbit_state is 'geostationary', expected"),
    ],
)
def test_an_item_that_says_too_little_is_refused(root, properties, message):
    stored = json.loads(item_path(root).read_text())["properties"]
    change(
        item_path(root),
        properties={**stored, "end_datetime": "2022-12-31T00:00:00Z", **properties},
    )

    with pytest.raises(SceneError, match=message):
        items(root)


@pytest.mark.parametrize("name", ["B02.tif", "SCL.tif", "june.json"])
def test_changed_bytes_behind_an_item_are_another_source(root, name):
    def digests():
        catalogue = StaticCatalogue(ingest_settings(), root)
        return catalogue.digests(catalogue.items(OPTICAL))

    before = digests()
    path = item_path(root).with_name(name)
    content = path.read_bytes()
    path.write_bytes(
        content[:-1] + bytes([content[-1] ^ 1]) if name != "june.json" else content + b" "
    )

    changed = {b.path for b, a in zip(before, digests(), strict=True) if a != b}
    assert changed == {f"scenes/{OPTICAL}/june/{name}"}


# -- nothing outside the folder ---------------------------------------------------------------


@pytest.mark.parametrize(
    "href",
    [
        "../../../secret.tif",
        "./../../../secret.tif",
        "/etc/passwd",
        "file:///etc/passwd",
        "https://example.org/B04.tif",
        "s3://bucket/B04.tif",
        "/vsicurl/http://example.org/B04.tif",
    ],
)
def test_an_asset_outside_the_folder_is_refused(root, href):
    change(item_path(root), assets={"B04": {"href": href}})

    with pytest.raises(
        SceneError, match=r"asset B04 points to .*, outside .*scenes; a static catalogue may only"
    ):
        items(root)


def test_a_link_on_disk_that_leads_outside_is_refused(root):
    path = item_path(root).with_name("B04.tif")
    path.unlink()
    path.symlink_to(root / "secret.tif")

    with pytest.raises(SceneError, match=r"asset B04 points to .*B04\.tif, outside"):
        items(root)


@pytest.mark.parametrize("href", ["../../june.json", "http://127.0.0.1:9/june.json"])
def test_a_document_outside_the_folder_is_not_read(root, href):
    (root / "june.json").write_bytes(item_path(root).read_bytes())
    collection = root / "scenes" / OPTICAL / "collection.json"
    change(collection, links=[{"rel": "item", "href": href}])

    with pytest.raises(SceneError, match=r"june\.json, outside .*scenes; a static catalogue may"):
        items(root)


@pytest.mark.parametrize("href", ["../other/collection.json", "http://127.0.0.1:9/c.json"])
def test_a_collection_outside_the_folder_is_not_read(root, href):
    (root / "other").mkdir()
    content = (root / "scenes" / OPTICAL / "collection.json").read_bytes()
    (root / "other" / "collection.json").write_bytes(content)
    change(root / "scenes" / "catalog.json", links=[{"rel": "child", "href": href}])

    with pytest.raises(SceneError, match=r"json, outside .*scenes; a static catalogue may only"):
        items(root)
