"""One Prefect task per stage, same name: build the ports, call the stage, say what happened."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.adapters.mapper import is_worth_a_retry, map_as_tasks, processes
from flows.console import STAGE_WIDTH, heartbeat, say, say_stage
from flows.context import Context
from flows.reporting import (
    publish_decision,
    publish_evaluation,
    publish_quality,
    run_key,
    run_name,
)
from tessera_core.errors import GateError
from tessera_core.ports import NullTracker, Ports
from tessera_core.records.receipt import Receipt
from tessera_core.stages import StageResult, run_stage

OPTIONS: dict[str, Any] = {
    "retries": 1,
    "retry_delay_seconds": 10,
    "retry_condition_fn": is_worth_a_retry,
    # Stages know by digest what can be reused, across processes and machines.
    "cache_policy": NO_CACHE,
    "persist_result": False,
}


@task(name="ingest", timeout_seconds=24 * 3600, **OPTIONS)
def ingest(context: Context) -> Receipt:
    """Scenes to samples, one mapped task per tile."""
    receipt = _run("ingest", context, _plain_ports()).receipt
    for remark in receipt.facts.get("remarks", ()):
        get_run_logger().warning(remark)
    return receipt


@task(name="quality", timeout_seconds=4 * 3600, **OPTIONS)
def quality(context: Context) -> Receipt:
    """Gate the samples; the report becomes a Prefect artifact whether or not they pass."""
    try:
        return _run("quality", context, _plain_ports()).receipt
    finally:
        publish_quality(context)


@task(name="shuffle", timeout_seconds=4 * 3600, **OPTIONS)
def shuffle(context: Context) -> Receipt:
    """Samples to globally shuffled shards."""
    return _run("shuffle", context, _plain_ports()).receipt


@task(name="pretrain", timeout_seconds=14 * 24 * 3600, **OPTIONS)
def pretrain(context: Context, parent: str | None = None) -> Receipt:
    """Shards to model artifact, tracked in one MLflow run, shown under its parent if it has one."""
    from flows.adapters.tracking import open_run
    from flows.reporting import log_inputs, replay_history

    with open_run(
        context.settings, run_key(context), run_name(context), parent=parent, system_metrics=True
    ) as tracker:
        log_inputs(context, tracker)
        result = _run("pretrain", context, _plain_ports(tracker))
        replay_history(context, tracker)
        return result.receipt


@task(name="evaluate", timeout_seconds=24 * 3600, **OPTIONS)
def evaluate(context: Context) -> Receipt:
    """Model artifact to scores; figures and numbers go to the training's MLflow run."""
    receipt = evaluate_and_log(context)
    publish_evaluation(context, receipt)
    return receipt


def evaluate_and_log(context: Context) -> Receipt:
    """Score the model and log the scores, without a Prefect server."""
    from flows.adapters.tracking import open_run
    from flows.reporting import log_evaluation_once

    with (
        open_run(context.settings, run_key(context), run_name(context)) as tracker,
        processes() as model_mapper,
    ):
        ports = replace(_plain_ports(), model_mapper=model_mapper)
        result = _run("evaluate", context, ports)
        log_evaluation_once(context, tracker, result.receipt)
    return result.receipt


@task(name="compare", timeout_seconds=24 * 3600, **OPTIONS)
def compare(context: Context) -> None:
    """Ask the champion what the new model was asked; promotion needs both answers."""
    from flows.services.evidence import bring_evidence
    from flows.services.versions import compare_with_champion

    bring_evidence(context)
    compare_with_champion(context)


@task(name="register", timeout_seconds=3600, **OPTIONS)
def register(context: Context, data_versions: dict[str, str]) -> Receipt:
    """Scores to version, alias and reasons."""
    from flows.adapters.registry import MlflowRegistry
    from flows.adapters.tracking import open_run
    from flows.services.evidence import evidence_of_team
    from flows.services.versions import compare_with_champion

    with (
        context.alone_with("registry"),
        evidence_of_team(context),
        open_run(context.settings, run_key(context), run_name(context)) as tracker,
    ):
        # Another run may have moved the champion since they were compared.
        compare_with_champion(context)
        model_name = context.config.register.model_name
        ports = Ports(
            tracker=tracker,
            registry=MlflowRegistry(context.settings, model_name, tracker.run_id),
            mapper=map_as_tasks,
            data_versions=data_versions,
        )
        receipt = _run("register", context, ports).receipt
    publish_decision(context, receipt)
    return receipt


@task(name="export", timeout_seconds=24 * 3600, **OPTIONS)
def export(context: Context) -> Receipt:
    """The champion embeds every tile, one mapped task per tile."""
    return _run("export", context, _plain_ports()).receipt


@task(name="audit", timeout_seconds=4 * 3600, **OPTIONS)
def audit(context: Context) -> Receipt:
    """Verify the whole chain and write the certificate."""
    from flows.services.evidence import bring_behind_export

    bring_behind_export(context.paths)
    return _run("audit", context, _plain_ports()).receipt


@task(name="certify", timeout_seconds=4 * 3600, **OPTIONS)
def certify(context: Context) -> Path:
    """Verify the chain of a version of which nothing is exported, and write its certificate."""
    from flows.reporting import version_name
    from flows.services.auditing import audit
    from tessera_core.lineage.audit.stage import refusal

    report, folder = audit(context, version_name(context))
    if folder is None or not report.passed:
        raise GateError(refusal(report, folder or context.paths.audit))
    say(f"{'audit':<{STAGE_WIDTH}} done    {report.num_files:,} files behind the version verified")
    return folder


@task(name="version-data", timeout_seconds=4 * 3600, **OPTIONS)
def version_data(context: Context, stages: list[str]) -> dict[str, str]:
    """Store outputs in DVC's cache and return their md5s."""
    from flows.adapters.versioning import version_outputs

    with context.alone_with("dvc"):
        return version_outputs(context.paths, stages)


def _plain_ports(tracker: Any = None) -> Ports:
    """Return ports that fan out as Prefect tasks and cannot release anything."""
    return Ports(
        tracker=tracker or NullTracker(), registry=None, mapper=map_as_tasks, data_versions={}
    )


def _run(stage: str, context: Context, ports: Ports) -> StageResult:
    began = time.monotonic()
    with heartbeat(stage):
        result = run_stage(stage, context.config, context.paths, ports, context.lenders)
    say_stage(result, time.monotonic() - began)
    return result
