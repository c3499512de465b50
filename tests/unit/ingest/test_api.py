"""A STAC API gives the same samples as a static catalogue of the same scenes."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest

from tessera_core.config import PlatformConfig
from tessera_core.errors import SceneError
from tessera_core.ingest.catalogue import ApiCatalogue
from tessera_core.ingest.sources.stac import StacScenes
from tessera_core.ingest.stage import run, sources
from tessera_core.ports import OFFLINE
from tessera_core.records.paths import Paths
from tessera_core.records.samples import list_tiles, read_scenes, read_tile
from tessera_core.testing.settings import ingest_settings
from tests.unit.ingest.served import PAGE_SIZE, stac_api

OPTICAL = "sentinel-2-l2a"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """Reach this machine directly, also where the environment names a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(scope="module")
def box(pristine_scenes) -> list[float]:
    """West, south, east, north: the inner half of the simulated scenes, in degrees."""
    items = [json.loads(p.read_bytes()) for p in pristine_scenes.glob("scenes/*/*/*.json")]
    boxes = np.array([item["bbox"] for item in items])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    quarter = (high - low) / 4
    return [*(low + quarter).tolist(), *(high - quarter).tolist()]


def settings(repo: Path, box: list[float], path: str) -> PlatformConfig:
    return PlatformConfig.read(
        repo / "params.yaml",
        [f"ingest.path={path}", f"ingest.bbox={box}", "ingest.year=2022"],
    )


def test_the_samples_equal_those_of_the_static_catalogue(repo, pristine_scenes, box, tmp_path):
    local = Paths(root=pristine_scenes, workspace=tmp_path / "local")
    remote = Paths(root=tmp_path, workspace=tmp_path / "remote")

    from_files = run(settings(repo, box, "scenes"), local, OFFLINE)
    with stac_api(pristine_scenes / "scenes") as address:
        from_api = run(settings(repo, box, address), remote, OFFLINE)

    assert from_api.facts["tiles"] == from_files.facts["tiles"]
    (folder,), (twin,) = list_tiles(local.samples), list_tiles(remote.samples)
    assert folder.relative_to(local.samples) == twin.relative_to(remote.samples)
    assert (twin / "samples.parquet").read_bytes() == (folder / "samples.parquet").read_bytes()
    assert read_tile(twin).pixels.optical.valid.any()
    ours, theirs = read_scenes(folder), read_scenes(twin)
    named = ("scene_id", "collection", "acquired", "orbit", "asset", "offset_removed")
    assert {tuple(row[n] for n in named) for row in theirs} == {
        tuple(row[n] for n in named) for row in ours
    }
    assert all(row["href"].startswith(address) for row in theirs)


def test_a_search_reads_every_page_and_sorts_by_time(pristine_scenes, box):
    with stac_api(pristine_scenes / "scenes") as address:
        found = ApiCatalogue(ingest_settings(path=address, bbox=tuple(box), year=2022)).items(
            "sentinel-1-rtc"
        )

    stored = list((pristine_scenes / "scenes" / "sentinel-1-rtc").glob("*/*.json"))
    assert len(found) == len(stored) > PAGE_SIZE
    assert [item.acquired for item in found] == sorted(item.acquired for item in found)


def test_a_search_asks_for_area_and_year(pristine_scenes, box):
    elsewhere = (box[0] + 5, box[1], box[2] + 5, box[3])
    with stac_api(pristine_scenes / "scenes") as address:
        for changes in ({"year": 2021}, {"bbox": elsewhere}):
            known = {"path": address, "bbox": tuple(box), "year": 2022}
            catalogue = ApiCatalogue(ingest_settings(**{**known, **changes}))
            assert catalogue.items(OPTICAL) == []


def api_items(address: str, box: list[float], collection: str = OPTICAL):
    return ApiCatalogue(ingest_settings(path=address, bbox=tuple(box), year=2022)).items(collection)


def test_signatures_are_no_part_of_a_scene_but_changed_items_are_another(pristine_scenes, box):
    def signed(key: str, baseline: str = "04.00"):
        def alter(item):
            for asset in item["assets"].values():
                asset["href"] = f"https://example.org/{asset['href'][-7:]}?key={key}"
            item["properties"]["s2:processing_baseline"] = baseline
            return item

        return alter

    identities = []
    for alter in (signed("a"), signed("b"), signed("a", "05.10")):
        with stac_api(pristine_scenes / "scenes", alter) as address:
            identities.append([item.identity.sha256 for item in api_items(address, box)])

    assert identities[0] == identities[1] != identities[2]


def test_assets_may_be_named_relative_to_their_item(pristine_scenes, box):
    def alter(item):
        for asset in item["assets"].values():
            asset["href"] = "../../../assets/x/B04.tif"
        return item

    with stac_api(pristine_scenes / "scenes", alter) as address:
        hrefs = {item.asset("B04") for item in api_items(address, box)}

    assert hrefs == {f"{address}assets/x/B04.tif"}


@pytest.mark.parametrize(
    "href",
    [
        "http://example.org/B04.tif",
        "http://127.0.0.1:9/B04.tif",
        "file:///etc/passwd",
        "s3://bucket/B04.tif",
        "/vsicurl/http://example.org/B04.tif",
    ],
)
def test_an_asset_beyond_https_and_the_own_host_is_refused(pristine_scenes, box, href):
    def alter(item):
        item["assets"]["B04"]["href"] = href
        return item

    with (
        stac_api(pristine_scenes / "scenes", alter) as address,
        pytest.raises(
            SceneError, match=r"asset B04 points to .*; expected an https address or one"
        ),
    ):
        api_items(address, box)


def test_an_unknown_collection_is_refused_with_the_nearest_name(pristine_scenes, box):
    with (
        stac_api(pristine_scenes / "scenes") as address,
        pytest.raises(SceneError, match=r"no collection 'sentinel-2'\. Did you mean 'sentinel-"),
    ):
        api_items(address, box, "sentinel-2")


def test_an_address_where_nobody_answers_is_refused(box):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        with pytest.raises(SceneError, match=rf"STAC API {address} did not answer: .*refused"):
            api_items(address, box)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("catalog.json", r"catalog\.json is not a STAC API with item search; .* download"),
        ("labels/legend.json", r"STAC API http://.*legend\.json did not answer: .* type=Catalog"),
        ("labels/crop_type.tif", r"STAC API http://.*crop_type\.tif did not answer: 'utf-8' codec"),
        ("absent.json", r"the STAC API http://.*absent\.json did not answer"),
    ],
)
def test_an_address_that_is_no_api_is_refused(pristine_scenes, box, page, message):
    with (
        stac_api(pristine_scenes / "scenes") as address,
        pytest.raises(SceneError, match=message),
    ):
        api_items(f"{address}assets/{page}", box)


def test_an_asset_that_the_api_does_not_have_is_refused(pristine_scenes, box):
    def alter(item):
        if item["collection"] == OPTICAL:
            item["assets"]["SCL"]["href"] += ".gone"
        return item

    with stac_api(pristine_scenes / "scenes", alter) as address:
        config = ingest_settings(path=address, bbox=tuple(box), year=2022)
        source = StacScenes(config, pristine_scenes)
        with pytest.raises(SceneError, match=r"cannot read http://.*SCL\.tif\.gone"):
            source.read(source.tiles()[0])


@pytest.mark.parametrize("asset", ["sentinel-2-l2a/*/B04.tif", "sentinel-1-rtc/*/vv.tif"])
def test_changed_bytes_behind_an_unchanged_item_are_another_source(repo, scenes, box, asset):
    paths = Paths(root=scenes, workspace=scenes)
    with stac_api(scenes) as address:
        before = sources(settings(repo, box, address), paths)
        again = sources(settings(repo, box, address), paths)
        path = sorted(scenes.glob(asset))[0]
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        after = sources(settings(repo, box, address), paths)

    assert before == again
    assert [digest.path for digest in after] == [digest.path for digest in before]
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 1


def test_an_asset_that_is_gone_is_told_before_anything_is_read(repo, scenes, box):
    path = sorted(scenes.glob("sentinel-2-l2a/*/B04.tif"))[0]
    path.unlink()
    with (
        stac_api(scenes) as address,
        pytest.raises(SceneError, match=r"cannot read http\S+B04\.tif: it answers 404 Not Found"),
    ):
        sources(settings(repo, box, address), Paths(root=scenes, workspace=scenes))


def test_a_receipt_of_an_api_names_its_items(repo, pristine_scenes, box, tmp_path):
    paths = Paths(root=tmp_path, workspace=tmp_path)
    with stac_api(pristine_scenes / "scenes") as address:
        digests = sources(settings(repo, box, address), paths)

    assert len(digests) == len(list(pristine_scenes.glob("scenes/sentinel-*/*/*.json")))
    assert all(digest.path.startswith(address) for digest in digests)
