"""The evaluate stage: trained encoder to scores, figures and a report."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tessera_core.evaluate.features import raw_features
from tessera_core.evaluate.labelled import (
    EMBED_BATCH,
    Gathered,
    Labelled,
    gather,
    label_files,
    label_places,
)
from tessera_core.evaluate.predictions import PREDICTIONS_NAME, predictions_table
from tessera_core.evaluate.tasks.canopy_height import score_canopy_height
from tessera_core.evaluate.tasks.crop_type import class_names, score_crop_type
from tessera_core.evaluate.tasks.result import FeatureSets, TaskResult
from tessera_core.evaluate.tracking import EVALUATION_NAME, FIGURES, REPORT_NAME
from tessera_core.ports import Ports
from tessera_core.records.files import FileDigest, atomic_folder, write_json
from tessera_core.records.labels import read_legend
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, write_manifest
from tessera_core.records.outcome import Outcome
from tessera_core.records.paths import Paths
from tessera_core.records.samples import write_table

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.model.embed import ModelArtifact

HEADLINE_METRICS: Final = {"crop_type": "accuracy", "canopy_height": "r2"}
"""The one metric of each task that receipts and registers show."""


def sources(config: "PlatformConfig", paths: Paths) -> tuple[FileDigest, ...]:
    """Return the label rasters that the encoder is scored on."""
    return label_files(config, paths)


def run(config: "PlatformConfig", paths: Paths, ports: Ports) -> Outcome:
    """Score the trained encoder against its baselines and write a report.

    A task without enough labels is skipped with a reason; that is not an error.
    """
    from tessera_core.model.artifact import best_device, load_artifact, random_artifact
    from tessera_core.model.embed import use_one_thread

    artifact = load_artifact(paths.model, best_device())
    untrained = random_artifact(artifact, config.evaluate.seed)
    use_one_thread()
    gathered = gather(config, paths, artifact)
    legend = read_legend(label_places(config, paths))

    def featurise(labelled: Labelled) -> FeatureSets:
        return compute_features(labelled, untrained)

    crops = score_crop_type(gathered.crops, featurise, legend, config.evaluate)
    heights = score_canopy_height(gathered.heights, featurise, config.evaluate)
    evaluation = summarise(config, paths, gathered, artifact.digest, (crops, heights))
    with atomic_folder(paths.evaluation) as building:
        write_json(building / EVALUATION_NAME, evaluation)
        write_table(predictions_table((crops, heights)), building / PREDICTIONS_NAME)
        write_figures(building, evaluation, gathered, legend)
        write_report(building, evaluation)
        write_manifest(building, "evaluation", _facts(evaluation))

    return Outcome(outputs=(paths.evaluation / MANIFEST_NAME,), facts=_facts(evaluation))


def compute_features(labelled: Labelled, untrained: "ModelArtifact") -> FeatureSets:
    """Return what each model of a task sees of some d-pixels."""
    from tessera_core.domain.embedding import quantise
    from tessera_core.model.embed import embed_pixels

    random_embedding = embed_pixels(
        untrained, labelled.pixels, batch_size=EMBED_BATCH, progress="embed untrained"
    )
    return FeatureSets(
        encoder=labelled.embedding,
        prefixes={
            dim: labelled.embedding[:, :dim]
            for dim in untrained.config.output.dims
            if dim < labelled.embedding.shape[1]
        },
        encoder_int8=quantise(labelled.embedding, untrained.config.output.coding).dequantise(),
        random_encoder=random_embedding,
        raw=raw_features(labelled.pixels),
    )


def summarise(
    config: "PlatformConfig",
    paths: Paths,
    gathered: Gathered,
    model_digest: str,
    results: tuple[TaskResult, ...],
) -> dict[str, Any]:
    """Return the content of evaluation.json."""
    import numpy as np

    settings = config.evaluate
    return {
        "simulated": bool(Manifest.read(paths.samples).facts.get("simulated", False)),
        "model_digest": model_digest,
        "num_fields": len(np.unique(gathered.crops.group)),
        "num_pixels": len(gathered.crops),
        "labels_digest": gathered.labels_digest,
        "protocol": {
            "seed": settings.seed,
            "num_folds": settings.num_folds,
            "max_pixels_per_field": settings.max_pixels_per_field,
            "num_neighbours": settings.num_neighbours,
            "num_draws": settings.num_draws,
            "num_bootstraps": settings.num_bootstraps,
            "num_trees": settings.num_trees,
        },
        "tasks": {result.task: dict(result.report) for result in results},
    }


def write_figures(
    folder: Path, evaluation: Mapping[str, Any], gathered: Gathered, legend: Mapping[int, str]
) -> None:
    """Draw what there is to draw: a skipped task has no curve and no confusion matrix."""
    import numpy as np

    from tessera_core.evaluate.figures import draw_confusion, draw_curve, draw_map, save_png

    simulated = evaluation["simulated"]
    crops = evaluation["tasks"]["crop_type"]
    if crops["curve"] is not None:
        save_png(draw_curve(crops["curve"], is_simulated=simulated), folder / "curve.png")
        figure = draw_confusion(
            list(crops["classes"]), crops["confusion"]["counts"], is_simulated=simulated
        )
        save_png(figure, folder / "confusion.png")
    if gathered.tiles:
        codes = np.unique(np.concatenate([tile.crop_type for tile in gathered.tiles]))
        names = class_names([int(code) for code in codes if code], legend)
        save_png(draw_map(gathered.tiles, names, is_simulated=simulated), folder / "pca_map.png")


def write_report(folder: Path, evaluation: Mapping[str, Any]) -> None:
    """Write the report with its figures inside, readable without network."""
    from tessera_core.evaluate.report import render_report

    figures = {
        Path(name).stem: base64.b64encode((folder / name).read_bytes()).decode()
        for name in FIGURES
        if (folder / name).is_file()
    }
    (folder / REPORT_NAME).write_text(render_report(evaluation, figures), encoding="utf-8")


def _facts(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader of the receipt wants to know first."""
    tasks = evaluation["tasks"]
    return {
        "simulated": evaluation["simulated"],
        "model_digest": evaluation["model_digest"],
        "labels_digest": evaluation["labels_digest"],
        "num_fields": evaluation["num_fields"],
        "num_pixels": evaluation["num_pixels"],
        "seed": evaluation["protocol"]["seed"],
        "status": {task: tasks[task]["status"] for task in HEADLINE_METRICS},
        "skipped": {
            task: tasks[task]["reason"] for task in HEADLINE_METRICS if tasks[task]["reason"]
        },
        "headline": {
            task: {
                model: {metric: scores[metric]} for model, scores in tasks[task]["scores"].items()
            }
            for task, metric in HEADLINE_METRICS.items()
        },
    }
