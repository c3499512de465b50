"""The whole stage on one small tile: a real model, label rasters, and what it writes."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.transform import from_origin

from tessera_core.benchmarks.gather import gather, places_of
from tessera_core.config import PlatformConfig
from tessera_core.errors import ArtifactError, ConfigError, RecordError
from tessera_core.evaluate import stage
from tessera_core.evaluate.ahead import fit_baselines
from tessera_core.evaluate.job import benchmarks_of, evaluate_model
from tessera_core.evaluate.tracking import log_evaluation
from tessera_core.model.artifact import load_artifact, random_artifact, write_artifact
from tessera_core.model.embed import embed_pixels
from tessera_core.ports import OFFLINE, map_serially
from tessera_core.records.evaluation import PREDICTIONS
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.records.paths import Paths
from tessera_core.testing.benchmarks import lay_benchmarks
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile
from tessera_core.testing.tracker import InMemoryTracker

GRID = make_grid(width=32, height=16)
FIELD_EDGE = 4
CODES = np.array([0, 1200, 5100, 9120])
ALONE = 2130
OVERRIDES = (
    "ingest.source=tiles",
    "ingest.path=tiles",
    "evaluate.num_folds=2",
    "evaluate.labels_per_class=[1, 3]",
    "evaluate.num_draws=2",
    "evaluate.num_bootstraps=100",
    "evaluate.num_trees=5",
    "evaluate.max_pixels_per_field=4",
)


def write_raster(path: Path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=GRID.width, height=GRID.height, count=1,
        dtype=values.dtype, crs=f"EPSG:{GRID.epsg}",
        transform=from_origin(GRID.west, GRID.north, 10, 10),
    ) as raster:  # fmt: skip
        raster.write(values, 1)


def write_labels(folder: Path) -> None:
    """Write square fields of three crops, one field of a fourth, and heights everywhere."""
    row, column = np.indices((GRID.height, GRID.width)) // FIELD_EDGE
    parcel = 1 + row * (GRID.width // FIELD_EDGE) + column
    crop = CODES[(row + 2 * column) % len(CODES)]
    crop[parcel == 1] = ALONE
    write_raster(folder / "crop_type.tif", crop.astype(np.uint16))
    write_raster(folder / "parcel_id.tif", parcel.astype(np.int32))
    height = np.where(column < 7, row + 0.5 * column + 1, np.nan)
    write_raster(folder / "canopy_height.tif", height.astype(np.float32))
    legend = {"crop_type": {"1200": "maize", "5100": "potato"}}
    (folder / "legend.json").write_text(json.dumps(legend))


def workspace(root: Path, repo: Path, *overrides: str) -> tuple[PlatformConfig, Paths]:
    """Return settings and paths of a workspace with samples and a model, without labels."""
    paths = Paths(root=root, workspace=root)
    write_samples(paths.samples, [make_tile(name="tile", grid=GRID)])
    write_artifact(paths.model, tiny_encoder(0), TINY_CONFIG, NORMS, random_pixels(8, 0))
    (root / "tiles").mkdir()
    lay_benchmarks(repo, root, "crop_type", "canopy_height", "flanders_crops")
    return PlatformConfig.read(repo / "params.yaml", (*OVERRIDES, *overrides)), paths


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, repo):
    """Return paths and outcome of one evaluation with labels."""
    config, paths = workspace(tmp_path_factory.mktemp("evaluated"), repo)
    write_labels(paths.root / "tiles")
    return config, paths, stage.run(config, paths, OFFLINE)


def test_what_was_fitted_ahead_is_all_that_the_evaluation_asks_of_baselines(
    evaluated, tmp_path, repo
):
    _, once, _ = evaluated
    config, paths = workspace(tmp_path, repo)
    write_labels(paths.root / "tiles")
    untrained = random_artifact(load_artifact(paths.model), config.evaluate.seed)

    fit_baselines(untrained, config, paths, map_serially)

    ahead = {file.name: file.stat().st_mtime_ns for file in paths.baselines.iterdir()}
    fit_baselines(untrained, config, paths, map_serially)
    stage.run(config, paths, OFFLINE)
    after = {file.name: file.stat().st_mtime_ns for file in paths.baselines.iterdir()}
    assert len(ahead) > 10
    assert after == ahead
    assert Manifest.read(paths.evaluation).digest == Manifest.read(once.evaluation).digest


def evaluation_of(paths: Paths) -> dict:
    return json.loads((paths.evaluation / "evaluation.json").read_text())


def test_the_folder_is_whole_and_named_by_its_manifest(evaluated):
    _, paths, outcome = evaluated

    manifest = Manifest.read(paths.evaluation)
    assert outcome.outputs == (paths.evaluation / "manifest.json",)
    assert manifest.kind == "evaluation"
    assert {file.path for file in manifest.files} == {
        "evaluation.json", "predictions.parquet", "report.html",
        "curve-crop_type.png", "shares-crop_type.png", "confusion-crop_type.png",
        "worst-crop_type.png", "shares-canopy_height.png", "pca_map.png",
    }  # fmt: skip
    assert find_differences(paths.evaluation, manifest) == []


def test_the_evaluation_has_its_schema(evaluated):
    _, paths, _ = evaluated

    evaluation = evaluation_of(paths)

    assert set(evaluation) == {
        "simulated", "model_digest", "labels_digest", "protocol", "protocol_digest",
        "with_baselines", "tasks", "diagnostics",
    }  # fmt: skip
    assert evaluation["simulated"] is False
    assert evaluation["model_digest"] == load_artifact(paths.model).digest
    crops, heights = (evaluation["tasks"][task] for task in ("crop_type", "canopy_height"))
    assert (crops["status"], heights["status"]) == ("scored", "scored")
    assert set(crops["classes"]) == {"maize", "potato", "9120"}
    assert set(crops["left_out"]) == {"2130"}
    assert crops["num_pixels"] == 4 * crops["num_groups"]
    assert heights["num_groups"] == 2
    assert heights["num_pixels"] == 8


def test_what_a_run_has_answered_is_not_asked_again(evaluated):
    config, paths, _ = evaluated

    folder = evaluate_model(paths.model, config, paths, with_baselines=False)

    manifest = Manifest.read(paths.evaluation)
    assert Manifest.read(folder) == manifest
    for file in manifest.files:
        assert (folder / file.path).samefile(paths.evaluation / file.path)


def test_what_a_run_has_answered_and_somebody_changed_is_asked_again(evaluated, tmp_path):
    config, paths, _ = evaluated
    root = tmp_path / "moved"
    shutil.copytree(paths.root, root, ignore=shutil.ignore_patterns("evaluations", "baselines"))
    moved = Paths(root=root, workspace=root)
    (moved.evaluation / "report.html").write_text("a better one")

    folder = evaluate_model(moved.model, config, moved)

    assert Manifest.read(folder) == Manifest.read(paths.evaluation)
    assert find_differences(folder, Manifest.read(folder)) == []


def test_baselines_that_are_kept_give_the_bytes_of_fitted_ones(evaluated):
    config, paths, outcome = evaluated
    manifest = Manifest.read(paths.evaluation)
    kept = {path: path.read_bytes() for path in paths.baselines.iterdir()}

    assert stage.run(config, paths, OFFLINE).facts == outcome.facts
    assert Manifest.read(paths.evaluation) == manifest

    for path in kept:
        path.write_bytes(b"damaged")
    assert stage.run(config, paths, OFFLINE).facts == outcome.facts
    assert Manifest.read(paths.evaluation) == manifest
    assert {path: path.read_bytes() for path in paths.baselines.iterdir()} == kept


def test_facts_carry_the_headline_of_every_model(evaluated):
    _, paths, outcome = evaluated

    scores = evaluation_of(paths)["tasks"]["crop_type"]["scores"]

    assert outcome.facts["status"] == {
        "crop_type": "scored", "canopy_height": "scored", "flanders_crops": "skipped",
    }  # fmt: skip
    assert "put the data there" in outcome.facts["skipped"]["flanders_crops"]
    headline = outcome.facts["headline"]["crop_type"]
    assert headline["encoder/linear"]["accuracy"] == scores["encoder/linear"]["accuracy"]


def test_predictions_give_back_the_scores(evaluated):
    _, paths, _ = evaluated

    # ParquetFile, as the folders above are no partitions.
    table = pq.ParquetFile(paths.evaluation / "predictions.parquet").read()

    assert table.schema.equals(PREDICTIONS)
    rows = [
        row
        for row in table.to_pylist()
        if (row["task"], row["model"]) == ("crop_type", "encoder/linear")
    ]
    crops = evaluation_of(paths)["tasks"]["crop_type"]
    hits = [row["truth"] == row["predicted"] for row in rows]
    assert len(rows) == crops["num_pixels"]
    assert np.mean(hits) == pytest.approx(crops["scores"]["encoder/linear"]["accuracy"]["mean"])
    sides = {}
    for row in rows:
        assert sides.setdefault(row["group"], row["fold"]) == row["fold"]


def test_the_same_inputs_give_the_same_bytes(evaluated):
    config, paths, outcome = evaluated
    before = Manifest.read(paths.evaluation).digest

    again = stage.run(config, paths, OFFLINE)

    assert Manifest.read(paths.evaluation).digest == before
    assert again == outcome


def test_the_report_needs_nothing_from_outside(evaluated):
    _, paths, _ = evaluated

    text = (paths.evaluation / "report.html").read_text(encoding="utf-8")

    assert text.count("data:image/png;base64,") == 6
    assert "http://" not in text
    assert "https://" not in text
    assert "2130 (1 group, fewer than the 2 that a split needs)" in text
    assert "Simulated" not in text


def test_figures_and_report_reach_the_tracker(evaluated):
    _, paths, _ = evaluated
    tracker = InMemoryTracker()

    log_evaluation(paths.evaluation, tracker)

    assert {path.name for path, folder in tracker.artifacts if folder == "evaluation"} == {
        "report.html", "evaluation.json", "curve-crop_type.png", "shares-crop_type.png",
        "confusion-crop_type.png", "worst-crop_type.png", "shares-canopy_height.png", "pca_map.png",
    }  # fmt: skip
    assert "canopy_height/encoder_ridge/r2" in tracker.metrics[0][1]


def test_the_sources_are_definitions_and_label_files(evaluated):
    config, paths, _ = evaluated

    names = {Path(file.path).name for file in stage.sources(config, paths)}

    assert names == {
        "crop_type.tif", "parcel_id.tif", "canopy_height.tif", "legend.json",
        "crop_type.yaml", "canopy_height.yaml", "flanders_crops.yaml",
    }  # fmt: skip


def test_a_run_without_labels_skips_all_tasks_and_still_draws_the_map(tmp_path, repo):
    config, paths = workspace(tmp_path, repo)

    outcome = stage.run(config, paths, OFFLINE)

    assert set(outcome.facts["status"].values()) == {"skipped"}
    assert "no d-pixel has a label" in outcome.facts["skipped"]["crop_type"]
    assert (paths.evaluation / "pca_map.png").is_file()
    assert not (paths.evaluation / "curve-crop_type.png").exists()
    assert pq.ParquetFile(paths.evaluation / "predictions.parquet").metadata.num_rows == 0
    assert "no d-pixel has a label" in (paths.evaluation / "report.html").read_text(
        encoding="utf-8"
    )


def labels_digest(config, paths) -> str:
    tasks = benchmarks_of(config, paths)
    embed = partial(embed_pixels, load_artifact(paths.model), batch_size=64)
    return gather(tasks, places_of(config, paths), embed, config.evaluate).labels_digest


def test_other_labels_give_another_digest(tmp_path, repo, evaluated):
    config, paths = workspace(tmp_path, repo)
    write_labels(tmp_path / "tiles")
    same = labels_digest(config, paths)
    with rasterio.open(tmp_path / "tiles" / "crop_type.tif", "r+") as raster:
        values = raster.read(1)
        values[9, 9] += 1
        raster.write(values, 1)

    changed = labels_digest(config, paths)

    assert same == evaluation_of(evaluated[1])["labels_digest"]
    assert changed != same


def test_missing_samples_and_missing_model_are_said(tmp_path, repo):
    config, paths = workspace(tmp_path, repo)
    elsewhere = Paths(root=tmp_path, workspace=tmp_path / "empty")

    with pytest.raises(ArtifactError, match="model"):
        stage.run(config, elsewhere, OFFLINE)
    shutil.rmtree(paths.samples)
    with pytest.raises(RecordError, match="manifest"):
        stage.run(config, paths, OFFLINE)


def test_a_task_that_is_asked_for_by_name_must_have_its_data(tmp_path, repo):
    config, paths = workspace(tmp_path, repo, "evaluate.tasks=[flanders_crops]")

    message = r"flanders_crops: the folder of benchmark data holds no flanders-2018; put the data"
    with pytest.raises(RecordError, match=message):
        stage.run(config, paths, OFFLINE)

    assert not paths.evaluation.exists()


@pytest.mark.parametrize(
    ("name", "hint"),
    [("crop_tipe", "Did you mean 'crop_type'"), ("crop_type_selection", "it chooses models")],
)
def test_a_task_that_cannot_report_is_refused(tmp_path, repo, name, hint):
    config, paths = workspace(tmp_path, repo, f"evaluate.tasks=[{name}]")
    lay_benchmarks(repo, tmp_path, "crop_type_selection")

    with pytest.raises(ConfigError, match=hint):
        stage.run(config, paths, OFFLINE)
