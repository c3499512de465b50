"""One evaluation: a model, the benchmarks, a folder with everything that came out.

The stage runs it on the model that a run has just trained; the same job scores any version later,
on tasks that did not exist when it was trained.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tessera_core.benchmarks.config import FULL, EvaluateConfig
from tessera_core.benchmarks.gather import EMBED_BATCH, Gathered, gather, places_of
from tessera_core.benchmarks.sources import source_files
from tessera_core.errors import ArtifactError, InputError, RecordError
from tessera_core.evaluate.predictions import predictions_table
from tessera_core.ports import Mapper, map_serially
from tessera_core.records.benchmarks import Benchmark, Source, read_benchmarks
from tessera_core.records.code import closure_digest
from tessera_core.records.evaluation import EVALUATION_NAME, PREDICTIONS_NAME
from tessera_core.records.files import (
    FileDigest,
    atomic_folder,
    digest_json,
    write_json,
)
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences, write_manifest
from tessera_core.records.outside import digest_source
from tessera_core.records.samples import write_table
from tessera_core.records.sharing import share_folder
from tessera_core.records.standing import main_differences
from tessera_core.records.typed import plain
from tessera_core.scoring.answers import Answering
from tessera_core.scoring.featurise import Encoders, featurise
from tessera_core.scoring.score import TaskResult, score_task

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.model.embed import ModelArtifact
    from tessera_core.records.paths import Paths


TASKS_AT_ONCE: Final = 2
"""Whose features are in memory together."""

MIN_UNITS_FOR_PROCESSES: Final = 2000
"""Of all tasks. Before a process has read its libraries, fewer are scored."""


def benchmarks_of(config: "PlatformConfig", paths: "Paths") -> list[Benchmark]:
    """Return the tasks that are asked for.

    Raises:
        ConfigError: There is none, or one that is wrong or unknown.
    """
    return read_benchmarks(paths.root / config.evaluate.benchmarks, config.evaluate.tasks)


def task_files(config: "PlatformConfig", paths: "Paths") -> tuple[FileDigest, ...]:
    """Return the digests of definitions, labels and data from outside the run."""
    places = places_of(config, paths)
    folder = paths.root / config.evaluate.benchmarks
    files: dict[str, FileDigest] = {}
    for benchmark in benchmarks_of(config, paths):
        definition = digest_source(folder / f"{benchmark.name}.yaml", paths.root)
        files[definition.path] = definition
        for one in source_files(benchmark, list(places.labels), places.base, paths.root):
            files[one.path] = one
    for name in config.evaluate.references:
        manifest = digest_source(paths.root / name / "manifest.json", paths.root)
        files[manifest.path] = manifest
    return tuple(files.values())


def protocol_digest(config: "PlatformConfig", paths: "Paths") -> str:
    """Return the identity of a comparison: tasks, labels, settings, samples and code.

    Two models were asked the same questions when theirs agree.
    """
    return digest_json(
        {
            "settings": config.section("evaluate"),
            "benchmarks": [plain(asdict(each)) for each in benchmarks_of(config, paths)],
            "files": [(one.path, one.sha256) for one in task_files(config, paths)],
            "samples": _samples_asked(config, paths),
            "code": closure_digest(__name__),
        }
    )


def _samples_asked(config: "PlatformConfig", paths: "Paths") -> str | bool:
    """Return what the answers depend on of the run's samples: of some tasks, nothing but a flag.

    Raises:
        RecordError: A task asks for samples and the workspace has none.
    """
    asking = [
        each.name for each in benchmarks_of(config, paths) if each.data.kind == Source.SAMPLES
    ]
    if not asking:
        return _is_simulated(paths)
    samples = _samples(paths)
    if samples is None:
        raise RecordError(
            f"{paths.samples / MANIFEST_NAME} is missing, and {', '.join(asking)} ask for the "
            "run's samples; run `tessera ingest` first, with the same --set, or name tasks of "
            "other data"
        )
    return samples.digest


def _is_simulated(paths: "Paths") -> bool:
    samples = _samples(paths)
    return samples is not None and bool(samples.facts.get("simulated", False))


def _samples(paths: "Paths") -> Manifest | None:
    """Return the manifest of the run's samples; None where the workspace has none."""
    return Manifest.read(paths.samples) if (paths.samples / MANIFEST_NAME).is_file() else None


def evaluate_model(
    artifact_folder: Path,
    config: "PlatformConfig",
    paths: "Paths",
    tasks: tuple[str, ...] | None = None,
    *,
    with_baselines: bool = True,
    mapper: Mapper = map_serially,
) -> Path:
    """Score a model and return the folder of its evaluation, which may have been there already.

    What a run's own stage has answered, in whatever workspace, is taken over and not asked again.

    Args:
        artifact_folder: Of the model.
        config: Settings.
        paths: Where samples are, and where the evaluation goes.
        tasks: Names of tasks; None = ``evaluate.tasks``.
        with_baselines: False scores the encoder alone, as a comparison of versions needs it.
        mapper: Runs the models of a task, in whatever order and process.
    """
    from tessera_core.model.artifact import best_device, load_artifact

    if tasks is not None:
        config = replace(config, evaluate=replace(config.evaluate, tasks=tasks))
    artifact = load_artifact(artifact_folder, best_device())
    protocol = protocol_digest(config, paths)
    folder = paths.evaluation_of(artifact.digest, protocol)
    if _is_there(folder, with_baselines=with_baselines):
        return folder
    for workspace in paths.workspaces():
        made = replace(paths, workspace=workspace).evaluation
        if _answers(made, artifact.digest, protocol) and _is_there(
            made, with_baselines=with_baselines
        ):
            share_folder(made, folder)
            return folder
    write_evaluation(
        folder, artifact, config, paths, protocol, with_baselines=with_baselines, mapper=mapper
    )
    return folder


def write_evaluation(
    folder: Path,
    artifact: "ModelArtifact",
    config: "PlatformConfig",
    paths: "Paths",
    protocol: str,
    *,
    with_baselines: bool = True,
    mapper: Mapper = map_serially,
) -> dict[str, Any]:
    """Score a model, write everything that came out, and return the content of evaluation.json."""
    from tessera_core.model.artifact import random_artifact
    from tessera_core.model.embed import embed_pixels, usable_cores, use_one_thread
    from tessera_core.pages.evaluation import write_report
    from tessera_core.pages.evaluation_figures import draw_all
    from tessera_core.pages.gallery import draw_galleries

    use_one_thread()
    is_simulated = _is_simulated(paths)
    config = with_methods(config, paths)
    settings = config.evaluate
    benchmarks = benchmarks_of(config, paths)
    encoders = Encoders(
        scored=artifact,
        untrained=random_artifact(artifact, settings.seed),
        released=released_models(config, paths) if with_baselines else {},
    )
    embed = partial(embed_pixels, artifact, batch_size=EMBED_BATCH, num_threads=usable_cores())
    gathered = gather(benchmarks, places_of(config, paths), embed, settings)
    _require_asked(config, gathered)
    num_units = sum(map(len, gathered.examples.values()))
    answering = Answering(
        mapper=mapper if num_units >= MIN_UNITS_FOR_PROCESSES else map_serially,
        kept=paths.baselines,
    )
    results = _score_tasks(
        benchmarks, gathered, encoders, settings, answering, with_baselines=with_baselines
    )
    evaluation = {
        "simulated": is_simulated,
        "model_digest": artifact.digest,
        "labels_digest": gathered.labels_digest,
        "protocol_digest": protocol,
        "with_baselines": with_baselines,
        "protocol": {**config.section("evaluate")},
        "tasks": {name: dict(result.report) for name, result in results.items()},
        "diagnostics": _diagnose(artifact, gathered, benchmarks, settings.seed),
    }
    with atomic_folder(folder) as building:
        write_json(building / EVALUATION_NAME, evaluation)
        write_table(predictions_table(results), building / PREDICTIONS_NAME)
        draw_all(building, evaluation, gathered)
        draw_galleries(building, results, gathered, is_simulated=is_simulated)
        write_report(building, evaluation)
        write_manifest(building, "evaluation", facts_of(evaluation))
    return evaluation


def with_methods(config: "PlatformConfig", paths: "Paths") -> "PlatformConfig":
    """Return the settings with the methods that are asked: on real data all there are.

    Who promotes on real data, by hand or by a schedule, does so on every method.
    """
    methods = config.evaluate.methods if _is_simulated(paths) else FULL
    return replace(config, evaluate=replace(config.evaluate, methods=methods))


def _score_tasks(
    benchmarks: list[Benchmark],
    gathered: Gathered,
    encoders: Encoders,
    settings: EvaluateConfig,
    answering: Answering,
    *,
    with_baselines: bool,
) -> dict[str, TaskResult]:
    """Return the results by task; in processes, one task's features need not wait for models."""

    def score(benchmark: Benchmark) -> TaskResult:
        return score_task(
            benchmark,
            gathered.examples.get(benchmark.name),
            lambda examples: featurise(
                examples, encoders, answering,
                with_baselines=with_baselines, methods=settings.methods,
            ),
            gathered.legends[benchmark.name],
            settings,
            absent=gathered.absent.get(benchmark.name),
            with_baselines=with_baselines,
            answering=answering,
        )  # fmt: skip

    if answering.mapper is map_serially:
        return {each.name: score(each) for each in benchmarks}
    # The largest first: what comes last is waited for by all.
    order = sorted(benchmarks, key=lambda each: -len(gathered.examples.get(each.name, ())))
    with ThreadPoolExecutor(TASKS_AT_ONCE) as threads:
        scored = dict(zip([each.name for each in order], threads.map(score, order), strict=True))
    return {each.name: scored[each.name] for each in benchmarks}


def _diagnose(
    artifact: "ModelArtifact", gathered: Gathered, benchmarks: list[Benchmark], seed: int
) -> dict[str, Any]:
    """Return the diagnostics of a model on the d-pixels of the first task that has fields."""
    from tessera_core.diagnostics.gather import diagnose_model

    for each in benchmarks:
        examples = gathered.examples.get(each.name)
        if examples is None or each.data.kind != Source.SAMPLES or each.group.raster is None:
            continue
        try:
            return {
                "task": each.name,
                **diagnose_model(
                    artifact, examples.pixels, examples.group,
                    embedding_ND=examples.embedding, seed=seed,
                ),
            }  # fmt: skip
        except InputError as error:
            return {"task": each.name, "skipped": str(error)}
    return {"task": None, "skipped": "no task has fields with d-pixels"}


def facts_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader of the receipt wants to know first."""
    tasks = evaluation["tasks"]
    return {
        "simulated": evaluation["simulated"],
        "model_digest": evaluation["model_digest"],
        "labels_digest": evaluation["labels_digest"],
        "protocol_digest": evaluation["protocol_digest"],
        "with_baselines": evaluation["with_baselines"],
        "methods": evaluation["protocol"]["methods"],
        "seed": evaluation["protocol"]["seed"],
        "status": {name: report["status"] for name, report in tasks.items()},
        "compared": {name: report["compared"] for name, report in tasks.items()},
        "skipped": {name: report["reason"] for name, report in tasks.items() if report["reason"]},
        "headline": {
            name: {
                model: {report["metric"]: scores[report["metric"]]}
                for model, scores in report["scores"].items()
            }
            for name, report in tasks.items()
        },
        "differences": {name: main_differences(report) for name, report in tasks.items()},
    }


def released_models(config: "PlatformConfig", paths: "Paths") -> "dict[str, ModelArtifact]":
    """Return the models that ``evaluate.references`` names."""
    from tessera_core.model.artifact import best_device, load_artifact

    found = {}
    for name in config.evaluate.references:
        folder = paths.root / name
        if not folder.resolve().is_relative_to(paths.root.resolve()):
            raise ArtifactError(f"evaluate.references names {name}, which leaves the checkout")
        found[folder.name.replace("/", "_")] = load_artifact(folder, best_device())
    return found


def _require_asked(config: "PlatformConfig", gathered: Gathered) -> None:
    """Refuse a task that was asked for by name and has no data."""
    asked = config.evaluate.tasks or ()
    if missing := [name for name in asked if name in gathered.absent]:
        raise RecordError(f"benchmark {missing[0]}: {gathered.absent[missing[0]]}")


def _answers(folder: Path, model_digest: str, protocol: str) -> bool:
    """Return whether a folder says that it is a model's evaluation under a protocol."""
    try:
        facts = Manifest.read(folder).facts
    except RecordError:
        return False
    return (facts.get("model_digest"), facts.get("protocol_digest")) == (model_digest, protocol)


def _is_there(folder: Path, *, with_baselines: bool) -> bool:
    """Return whether an evaluation of enough models is there, byte for byte."""
    try:
        manifest = Manifest.read(folder)
    except RecordError:
        return False
    enough = manifest.facts.get("with_baselines") or not with_baselines
    return bool(enough) and not find_differences(folder, manifest)
