"""The stage with Great Expectations as its judge. Only here is it imported (about 4 s)."""

import html.parser
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tessera_core.domain.bands import S2_NAMES
from tessera_core.domain.scl import SceneClass
from tessera_core.errors import GateError, RecordError
from tessera_core.pages.quality import format_percent, render_quality
from tessera_core.ports import OFFLINE
from tessera_core.quality import stage
from tessera_core.quality.expectations import rules
from tessera_core.quality.report import build_report
from tessera_core.quality.statistics import measure_tile
from tessera_core.quality.tables import tables_of
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.records.paths import Paths
from tessera_core.records.samples import read_scenes
from tests.unit.quality.planted import (
    S2_DAYS,
    SCENE,
    healthy_parts,
    limits,
    rewrite,
    rewrite_scenes,
    store,
)

CLOUD = SceneClass.CLOUD_HIGH
BLUE = S2_NAMES.index("B02")

Parts = dict[str, Any]


def cloudy_between(first: int, last: int) -> Callable[[Parts], None]:
    def plant(parts: Parts) -> None:
        parts["scl"][(first <= S2_DAYS) & (last >= S2_DAYS)] = CLOUD

    return plant


def few_clear_dates(parts: Parts) -> None:
    parts["scl"][:] = CLOUD
    for day in (98, 203, 308):
        parts["scl"][day == S2_DAYS] = SceneClass.BARE


def some_pixels_never_clear(parts: Parts) -> None:
    parts["scl"][:, 0, :] = CLOUD


def repeated_pixels(parts: Parts) -> None:
    parts["reflectance"][:, :, 3:] = parts["reflectance"][:, :, :3]


def wrapped_reflectance(parts: Parts) -> None:
    parts["reflectance"][::20, :, :, BLUE] = 64_600


def saturated_reflectance(parts: Parts) -> None:
    parts["reflectance"][::20, :, :, BLUE] = 65_535


def offset_removed_twice(parts: Parts) -> None:
    parts["reflectance"] -= np.uint16(5000)


def missing_band(parts: Parts) -> None:
    parts["reflectance"][..., BLUE] = 0


def band_missing_on_some_dates(parts: Parts) -> None:
    parts["reflectance"][::10, ..., BLUE] = 0


def filled_band(parts: Parts) -> None:
    parts["reflectance"][..., BLUE] = 1500


def black_pixel(parts: Parts) -> None:
    parts["reflectance"][:, 2, 2] = 0


def undoubled_decibel(parts: Parts) -> None:
    for orbit in ("ascending", "descending"):
        # (2 dB + 50) * 200 to (dB + 50) * 200.
        parts[orbit] = (parts[orbit] // 2 + 5000).astype(np.int16)


def power_as_integers(parts: Parts) -> None:
    parts["ascending"][:] = 0


def constant_polarisation(parts: Parts) -> None:
    parts["descending"][..., 1] = 3000


BEFORE_WRITING = {
    "cloudy year": (few_clear_dates, {"has_clear_observations"}),
    "never clear": (some_pixels_never_clear, {"few_pixels_without_clear"}),
    "summer gap": (cloudy_between(120, 270), {"no_long_gap"}),
    "late start": (cloudy_between(1, 130), {"no_long_gap"}),
    "early end": (cloudy_between(230, 366), {"no_long_gap"}),
    "duplicates": (repeated_pixels, {"few_duplicates"}),
    "wrapped": (wrapped_reflectance, {"reflectance_in_range"}),
    "saturated": (saturated_reflectance, {"reflectance_in_range", "few_saturated"}),
    "offset twice": (
        offset_removed_twice,
        {"reflectance_in_range", "reflectance_is_plausible", "pixel_is_plausible"},
    ),
    "missing band": (missing_band, {"reflectance_is_plausible", "few_zeros", "band_varies"}),
    "missing dates of a band": (band_missing_on_some_dates, {"few_zeros"}),
    "filled band": (filled_band, {"band_varies"}),
    "black pixel": (black_pixel, {"pixel_is_plausible"}),
    "plain dB scaled": (undoubled_decibel, {"vh_is_plausible"}),
    "power": (power_as_integers, {"ascending_has_values"}),
    "constant VH": (constant_polarisation, {"band_varies"}),
}


def edit(**columns: Callable[[list[Any]], list[Any]]) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, **columns)


def edit_scenes(**values: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite_scenes(
        folder, [{**scene, **values} for scene in read_scenes(folder)]
    )


def second_as_first(values: list[Any]) -> list[Any]:
    return [values[0], values[0], *values[2:]]


def first_changed(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [change(values[0]), *values[1:]]


def no_values(values: list[Any]) -> list[Any]:
    return []


def plain_decibel(values: list[Any]) -> list[Any]:
    return [[-11 if step % 2 == 0 else -17 for step in range(len(pixel))] for pixel in values]


ALL_COLUMNS = (
    *("row", "column", "x", "y", "s2_reflectance", "s2_scl", "s2_day_of_year"),
    *("s1_ascending", "s1_ascending_day_of_year"),
    *("s1_descending", "s1_descending_day_of_year"),
)

AFTER_WRITING = {
    "no pixels": (
        edit(**dict.fromkeys(ALL_COLUMNS, no_values)),
        {"has_pixels", "has_clear_observations", "no_long_gap"},
    ),
    "no acquisitions": (
        edit(
            s2_reflectance=first_changed(lambda pixel: []),
            s2_scl=first_changed(lambda pixel: []),
            s2_day_of_year=first_changed(lambda pixel: []),
        ),
        {"few_pixels_without_clear", "pixel_has_acquisitions"},
    ),
    "unknown class": (
        edit(s2_scl=first_changed(lambda pixel: [12, *pixel[1:]])),
        {"scene_classes_are_known"},
    ),
    "day 366": (
        edit(s2_day_of_year=first_changed(lambda pixel: [*pixel[:-1], 366])),
        {"days_are_in_the_year"},
    ),
    "day 0": (
        edit(s1_descending_day_of_year=first_changed(lambda pixel: [0, *pixel[1:]])),
        {"days_are_in_the_year"},
    ),
    "written twice": (
        edit(**dict.fromkeys(("row", "column", "x", "y"), second_as_first)),
        {"positions_are_unique"},
    ),
    "transposed": (
        edit(row=lambda rows: [number % 5 for number in range(30)]),
        {"pixel_is_in_its_place"},
    ),
    "backwards": (
        edit(s1_ascending_day_of_year=first_changed(lambda pixel: pixel[::-1])),
        {"pixel_is_in_time_order"},
    ),
    "plain dB": (
        edit(s1_ascending=plain_decibel),
        {"backscatter_is_not_negative", "band_varies", "vv_is_plausible", "vh_is_plausible"},
    ),
    "negative once": (
        edit(s1_ascending=first_changed(lambda pixel: [-1, *pixel[1:]])),
        {"backscatter_is_not_negative"},
    ),
    "no values descending": (
        edit(s1_descending=lambda values: [[0] * len(pixel) for pixel in values]),
        {"descending_has_values"},
    ),
    "no scenes": (lambda folder: rewrite_scenes(folder, []), {"has_scenes"}),
    "no digest": (edit_scenes(sha256=""), {"scenes_have_digests"}),
    "other year": (edit_scenes(acquired="2017-12-31"), {"scenes_are_of_the_year"}),
}


def no_descending(parts: Parts) -> None:
    parts["descending"] = None


def no_radar(parts: Parts) -> None:
    parts["ascending"] = parts["descending"] = None


def snow_all_year(parts: Parts) -> None:
    parts["reflectance"][..., :8] += np.uint16(6000)
    parts["scl"][:] = SceneClass.SNOW


def dry_sand(parts: Parts) -> None:
    parts["ascending"][:, :, :4, 1] = 0


def half_cloudy(parts: Parts) -> None:
    parts["scl"][::2] = CLOUD
    parts["scl"][1::4, :, :3] = SceneClass.NO_DATA
    parts["reflectance"][1::4, :, :3] = 0


def dates_unknown(parts: Parts) -> None:
    parts["scenes"] = [replace(SCENE, acquired="")]


UNUSUAL = {
    "healthy": lambda parts: None,
    "no descending": no_descending,
    "no radar": no_radar,
    "no winter": lambda parts: (cloudy_between(1, 75)(parts), cloudy_between(290, 366)(parts)),
    "snow": snow_all_year,
    "sand": dry_sand,
    "half cloudy": half_cloudy,
    "dates unknown": dates_unknown,
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Return the report on one tile per fault or oddity, all judged at once."""
    from tessera_core.quality.gx import validate

    samples = tmp_path_factory.mktemp("samples")
    folders = []
    for name, change in UNUSUAL.items():
        folders.append(stored(samples, name, change))
    for name, (plant, _) in BEFORE_WRITING.items():
        folders.append(stored(samples, name, plant))
    for name, (plant, _) in AFTER_WRITING.items():
        folders.append(stored(samples, name, lambda parts: None))
        plant(folders[-1])
    measures = [measure_tile(folder, num_sample_rows=30, seed=11) for folder in folders]
    tables = tables_of(measures)
    return build_report(limits(), measures, validate(rules(limits()), tables), tables)


def stored(samples: Path, name: str, change: Callable[[Parts], Any]) -> Path:
    parts = healthy_parts()
    change(parts)
    return store(samples, name, parts)


def broken_rules(report, tile: str) -> set[str]:
    return {failure.rule for failure in report.failures if failure.tile == tile}


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_healthy_or_merely_unusual_tile_breaks_no_rule(judged, name):
    assert broken_rules(judged, name) == set()


@pytest.mark.parametrize("name", [*BEFORE_WRITING, *AFTER_WRITING])
def test_a_planted_fault_breaks_its_rules_and_no_others(judged, name):
    _, expected = {**BEFORE_WRITING, **AFTER_WRITING}[name]

    assert broken_rules(judged, name) == expected


def test_every_rule_is_broken_by_some_planted_fault(judged):
    assert {failure.rule for failure in judged.failures} == {rule.name for rule in rules(limits())}


def test_a_rule_on_a_column_that_is_not_there_is_an_error_not_a_pass():
    from tessera_core.quality.gx import validate

    table = {"tile": {"tile": ["a"], "year": [2018]}}

    with pytest.raises(RecordError, match=r"has_pixels could not be evaluated .*num_pixels"):
        validate(rules(limits())[:1], table)


def test_the_report_counts_what_is_missing_without_failing_it(judged):
    entry = next(tile for tile in judged.to_dict()["tiles"] if tile["tile"] == "no radar")

    assert entry["verdict"] == "passed"
    assert entry["notes"] == [
        "No Sentinel-1 ascending acquisitions.",
        "No Sentinel-1 descending acquisitions.",
    ]


class Outline(html.parser.HTMLParser):
    """Collects tags, attributes and whether every tag is closed."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(judged):
    page = render_quality(judged.to_dict())

    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert not outline.tags & {"script", "link", "img", "iframe", "object"}
    assert not outline.attributes & {"src", "href"}
    assert not re.search(r"https?:|//|url\(|@import", page)


def test_the_page_names_every_failure_and_marks_its_number(judged):
    page = render_quality(judged.to_dict())

    for failure in judged.failures:
        assert f"<b>{failure.tile}, 2018: {failure.rule.replace('_', ' ')}</b>" in page
    assert re.search(r'<td class="n bad">3 \(3\)</td>', page)


def test_the_page_shows_a_tile_name_as_text_whatever_it_holds(judged):
    content = judged.to_dict()
    content["tiles"][0]["tile"] = "<script>x</script>"

    assert "<script>" not in render_quality(content)


def test_a_share_that_is_not_zero_never_reads_as_zero():
    assert [format_percent(share) for share in (None, 0.0, 1e-7, 0.125)] == [
        "-",
        "0 %",
        "<0.01 %",
        "12.5 %",
    ]


def run(root: Path, **changes: Any):
    config = SimpleNamespace(quality=limits(**changes))
    return stage.run(config, Paths(root=root, workspace=root), OFFLINE)


def test_a_good_tile_set_passes_with_its_counts_and_a_report(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    paths = Paths(root=tmp_path, workspace=tmp_path)
    stored(paths.samples, "good", no_descending)

    outcome = run(tmp_path)

    assert outcome.facts == {
        "verdict": "passed",
        "num_rules": 25,
        "num_failures": 0,
        "num_tiles": 1,
        "num_tiles_failed": 0,
        "num_pixels": 30,
        "num_tiles_without_ascending": 0,
        "num_tiles_without_descending": 1,
    }
    assert outcome.outputs == (paths.quality / "manifest.json",)
    assert find_differences(paths.quality, Manifest.read(paths.quality)) == []
    assert {path.name for path in paths.quality.iterdir()} == {
        "manifest.json",
        "report.html",
        "report.json",
        "statistics.parquet",
    }
    assert {path.name for path in tmp_path.rglob("*") if path.is_dir()} == {
        *("data", "samples", "tile=good", "window=2018", "quality"),
    }
    assert capfd.readouterr() == ("", "")


def test_a_bad_tile_set_is_refused_after_the_report_is_written(tmp_path):
    paths = Paths(root=tmp_path, workspace=tmp_path)
    stored(paths.samples, "good", no_descending)
    stored(paths.samples, "late", cloudy_between(1, 130))

    with pytest.raises(GateError) as refusal:
        run(tmp_path)

    assert refusal.value.exit_code == 3
    assert str(refusal.value) == (
        "quality refuses 1 of 2 tiles; rules broken: 1\n"
        "- tile late, 2018: no_long_gap (longest run of days without a clear observation): "
        "expected 120 or less, seen 142 from day 1 to 142; "
        "ingest the missing scenes, or raise quality.max_date_gap_days\n"
        f"All numbers: {paths.quality / 'report.html'}"
    )
    stored_report = json.loads((paths.quality / "report.json").read_bytes())
    assert stored_report["verdict"] == "failed"
    assert [tile["verdict"] for tile in stored_report["tiles"]] == ["passed", "failed"]
    assert stored_report["tiles"][1]["failed_cells"] == ["longest_gap_days"]
    assert stored_report["settings"] == asdict(limits())
    assert Manifest.read(paths.quality).facts["verdict"] == "failed"


def test_the_refusal_lists_five_failures_and_counts_the_rest(tmp_path):
    paths = Paths(root=tmp_path, workspace=tmp_path)
    for number in range(4):
        stored(paths.samples, f"tile-{number}", saturated_reflectance)

    with pytest.raises(GateError, match=r"4 of 4 tiles; rules broken: 8(.*\n){6}- and 3 more\n"):
        run(tmp_path)


def test_the_same_samples_give_the_same_bytes_anywhere(tmp_path):
    found = []
    for name in ("here", "there"):
        stored(tmp_path / name / "data" / "samples", "good", no_radar)
        run(tmp_path / name)
        folder = tmp_path / name / "data" / "quality"
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})

    assert found[0] == found[1]


def test_no_samples_at_all_is_an_input_error_with_the_next_step(tmp_path):
    with pytest.raises(RecordError, match=r"samples holds no tile.*run `tessera ingest` first"):
        run(tmp_path)


def test_the_stage_reads_nothing_from_outside_the_chain(tmp_path):
    config = SimpleNamespace(quality=limits())

    assert stage.sources(config, Paths(root=tmp_path, workspace=tmp_path)) == ()


def test_tiles_are_measured_through_the_mapper_of_the_ports(tmp_path):
    paths = Paths(root=tmp_path, workspace=tmp_path)
    folder = stored(paths.samples, "good", no_descending)
    calls = []

    def mapper(name, function, items):
        calls.append((name, list(items)))
        return [function(item) for item in items]

    stage.run(SimpleNamespace(quality=limits()), paths, replace(OFFLINE, mapper=mapper))

    assert calls == [("quality_statistics", [folder])]
