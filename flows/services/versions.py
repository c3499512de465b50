"""Any registered version asked again: evaluations of their own, and two versions side by side."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from flows.context import Context
from tessera_core.errors import InputError
from tessera_core.records.benchmarks import Benchmark, Source, read_benchmark, read_benchmarks
from tessera_core.records.evaluation import EVALUATION_NAME, SCORED, UNSCORED
from tessera_core.records.files import (
    canonical_json,
    digest_file,
    digest_json,
    read_json,
    write_atomically,
)
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.records.standing import report_standing

EXPERIMENT: Final = "tessera-evaluation"
TRAINING_TAG: Final = "tessera.training_run"
EVALUATION_TAG: Final = "tessera.evaluation"
NOTE_TAG: Final = "mlflow.note.content"
EVALUATE: Final = "evaluate"


def compare_with_champion(context: Context) -> Path | None:
    """Ask the champion what the workspace's model was asked, and compare both.

    Returns:
        The folder of the comparison; None where there is no other champion.
    """
    from flows.adapters.mapper import processes
    from flows.adapters.registry import MlflowRegistry
    from flows.services.evidence import require_receipt
    from flows.services.models import fetch_version
    from tessera_core.compare.versions import compare_versions
    from tessera_core.evaluate.job import evaluate_model

    name = context.config.register.model_name
    registry = MlflowRegistry(context.settings, name, run_id="")
    champion = registry.champion()
    candidate = Manifest.read(context.paths.model).digest
    if champion is None or champion.model_digest == candidate:
        return None
    if champion.receipt:
        require_receipt(context, champion.version, champion.receipt)
    served = fetch_version(context, registry, champion, name)
    with processes() as mapper:
        evaluate_model(served, context.config, context.paths, with_baselines=False, mapper=mapper)
    return compare_versions(served, context.paths.model, context.config, context.paths)


def benchmark(context: Context, reference: str, tasks: Sequence[str]) -> Path:
    """Evaluate any version by all methods on any tasks and log it in a run of its own.

    Args:
        context: Settings and places.
        reference: As ``load_model`` takes it.
        tasks: Names; none = those of ``evaluate.tasks``.

    Returns:
        The folder of the evaluation.
    """
    from flows.adapters.mapper import processes
    from flows.services.models import find_model
    from tessera_core.benchmarks.config import FULL
    from tessera_core.evaluate.job import evaluate_model

    if _asks_samples(context, tasks):
        share_samples(context)
    found = find_model(context, reference)
    config = replace(context.config, evaluate=replace(context.config.evaluate, methods=FULL))
    with processes() as mapper:
        folder = evaluate_model(
            found.folder, config, context.paths, tuple(tasks) or None, mapper=mapper
        )
    receipt = _receipt(context, folder)
    write_receipt(receipt, folder.with_suffix(".receipt.json"), context.paths.lineage)
    log_evaluation_run(
        context, folder, name=found.name, training_run=found.run_id, receipt=receipt.digest
    )
    return folder


def share_samples(context: Context) -> None:
    """Take over the samples that another workspace has made with the same settings, if one has."""
    from tessera_core.stages import take_over_upstream

    take_over_upstream("quality", context.config, context.paths, context.lenders)


def _asks_samples(context: Context, tasks: Sequence[str]) -> bool:
    config = context.config.evaluate
    asked = read_benchmarks(context.paths.root / config.benchmarks, tuple(tasks) or config.tasks)
    return any(each.data.kind == Source.SAMPLES for each in asked)


def answers_of(folder: Path, asked: Sequence[str]) -> list[str]:
    """Return a line per scored task, and per task that was asked for by name and could not be."""
    tasks = read_json(folder / EVALUATION_NAME)["tasks"]
    return [
        f"{name}: {report_standing(report)}"
        if report["status"] == SCORED
        else f"{name}: skipped, {report['reason']}"
        for name, report in tasks.items()
        if report["status"] == SCORED or name in asked
    ]


def describe_benchmarks(context: Context) -> list[str]:
    """Return two lines per declared task: name, kind, role and title; which data it asks for."""
    config, root = context.config.evaluate, context.paths.root
    lines = []
    for path in sorted((root / config.benchmarks).glob("*.yaml")):
        task = read_benchmark(path)
        lines.append(f"{task.name:<24} {task.kind:<15} {task.role:<10} {task.title}")
        lines.append(f"{'':<24} {_data_of(task, root, config.benchmark_data)}")
    return lines


def _data_of(task: Benchmark, root: Path, folder: str) -> str:
    """Return where a task's data lies, and whether it is there."""
    names = [name for name in (task.data.path, task.data.labels) if name is not None]
    if not names:
        return "data: the run's own samples, and label rasters beside its scenes"
    missing = [name for name in names if not (root / folder / name).exists()]
    absent = f"; not here: {', '.join(missing)}"
    if missing == names:
        absent = ", not here"
    return f"data: {' and '.join(names)} in {folder}{absent if missing else ''}"


def promote(context: Context, version: str, *, by: str, reason: str) -> str:
    """Make a version champion by decision of a person; return what happened.

    Who, why, and what served before are kept in the lineage and as tags of the version, before
    the alias moves. The same words again finish what was interrupted.

    Raises:
        InputError: There is no such version, it was never scored, or name or reason are empty.
        RecordError: Another checkout registered it, and its receipts are not here.
    """
    from flows.adapters.registry import MlflowRegistry
    from flows.services.evidence import require_receipt
    from flows.services.subjects import find_version_of
    from tessera_core.records.overrides import Override, last_override, overrides_of
    from tessera_core.register.gate import CHAMPION, describe_override

    name = context.config.register.model_name
    decision = describe_override(CHAMPION, by, reason)
    registry = MlflowRegistry(context.settings, name, run_id="")
    model, number = find_version_of(context, version)
    if model != name:
        raise InputError(
            f"{version} is a version of {model}, but these settings release {name}; add "
            f"--set register.model_name={model}"
        )
    chosen, before = registry.version(number), registry.champion()
    if chosen is None:
        raise InputError(f"{name} has no version {version}; `tessera ui` shows those it has")
    if before is not None and before.version == chosen.version:
        raise InputError(f"{name} version {chosen.version} is the champion already")
    if not chosen.receipt:
        raise InputError(
            f"{name} version {version} was never scored, so export and audit could not follow it; "
            "score it in a run first (`pretrain.imported`, `tessera register`)"
        )
    require_receipt(context, chosen.version, chosen.receipt)
    overrides = overrides_of(context.paths.lineage)
    last = last_override(overrides, name)
    decided = Override(
        model_name=name,
        version=chosen.version,
        model_digest=chosen.model_digest,
        evaluate=chosen.receipt,
        before=None if before is None else before.version,
        # Two decisions of the same words are two records, and their order can be told.
        previous=last,
        by=by.strip(),
        reason=reason.strip(),
    )
    if last is not None and decided == replace(overrides[last], previous=last):
        # Written down, and the alias has not moved: this finishes it.
        decided = overrides[last]
    record = decided.to_dict()
    digest = digest_json(record)
    write_atomically(context.paths.lineage / f"{digest}.json", canonical_json(record))
    registry.set_alias(CHAMPION, chosen.version, override_tags(decision.reasons[0], digest))
    served = "nothing" if before is None else f"version {before.version}"
    return (
        f"{name} version {chosen.version} is champion, before it {served}: {decision.reasons[0]}. "
        "`tessera retrain` publishes its embeddings and certifies them; or `tessera register`, "
        "`tessera export` and `tessera audit` one by one"
    )


def lacks_champion(context: Context) -> bool:
    """Return whether the workspace's last registration left no champion, as export would see it."""
    from tessera_core.register.stage import REGISTRATION_NAME

    path = context.paths.registration / REGISTRATION_NAME
    return path.is_file() and read_json(path).get("champion", {}) is None


def override_tags(reason: str, digest: str) -> dict[str, str]:
    """Return what the registry shows of a version that a person made champion."""
    from tessera_core.register.stage import OVERRIDE_RECORD_TAG, OVERRIDE_TAG

    return {OVERRIDE_TAG: reason, "tessera.reasons": reason, OVERRIDE_RECORD_TAG: digest}


def log_evaluation_run(
    context: Context, folder: Path, *, name: str, training_run: str, receipt: str
) -> str:
    """Log an evaluation folder in its own run, linked to the training run; return the run's id.

    Args:
        context: Where MLflow is.
        folder: Sealed evaluation.
        name: What the model is called, for people.
        training_run: Run that trained it, empty when unknown.
        receipt: Digest of the evaluation's receipt.
    """
    from flows.adapters.tracking import open_run
    from tessera_core.evaluate.tracking import log_evaluation

    manifest = Manifest.read(folder)
    evaluation = read_json(folder / EVALUATION_NAME)
    scored = [task for task, one in evaluation["tasks"].items() if one["status"] == SCORED]
    key = evaluation_key(evaluation["model_digest"], manifest.digest)
    title = f"{name} on {len(scored)} task{'s' * (len(scored) != 1)}"
    with open_run(context.settings, key, title, experiment=EXPERIMENT) as tracker:
        if tracker.has_tag(EVALUATION_TAG, manifest.digest):
            return str(tracker.run_id)
        tracker.log_params(
            {"tasks": ", ".join(scored), "labels": evaluation["labels_digest"][:12],
             "protocol": evaluation["protocol_digest"][:12], **evaluation["protocol"]}
        )  # fmt: skip
        log_evaluation(folder, tracker)
        if (context.paths.samples / MANIFEST_NAME).is_file():  # some tasks ask for none
            samples = Manifest.read(context.paths.samples)
            tracker.log_dataset("samples", samples.digest, samples.facts, purpose="evaluation")
        labels = {"tasks": scored}
        tracker.log_dataset("labels", evaluation["labels_digest"], labels, purpose="evaluation")
        link = tracker.link_to(training_run) if training_run else "unknown"
        tracker.set_tags(
            {
                EVALUATION_TAG: manifest.digest,
                "tessera.model_digest": evaluation["model_digest"],
                "tessera.receipt.evaluate": receipt,
                TRAINING_TAG: training_run,
                NOTE_TAG: _note(evaluation, link),
            }
        )
        return str(tracker.run_id)


def evaluation_key(model_digest: str, evaluation: str) -> str:
    """Return the identity of an evaluation's own run; ``evaluation`` is its manifest's digest."""
    return digest_json({"model": model_digest, "evaluation": evaluation})


def _note(evaluation: dict[str, Any], link: str) -> str:
    lines = [f"Model `{evaluation['model_digest'][:12]}`, trained in {link}.", ""]
    if evaluation["simulated"]:
        lines += ["**Simulated scenes: these numbers prove the machinery, not the science.**", ""]
    said = [
        f"- {name}: {report_standing(task)}"
        for name, task in evaluation["tasks"].items()
        if task["scores"]
    ]
    return "\n".join([*lines, *(said or [f"**{UNSCORED}**"])])


def _receipt(context: Context, folder: Path) -> Receipt:
    """Return the receipt of an evaluation that stands beside the stages."""
    from tessera_core.evaluate.job import facts_of, task_files
    from tessera_core.records.code import code_version, environment_digest

    evaluation = read_json(folder / EVALUATION_NAME)
    ingest = context.paths.receipt("ingest")
    return Receipt(
        stage=EVALUATE,
        config={EVALUATE: evaluation["protocol"]},
        sources=task_files(context.config, context.paths),
        upstream={"ingest": Receipt.read(ingest).digest} if ingest.is_file() else {},
        outputs=(digest_file(folder / MANIFEST_NAME, context.paths.root),),
        code=code_version("tessera_core.evaluate.job"),
        environment=environment_digest(),
        facts=facts_of(evaluation),
    )
