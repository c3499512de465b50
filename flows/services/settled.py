"""Does a run have anything to do? Asked before Prefect starts, which takes longer than looking."""

from contextlib import suppress

from flows.console import say_stage
from flows.context import Context
from tessera_core.errors import RecordError, TesseraError
from tessera_core.ports import OFFLINE
from tessera_core.records.cycle import STAGES
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.stages import StageResult, reuse_stage, run_stage

MADE_ONCE = tuple(name for name in STAGES if name != "audit")
"""Stages whose receipts stand until something changes; the audit looks at every byte anew."""

VERSIONED = tuple(name for name in STAGES if name != "register")
"""Stages of ``dvc.yaml``; a registration is in the registry."""


def is_settled(context: Context) -> bool:
    """Look at every stage, the registry and the team's evidence as a run does.

    Returns:
        True where no stage has work to do and MLflow knows it all: the outputs are then in DVC's
        cache, the whole chain is audited anew, and a line is printed for each stage. False leaves
        everything to a run, which also says what is wrong with an input.

    Raises:
        GateError: The audit failed.
        RecordError: The registry is older than the lineage.
        RemoteError: Registry, MLflow or the team's evidence gave no usable answer.
    """
    from flows.adapters.registry import MlflowRegistry
    from flows.adapters.versioning import version_outputs
    from flows.services.evidence import bring_behind_export, evidence_of_team
    from tessera_core.register.stage import is_settled as is_registered

    if not _has_champion(context.paths):
        return False
    results = _reuse(context)
    if len(results) < len(MADE_ONCE):
        return False
    config, paths = context.config, context.paths
    registry = MlflowRegistry(context.settings, config.register.model_name, run_id="")
    with context.alone_with("registry"), evidence_of_team(context):
        if not is_registered(config, paths, registry):
            return False
    if not _is_logged(context):
        return False
    for result in results:
        say_stage(result)
    bring_behind_export(paths)
    say_stage(run_stage("audit", config, paths, OFFLINE))
    with context.alone_with("dvc"):
        version_outputs(paths, VERSIONED)
    return True


def _reuse(context: Context) -> list[StageResult]:
    """Return the results of the stages up to the first that a run would have to do."""
    results: list[StageResult] = []
    with suppress(TesseraError):  # the run says what is missing or wrong
        for stage in MADE_ONCE:
            result = reuse_stage(stage, context.config, context.paths)
            if result is None:
                break
            results.append(result)
    return results


def _has_champion(paths: Paths) -> bool:
    """Return whether the last run in this workspace came to its end and exported a champion."""
    if not all(paths.receipt(stage).is_file() for stage in STAGES):
        return False
    with suppress(RecordError):
        return Receipt.read(paths.receipt("register")).facts["champion"] is not None
    return False


def _is_logged(context: Context) -> bool:
    """Return whether MLflow has the training with its scores, and the decision."""
    from flows.adapters.tracking import find_run
    from flows.reporting import DECIDED_TAG, EVALUATED_TAG, PROMOTION, run_key

    evaluated, registered = (
        Receipt.read(context.paths.receipt(stage)).digest for stage in ("evaluate", "register")
    )
    training = find_run(context.settings, run_key(context))
    if training is None or not training.was_finished:
        return False
    decision = find_run(context.settings, registered, experiment=PROMOTION)
    return (
        training.has_tag(EVALUATED_TAG, evaluated)
        and decision is not None
        and decision.was_finished
        and decision.has_tag(DECIDED_TAG, registered)
    )
