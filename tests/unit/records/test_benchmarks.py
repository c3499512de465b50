"""Benchmark definitions: what is wrong in one is said before anything is read."""

import pytest
import yaml

from tessera_core.errors import ConfigError
from tessera_core.records.benchmarks import Role, read_benchmark, read_benchmarks

OF_SAMPLES = {
    "name": "mine",
    "title": "My crops",
    "kind": "classification",
    "role": "report",
    "data": {"kind": "samples"},
    "truth": {"raster": "crop_type.tif"},
    "group": {"raster": "parcel_id.tif"},
    "metrics": ["accuracy"],
    "margin": 0.02,
}
TABLE = {
    "data": {"kind": "table", "path": "a.parquet", "labels": "b.parquet"},
    "truth": {"column": "label"},
    "group": {"column": "position"},
}
TILES = {"data": {"kind": "tiles", "path": "mine"}}


def write(folder, *, file="mine", **changes):
    values = {key: value for key, value in {**OF_SAMPLES, **changes}.items() if value != "left out"}
    path = folder / f"{file}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_definition_of_few_lines_is_enough(tmp_path):
    benchmark = read_benchmark(write(tmp_path))

    assert benchmark.truth.ignore == (0,)
    assert benchmark.region == "tile"


@pytest.mark.parametrize("changes", [TABLE, TILES, {**TILES, "group": {"tile": True}}])
def test_every_source_can_be_named(tmp_path, changes):
    assert read_benchmark(write(tmp_path, **changes)).role == Role.REPORT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["acuracy"]}, "acuracy is not a metric. Did you mean 'accuracy'"),
        ({"metrics": []}, "has no metric"),
        ({"metrics": ["r2"]}, "r2 is no metric of classification"),
        ({"kind": "regression", "metrics": ["bias"]}, "bias has no better direction"),
        ({"kind": "clasification"}, "kind is 'clasification'. Did you mean 'classification'"),
        ({"role": "both"}, "role is 'both'"),
        ({"role": "left out"}, "role is missing"),
        ({"grop": {}}, "grop is not a setting. Did you mean 'group'"),
        ({"name": "Mine"}, "its name is 'Mine'"),
        ({"file": "other"}, "defines 'mine'; a file is named as its benchmark"),
        ({"margin": -0.1}, "margin is -0.1, expected 0 or more"),
        ({"group": {}}, "exactly one of raster, column, block_size_m and tile"),
        (
            {"group": {"raster": "parcel_id.tif", "block_size_m": 160}},
            "exactly one of raster, column, block_size_m and tile",
        ),
        ({"group": {"raster": "a.tif", "tile": True}}, "exactly one of"),
        ({"group": {"block_size_m": -5}}, "block_size_m is -5, expected 10, the size of a pixel"),
        ({"truth": {"raster": "/etc/passwd"}}, "'/etc/passwd' is not the name of a raster"),
        ({"truth": {"raster": ""}}, "'' is not the name of a raster"),
        ({"group": {"raster": "../../a.tif"}}, "'../../a.tif' is not the name of a raster"),
        ({"metrics": ["accuracy", "accuracy"]}, "a metric is named twice"),
        ({"num_per_group": -3}, "num_per_group is -3, expected 1 or more"),
        ({"group": {"column": "field"}}, "groups are a column in tables"),
        ({**TABLE, "group": {"block_size_m": 160}}, "groups are a column in tables"),
        ({"truth": {"raster": "a.tif", "column": "a"}}, "either a raster or a column"),
        ({"truth": {"column": "a"}}, "a column is for tables"),
        ({"data": {"kind": "tiles"}}, "needs a path"),
        ({"data": {"kind": "samples", "path": "a"}}, "needs a path, unless it is the run's own"),
        ({"data": {"kind": "tiles", "path": "../../etc"}}, "leaves the folder of benchmark data"),
        ({"data": {"kind": "tiles", "path": "/etc"}}, "leaves the folder of benchmark data"),
        ({**TABLE, "data": {"kind": "table", "path": "a.parquet"}}, "needs a table of labels"),
        ({**TABLE, "patch_size": 8, "kind": "multilabel", "metrics": ["macro_f1"]}, "no patches"),
        ({"kind": "segmentation", "metrics": ["mean_iou"]}, "segmentation needs a patch_size"),
        ({"kind": "segmentation", "metrics": ["mean_iou"], "patch_size": 2}, "expected 4 or more"),
        ({"patch_size": 8}, "scored by single d-pixels; leave patch_size out"),
        ({"kind": "change", "metrics": ["f1"]}, "change needs truth.above"),
        ({"split": {"rule": "given"}}, "needs the column that says train or test"),
        ({"split": {"rule": "given", "column": "a"}}, "own samples say nothing of train or test"),
        ({"split": {"rule": "regions"}, "region": None}, "its region is null"),
        ({"split": {"rule": "smallest_groups"}}, "num_per_group has to be above the size"),
        ({"split": {"train_share": 1.0}}, "train_share is 1.0, expected 0..1"),
        ({"region": "country"}, "own samples know only tile and null"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, changes, message):
    path = write(tmp_path, **changes)

    with pytest.raises(ConfigError) as refused:
        read_benchmark(path)

    assert message in str(refused.value)


def test_what_chooses_a_model_does_not_report_on_it(tmp_path):
    write(tmp_path)
    write(tmp_path, file="choosing", name="choosing", role="selection")

    found = read_benchmarks(tmp_path)

    assert [benchmark.name for benchmark in found] == ["mine"]
    with pytest.raises(ConfigError, match="choosing is a selection task: it chooses models"):
        read_benchmarks(tmp_path, ("choosing",))


def test_an_unknown_task_is_answered_with_its_likely_name(tmp_path):
    write(tmp_path)

    with pytest.raises(ConfigError, match="Did you mean 'mine'"):
        read_benchmarks(tmp_path, ("mien",))


def test_a_role_given_twice_is_refused(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text() + "role: selection\n")

    with pytest.raises(ConfigError, match="role is given twice"):
        read_benchmark(path)
