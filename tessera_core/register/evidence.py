"""What the promotion rule looks at: records that evaluation and comparison left on disk."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from tessera_core.domain.scores import Kind, tally
from tessera_core.errors import RecordError
from tessera_core.records.evaluation import (
    COMPARISON_NAME,
    EVALUATION_NAME,
    PREDICTIONS,
    PREDICTIONS_NAME,
    SCORED,
)
from tessera_core.records.files import read_json
from tessera_core.records.lineage import read_receipt
from tessera_core.records.manifest import Manifest, find_differences
from tessera_core.records.paths import DIGITS_OF_NAME, Paths
from tessera_core.records.receipt import Receipt
from tessera_core.records.samples import read_table
from tessera_core.register.first import CONSTANT, UNTRAINED, Baselines
from tessera_core.register.gate import Evidence, limited_loss
from tessera_core.register.paired import TaskEvidence

SAME_UNIT: Final = ("tile", "year", "row", "column", "label", "group", "fold", "truth")
"""What must agree row by row before two versions were asked the same."""

INT8: Final = "encoder_int8"

NO_ENCODER: Final = ("majority", "mean")
"""Models that know only the labels; a task has one of them."""

Rows = dict[str, npt.NDArray[Any]]


def read_evidence(
    paths: Paths, evaluate: Receipt, champion_digest: str | None
) -> tuple[Evidence, dict[str, str]]:
    """Return the evidence about the workspace's model, and the digests of what it was read from.

    What is not there stays None or is named as missing; the rule says what follows.

    Args:
        paths: Where evaluations and comparisons are.
        evaluate: Receipt of the candidate's evaluation.
        champion_digest: Model that is served; None when there is none yet.

    Raises:
        RecordError: A record is there and was changed, or speaks of another model.
    """
    own = _read_folder(paths.evaluation, EVALUATION_NAME)
    candidate = str(evaluate.facts["model_digest"])
    if own["model_digest"] != candidate:
        raise RecordError(
            f"{paths.evaluation} scores model {own['model_digest'][:12]}, its receipt "
            f"{candidate[:12]}; run `tessera evaluate` again"
        )
    values: dict[str, Any] = {
        "int8_loss": dict(_int8_losses(own["tasks"])),
        "canaries_pass": _canaries_pass(paths.model),
        "quality_passed": quality_passed(evaluate, paths.lineage),
        "audit_passed": not broken_links(evaluate, paths.lineage),
    }
    sources: dict[str, str] = {}
    if champion_digest is None or champion_digest == candidate:
        return Evidence(**values), sources
    protocol = str(own["protocol_digest"])
    theirs = paths.evaluation_of(champion_digest, protocol)
    if theirs.is_dir():
        sources["champion_evaluation"] = Manifest.read(theirs).digest
        found = _read_folder(theirs, EVALUATION_NAME)
        if (found["model_digest"], found["protocol_digest"]) != (champion_digest, protocol):
            raise RecordError(
                f"{theirs} scores another model or by another protocol than its name says; "
                "delete it and run again"
            )
        values |= _compared_tasks(paths.evaluation, theirs)
    else:
        why = "the champion was not asked these questions; `tessera register` does that first"
        values["missing"] = {name: why for name in _scored(own)}
    pair = paths.comparison_of(champion_digest, candidate, protocol)
    if pair.is_dir():
        sources["comparison"] = Manifest.read(pair).digest
        values |= _measured(pair, champion_digest, candidate)
    return Evidence(**values), sources


def evidence_between(new: Path, old: Path, pair: Path) -> Evidence:
    """Return what two evaluations and a comparison say, whatever else a release would check.

    Args:
        new: Evaluation folder of the version that would take over.
        old: Evaluation folder of the other.
        pair: Comparison of the two.
    """
    own, theirs = (_read_folder(folder, EVALUATION_NAME) for folder in (new, old))
    values: dict[str, Any] = {
        "int8_loss": dict(_int8_losses(own["tasks"])),
        **_compared_tasks(new, old),
        **_measured(pair, theirs["model_digest"], own["model_digest"]),
        **dict.fromkeys(("canaries_pass", "quality_passed", "audit_passed"), True),
    }
    return Evidence(**values)


def read_baselines(folder: Path) -> Baselines:
    """Return, for every task of an evaluation with a score, its encoder against what knows less.

    A baseline that was not asked the same is left out; the rule says what follows.

    Args:
        folder: Evaluation with baselines.
    """
    own = _read_folder(folder, EVALUATION_NAME)
    table = read_table(folder / PREDICTIONS_NAME, PREDICTIONS)
    found: dict[str, dict[str, TaskEvidence]] = {}
    for name in _scored(own):
        report = own["tasks"][name]
        mine = _rows(table, name, report["compared"])
        head = report["compared"].split("/")[1]
        pairs = found.setdefault(name, {})
        for what, models in ((UNTRAINED, (f"random_encoder/{head}",)), (CONSTANT, NO_ENCODER)):
            answers = (_rows(table, name, model) for model in models)
            theirs = next((rows for rows in answers if _same_units(mine, rows)), None)
            if theirs is not None:
                pairs[what] = _task_evidence(name, report, mine, theirs)
    return found


def quality_passed(evaluate: Receipt, lineage: Path) -> bool | None:
    """Return what the quality gate said of the samples behind an evaluation, None if unknown."""
    reached: Receipt | None = evaluate
    for stage in ("pretrain", "shuffle", "quality"):
        reached = None if reached is None else _archived(reached.upstream.get(stage), lineage)
    return None if reached is None else reached.facts.get("verdict") == "passed"


def broken_links(receipt: Receipt, lineage: Path) -> list[str]:
    """Return the digests that a chain of receipts names and the lineage cannot show intact."""
    broken, waiting, seen = [], list(receipt.upstream.values()), set()
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        found = _archived(digest, lineage)
        if found is None:
            broken.append(digest)
        else:
            waiting.extend(found.upstream.values())
    return broken


def _archived(digest: str | None, lineage: Path) -> Receipt | None:
    """Return a receipt of the lineage whose content has the digest in its name, or None."""
    try:
        return read_receipt(digest or "", lineage)
    except RecordError:
        return None


def _read_folder(folder: Path, name: str) -> dict[str, Any]:
    """Return a JSON record of a sealed folder, after checking every byte of the folder."""
    if differences := find_differences(folder, Manifest.read(folder)):
        raise RecordError(f"{folder} was changed: {differences[0]}; delete it and run again")
    content: dict[str, Any] = read_json(folder / name)
    return content


def _canaries_pass(model: Path) -> bool:
    from tessera_core.errors import ArtifactError
    from tessera_core.model.artifact import load_artifact

    try:
        load_artifact(model)
    except ArtifactError:
        return False
    return True


def _scored(evaluation: Mapping[str, Any]) -> list[str]:
    return [name for name, task in evaluation["tasks"].items() if task["status"] == SCORED]


def _int8_losses(tasks: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield task -> how much worse int8 codes score, for tasks that scored both with one head."""
    for name, task in tasks.items():
        if task["status"] != SCORED:
            continue
        head = task["compared"].split("/")[1]
        for one in (head, "linear"):
            exact, coded = (task["scores"].get(f"{each}/{one}") for each in ("encoder", INT8))
            if exact and coded:
                metric = task["metric"]
                yield name, limited_loss(metric, exact[metric]["mean"], coded[metric]["mean"])
                break


def _measured(pair: Path, champion: str, challenger: str) -> dict[str, Any]:
    """Return size, speed and bridge of a comparison, after checking whom it compares."""
    comparison = _read_folder(pair, COMPARISON_NAME)
    old, new = comparison["champion"], comparison["challenger"]
    for one, expected in ((old, champion), (new, challenger)):
        if one["model_digest"] != expected:
            raise RecordError(
                f"{pair} compares model {one['model_digest'][:DIGITS_OF_NAME]}, expected "
                f"{expected[:DIGITS_OF_NAME]}; delete it and run again"
            )
    return {
        "time_ratio": float(comparison["time_ratio"]["median"]),
        "size_ratio": round(new["num_parameters"] / old["num_parameters"], 4),
        "bridge": str(comparison["bridge"]["verdict"]),
    }


def _compared_tasks(own_folder: Path, their_folder: Path) -> dict[str, Any]:
    """Return evidence of the tasks that both were asked, and why others cannot be compared."""
    own, theirs = (_read_folder(folder, EVALUATION_NAME) for folder in (own_folder, their_folder))
    if own["labels_digest"] != theirs["labels_digest"]:
        why = "the two were scored on other labels"
        return {"missing": {name: why for name in {*_scored(own), *_scored(theirs)}}}
    tables = [
        read_table(folder / PREDICTIONS_NAME, PREDICTIONS) for folder in (own_folder, their_folder)
    ]
    tasks, missing = [], {}
    for name in sorted({*_scored(own), *_scored(theirs)}):
        mine, other = own["tasks"].get(name), theirs["tasks"].get(name)
        if mine is None or mine["status"] != SCORED:
            missing[name] = "this version has no score"
        elif other is None or other["status"] != SCORED:
            missing[name] = "the champion has no score"
        else:
            rows = [_rows(table, name, mine["compared"]) for table in tables]
            if not _same_units(*rows):
                missing[name] = "the two were asked about other units"
            else:
                tasks.append(_task_evidence(name, mine, *rows))
    return {"tasks": tuple(tasks), "missing": missing}


def compared_rows(own_folder: Path, their_folder: Path) -> Iterator[tuple[str, Kind, Rows, Rows]]:
    """Yield task, kind and both versions' answers, for tasks that both were asked alike.

    Raises:
        RecordError: An evaluation was changed since it was sealed.
    """
    own, theirs = (_read_folder(folder, EVALUATION_NAME) for folder in (own_folder, their_folder))
    tables = [
        read_table(folder / PREDICTIONS_NAME, PREDICTIONS) for folder in (own_folder, their_folder)
    ]
    for name in sorted({*_scored(own)} & {*_scored(theirs)}):
        report = own["tasks"][name]
        mine, other = (_rows(table, name, report["compared"]) for table in tables)
        if _same_units(mine, other):
            yield name, Kind(report["kind"]), mine, other


def _rows(table: Any, task: str, model: str) -> Rows:
    mask = pc.and_(pc.equal(table["task"], task), pc.equal(table["model"], model))
    chosen = table.filter(mask)
    return {name: chosen[name].to_numpy() for name in chosen.column_names}


def _same_units(first: Rows, second: Rows) -> bool:
    return len(first["truth"]) > 0 and all(
        np.array_equal(first[name], second[name]) for name in SAME_UNIT
    )


def _task_evidence(name: str, report: Mapping[str, Any], own: Rows, theirs: Rows) -> TaskEvidence:
    kind = Kind(report["kind"])
    groups, group = np.unique(own["group"], return_inverse=True)
    region = own["region"][np.unique(group, return_index=True)[1]].astype(str)
    tallies = [_tally(kind, rows, theirs, own, group, len(groups)) for rows in (theirs, own)]
    return TaskEvidence(
        name=name,
        kind=kind,
        metric=report["metric"],
        margin=float(report["margin"]),
        champion=tallies[0],
        challenger=tallies[1],
        region=region,
    )


def _tally(
    kind: Kind, rows: Rows, first: Rows, second: Rows, group: npt.NDArray[np.int64], num_groups: int
) -> npt.NDArray[np.float64]:
    """Return a version's sums over groups; classes are numbered alike for both versions."""
    truth, predicted = rows["truth"], rows["predicted"]
    if kind == Kind.REGRESSION:
        return tally(kind, truth, predicted, group, num_groups, 0)
    if kind == Kind.MULTILABEL:
        num_labels = int(rows["label"].max()) + 1
        shape = (-1, num_labels)
        return tally(
            kind, truth.reshape(shape), predicted.reshape(shape), group[::num_labels], num_groups,
            num_labels,
        )  # fmt: skip
    codes = np.unique(np.concatenate([truth, first["predicted"], second["predicted"]]))
    truth, predicted = np.searchsorted(codes, truth), np.searchsorted(codes, predicted)
    return tally(kind, truth, predicted, group, num_groups, len(codes))
