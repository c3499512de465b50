"""One pixel's answer: what it is, what entered, and every byte on its path."""

import hashlib

import numpy as np
import pytest

from tessera_core.domain.scl import SceneClass, clear_mask
from tessera_core.errors import InputError
from tessera_core.lineage.audit.observations import NOT_HERE
from tessera_core.lineage.audit.pixel import audit_pixel
from tessera_core.lineage.audit.pixel_text import render_pixel
from tessera_core.lineage.audit.report import Grade
from tessera_core.lineage.audit.subject import find_export
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.records.receipt import Receipt
from tests.unit.lineage.audit.mapped import CENTRE, small_run

EXPORT = "tessera-v1-first"
ROW = COLUMN = 2


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path).cycle()


def ask(run, where=CENTRE):
    return audit_pixel(find_export(EXPORT, run.paths), *where)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def blocked(report):
    return [finding.artefact for finding in report.audit.of(Grade.BLOCK)]


def test_a_pixel_is_told_by_place_codes_and_scale(run):
    report = ask(run)

    (year,) = report.years
    codes = np.load(run.paths.exports / EXPORT / "npy/a/2022/a.npy")[ROW, COLUMN]
    scale = np.load(run.paths.exports / EXPORT / "npy/a/2022/a_scales.npy")[ROW, COLUMN]
    assert report.audit.findings == ()
    assert (year.place.tile, year.place.row, year.place.column) == ("a", ROW, COLUMN)
    assert year.codes_digest == hashlib.sha256(codes.tobytes()).hexdigest()
    assert year.scale == pytest.approx(float(scale), rel=0)
    assert set(year.files) >= {
        "npy/a/2022/a.npy", "embeddings.zarr/utm31/embeddings/c/0/0/0/0",
    }  # fmt: skip


def test_every_observation_is_told_with_its_scene_and_what_became_of_it(run):
    (year,) = ask(run).years

    tile = run.tiles[0]
    scl = tile.optical.scl[:, ROW, COLUMN]
    optical = [each for each in year.observations if each.sensor == "S2"]
    seen = [each for each in optical if each.state != NOT_HERE]
    assert [each.used for each in seen] == clear_mask(scl).tolist()
    assert seen[0].state == SceneClass(int(scl[0])).name.lower()
    assert [each.scenes for each in seen] == [
        (f"optical-{day:03}",) for day in tile.optical.day_of_year
    ]
    (missed,) = [each for each in optical if each.state == NOT_HERE]
    assert missed.scenes[0].startswith("optical-")
    for orbit in ("ascending", "descending"):
        series = getattr(tile, orbit)
        own = [each for each in year.observations if each.sensor == f"S1 {orbit}"]
        present = (series.backscatter_scaled_db[:, ROW, COLUMN] != 0).any(axis=-1)
        assert [each.used for each in own] == present.tolist()
        assert own[0].scenes == (f"{orbit}-{series.day_of_year[0]:03}",)


def test_gates_model_and_rule_are_told(run):
    report = ask(run)

    text = render_pixel(report)

    assert report.gates["quality"] == {run.receipts["quality"]: "passed"}
    assert report.gates["promotion"][0]["alias"] == "champion"
    assert report.sampling["rule"] == "v2-buckets"
    assert "tessera version 1" in text
    assert "S2: " in text
    assert f"pretrain  {run.receipts['pretrain'][:12]}  settings" in text
    assert report.to_dict()["years"][0]["observations"]


ON_THE_PATH = {
    "its tile's codes": f"data/exports/{EXPORT}/npy/a/2022/a.npy",
    "its tile's scales": f"data/exports/{EXPORT}/npy/a/2022/a_scales.npy",
    "its chunk": f"data/exports/{EXPORT}/embeddings.zarr/utm31/embeddings/c/0/0/0/0",
    "the export's manifest": f"data/exports/{EXPORT}/manifest.json",
    "its samples": "data/samples/tile=a/window=2022/samples.parquet",
    "its scenes table": "data/samples/tile=a/window=2022/scenes.parquet",
    "the model's manifest": "data/model/manifest.json",
    "the export's receipt": "data/receipts/export.json",
}


@pytest.mark.parametrize("what", ON_THE_PATH)
def test_a_changed_byte_on_its_path_is_named_and_nothing_is_claimed(run, what):
    flip(run.root / ON_THE_PATH[what])

    report = ask(run)

    assert blocked(report) == [ON_THE_PATH[what]]
    assert report.years == ()
    assert "FAILED" in render_pixel(report)


@pytest.mark.parametrize("stage", ["export", "ingest", "quality", "pretrain"])
def test_a_changed_receipt_on_its_path_is_named(run, stage):
    subject = find_export(EXPORT, run.paths)
    path = run.paths.lineage / f"{run.receipts[stage]}.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"dirty":false', b'"dirty":true '))

    report = audit_pixel(subject, *CENTRE)

    assert f"data/lineage/{path.name}" in blocked(report)


def test_what_is_not_on_its_path_is_not_read(run):
    flip(run.paths.exports / EXPORT / "npy/b/2022/b.npy")
    flip(run.paths.samples / "tile=b/window=2022/samples.parquet")

    assert ask(run).audit.findings == ()


def test_tile_and_store_that_disagree_are_found_though_every_digest_fits(run):
    folder = run.paths.exports / EXPORT
    manifest, facts = Manifest.read(folder), Receipt.read(run.paths.receipt("export")).facts
    codes = np.load(folder / "npy/a/2022/a.npy")
    codes[ROW, COLUMN] = 0
    np.save(folder / "npy/a/2022/a.npy", codes)
    write_manifest(folder, "export", manifest.facts)
    run.record("export", ("ingest", "register"), [folder / "manifest.json"], facts)

    report = ask(run)

    problems = [finding.problem for finding in report.audit.of(Grade.BLOCK)]
    assert problems == ["tile and store hold different codes"]


def test_a_pixel_without_data_outside_or_of_an_unknown_export_is_refused(tmp_path):
    run = small_run(tmp_path, empty=[("a", ROW, COLUMN)]).cycle()

    with pytest.raises(InputError, match="has no embedding: row 2, column 2 of tile a in 2022"):
        ask(run)
    with pytest.raises(InputError, match=r"outside of the export, whose 2 tiles lie within 3\.00"):
        ask(run, (4.0, 50.0))
    with pytest.raises(InputError, match="is no place; expected longitude"):
        ask(run, (190.0, 50.0))
    with pytest.raises(InputError, match=f"neither a version nor an export.*{EXPORT}"):
        find_export("tessera-v1-frist", run.paths)
