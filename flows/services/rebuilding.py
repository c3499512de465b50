"""Restore what MLflow showed from receipts: ``tessera rebuild-tracking``.

Runs, versions and aliases are pointers; the evidence is ``data/lineage``. A lost database is made
again from it: everything is told anew by the functions that told it first. Content is found by
digest. Of what was pruned, numbers and tags are kept and the rest is said; what is there already
is left as it is. Prefect keeps nothing that could not be lost: it starts with an empty history.
"""

from pathlib import Path
from typing import Final

from flows.adapters.evidence import HOW_TO_JOIN
from flows.context import Context
from flows.reporting import (
    DECIDED_TAG,
    LOSS,
    PROMOTION,
    SHUFFLE_TAG,
    log_evaluation,
    log_inputs,
    publish_decision,
    replay_history,
    training_of,
)
from flows.services.evidence import bring_outputs
from flows.services.models import is_intact
from flows.services.registry_history import History, read_history, standings
from flows.services.replay_layout import Rebuilt, Work, laid_out
from flows.services.restored_registry import restore_imports, restore_versions
from flows.services.versions import EVALUATION_TAG, evaluation_key, log_evaluation_run
from flows.services.versions import EXPERIMENT as EVALUATIONS
from tessera_core.errors import RecordError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.records.files import read_json
from tessera_core.records.receipt import Receipt

REBUILT_TAG: Final = {"tessera.rebuilt": "from receipts; times are those of the rebuilding"}


def rebuild_tracking(context: Context) -> Rebuilt:
    """Add to MLflow what receipts tell and it does not have.

    Raises:
        RecordError: There are no receipts to restore from.
    """
    history = read_history(context.paths)
    if not history.lineage.receipts:
        raise RecordError(
            f"{context.paths.lineage} holds no receipt, and runs are restored from nothing else; "
            f"bring it back from a backup, or {HOW_TO_JOIN}"
        )
    with context.alone_with("registry"):
        return _rebuild(context, history)


def _rebuild(context: Context, history: History) -> Rebuilt:
    evidence, lineage = Evidence(context.paths, lambda _: None), history.lineage
    work = Work(context=context, history=history, evidence=evidence, report=Rebuilt())
    work.report.notes.extend(f"{name} was changed and is not believed" for name in history.damaged)
    for digest, receipt in lineage.of_stage("pretrain").items():
        _restore_training(digest, receipt, work)
    for standing in standings(history):
        restore_versions(standing, work)
    restore_imports(work)
    for digest, receipt in lineage.of_stage("evaluate").items():
        _restore_evaluation(digest, receipt, work)
    for digest, receipt in lineage.of_stage("register").items():
        _restore_decision(digest, receipt, work)
    return work.report


def describe(report: Rebuilt) -> list[str]:
    """Return what a rebuilding did, for a terminal."""
    there = f"{len(report.intact)} runs and versions were there and are as they were"
    lines = [f"restored  {line}" for line in report.restored]
    lines += [f"note      {line}" for line in report.notes]
    return [*lines, there if report.restored else f"nothing restored; {there}"]


def _restore_training(digest: str, receipt: Receipt, work: Work) -> None:
    from flows.adapters.tracking import find_run, open_run

    settings, (key, name) = work.context.settings, training_of(receipt)
    with laid_out(digest, work) as laid:
        training = laid.context.paths.training
        history = training / "history.json"
        steps = {int(one["step"]) for one in read_json(history)} if history.is_file() else set()
        known = find_run(settings, key)
        is_told = known is not None and known.has_tag(SHUFFLE_TAG, receipt.upstream["shuffle"])
        if known is not None and is_told and steps <= known.steps_of(LOSS):
            work.report.intact.append(f"run {name}")
            return
        with open_run(settings, key, name) as tracker:
            tracker.set_tags(REBUILT_TAG)
            if laid.has_settings and laid.context.paths.shards.is_dir():
                log_inputs(laid.context, tracker)
            else:
                tracker.set_tags({SHUFFLE_TAG: receipt.upstream["shuffle"]})
                work.report.notes.append(f"run {name}: its settings are of another release")
            if history.is_file():
                replay_history(laid.context, tracker)
            else:
                work.report.notes.append(f"run {name}: its history was pruned")
            for figure in sorted(training.glob("*.png")):
                tracker.log_artifact(figure, "training")
    work.report.restored.append(f"run {name}, {len(steps)} steps of history")


def _restore_evaluation(digest: str, receipt: Receipt, work: Work) -> None:
    """Restore an evaluation's own run, and the scores in the training run it belongs to."""
    from flows.adapters.tracking import find_run, open_run

    settings, model = work.context.settings, str(receipt.facts["model_digest"])
    trained = work.history.lineage.chain(digest).get("pretrain")
    name = training_of(trained)[1] if trained else f"model {model[:12]}"
    manifest = work.manifest(receipt.outputs[0])
    if manifest is not None:
        known = find_run(settings, evaluation_key(model, manifest.digest), experiment=EVALUATIONS)
        if known is not None and known.has_tag(EVALUATION_TAG, manifest.digest):
            work.report.intact.append(f"evaluation of {name}")
            return
    bring_outputs(work.context.paths, receipt.outputs)
    with laid_out(digest, work) as laid:
        folder = laid.context.paths.workspace / Path(receipt.outputs[0].path).parent
        if manifest is None or not is_intact(folder, manifest.digest):
            work.report.notes.append(f"evaluation of {name}: its files were pruned")
            return
        if trained is None:
            log_evaluation_run(
                laid.context, folder, name=name, training_run="", receipt=digest
            )  # fmt: skip
        else:
            with open_run(settings, *training_of(trained)) as tracker:
                log_evaluation(laid.context, tracker, receipt, name)
    work.report.restored.append(f"evaluation of {name}")


def _restore_decision(digest: str, receipt: Receipt, work: Work) -> None:
    from flows.adapters.registry import MlflowRegistry
    from flows.adapters.tracking import find_run

    settings, facts = work.context.settings, receipt.facts
    version = str(facts["candidate"]["version"])
    name = f"decision {facts['model_name']} v{version}: {facts['decision']['alias']}"
    known = find_run(settings, digest, experiment=PROMOTION)
    if known is not None and known.has_tag(DECIDED_TAG, digest):
        work.report.intact.append(name)
        return
    if MlflowRegistry(settings, facts["model_name"], run_id="").version(version) is None:
        work.report.notes.append(f"{name}: there is no such version to show it with")
        return
    with laid_out(digest, work) as laid:
        publish_decision(laid.context, receipt)
    work.report.restored.append(name)
