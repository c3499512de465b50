"""What a run shows to people: Prefect artifacts, the MLflow run, the closing summary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.context import Context
from tessera_core.errors import RecordError
from tessera_core.lineage.audit.certificate import HTML_NAME
from tessera_core.lineage.audit.subject import find_subject
from tessera_core.records.code import closure_digest
from tessera_core.records.cycle import STAGES
from tessera_core.records.evaluation import UNSCORED
from tessera_core.records.files import digest_file, digest_json, read_json
from tessera_core.records.manifest import Manifest
from tessera_core.records.receipt import Receipt
from tessera_core.records.standing import standings

LOSS = "loss/total"
EVALUATED_TAG = "tessera.receipt.evaluate"
SHUFFLE_TAG = "tessera.receipt.shuffle"
DECIDED_TAG = "tessera.receipt.register"
PROMOTION = "tessera-promotion"


def run_key(context: Context) -> str:
    """Return the identity of the logical training run, which names its MLflow run."""
    shuffle = Receipt.read(context.paths.receipt("shuffle"))
    code = closure_digest(STAGES["pretrain"].module)
    return training_key(shuffle.digest, context.config.section("pretrain"), code)


def training_key(shuffle: str, settings: Mapping[str, Any], code: str) -> str:
    """Return the identity of a training: receipt of shuffle, settings, digest of its code."""
    return digest_json({"shards": shuffle, "pretrain": dict(settings), "code": code})


def training_of(pretrain: Receipt) -> tuple[str, str]:
    """Return identity and name of the training that a receipt tells of."""
    settings = pretrain.config["pretrain"]
    key = training_key(pretrain.upstream["shuffle"], settings, pretrain.code.closure)
    return key, training_name(settings, key)


def run_name(context: Context) -> str:
    """Return a name that people can tell runs apart by."""
    return training_name(context.config.section("pretrain"), run_key(context))


def training_name(settings: Mapping[str, Any], key: str) -> str:
    """Return the name of a training by its settings and identity."""
    if settings["imported"] is not None:
        return f"imported-{Path(settings['imported']).name}-{key[:6]}"
    width, steps, seed = (settings[name] for name in ("model_dim", "num_steps", "seed"))
    return f"d{width}-s{steps}-seed{seed}-{key[:6]}"


def log_inputs(context: Context, tracker: Any) -> None:
    """Record settings, lineage tags and the data set of a training run."""
    config = context.config
    tracker.log_params(
        {
            f"{section}.{name}": value
            for section in ("ingest", "shuffle", "pretrain")
            for name, value in config.section(section).items()
        }
    )
    shuffle = Receipt.read(context.paths.receipt("shuffle"))
    shards = Manifest.read(context.paths.shards)
    tracker.set_tags(
        {
            SHUFFLE_TAG: shuffle.digest,
            "tessera.config_digest": config.digest,
            "tessera.git_commit": shuffle.code.commit,
        }
    )
    tracker.log_dataset("shards", shards.digest, shards.facts)


def replay_history(context: Context, tracker: Any) -> None:
    """Log what the run does not have of a training, as under ``dvc repro`` or on other machines."""
    known = tracker.steps_of(LOSS)
    for record in read_json(context.paths.training / "history.json"):
        step = int(record["step"])
        if step in known:
            continue
        tracker.log_metrics(step, {k: v for k, v in record.items() if k != "step"})


def log_evaluation_once(context: Context, tracker: Any, receipt: Receipt) -> None:
    """Log a run's evaluation: headline scores in its training run, everything in a run of its own.

    An evaluation that is logged already is left as it is.
    """
    if not tracker.has_tag(EVALUATED_TAG, receipt.digest):
        log_evaluation(context, tracker, receipt, run_name(context))


def log_evaluation(context: Context, tracker: Any, receipt: Receipt, name: str) -> None:
    """Log an evaluation, whether or not the training run says that it was logged."""
    from flows.services.versions import log_evaluation_run

    tracker.log_metrics(0, headline_scores(receipt.facts))
    evaluation_run = log_evaluation_run(
        context, context.paths.evaluation, name=name, training_run=tracker.run_id,
        receipt=receipt.digest,
    )  # fmt: skip
    report = context.paths.evaluation / "report.html"
    tracker.log_artifact(report, "evaluation")
    tracker.set_tags({EVALUATED_TAG: receipt.digest, "tessera.evaluation_run": evaluation_run})


def headline_scores(facts: Mapping[str, Any]) -> dict[str, float]:
    """Return ``<task>_<metric>`` -> the score that versions are compared by, for scored tasks.

    Without a slash, so that MLflow's pages show them before the groups of training numbers.
    """
    return {
        f"{task}_{metric}": float(value["mean"])
        for task, models in facts["headline"].items()
        for model, metrics in models.items()
        if model == facts["compared"][task]
        for metric, value in metrics.items()
    }


def publish_quality(context: Context) -> None:
    """Show the quality verdicts as a Prefect table."""
    from prefect.artifacts import create_table_artifact

    try:
        report = read_json(context.paths.quality / "report.json")
    except RecordError:
        return  # the gate failed before it had anything to report
    rows = [
        {"tile": tile["tile"], "year": tile["year"], "verdict": tile["verdict"]}
        for tile in report["tiles"]
    ]
    create_table_artifact(table=rows, key="quality", description="Quality verdict per tile")


def publish_evaluation(context: Context, receipt: Receipt) -> None:
    """Show the scores as a Prefect table."""
    from prefect.artifacts import create_table_artifact

    rows = [
        {"task": task, "model": model, "score": text}
        for task, scores in headline_lines(receipt.facts).items()
        for model, text in scores.items()
    ]
    said = [f"{task}: {sentence}" for task, sentence in standings(receipt.facts).items()]
    create_table_artifact(table=rows, key="evaluation", description="\n\n".join(said) or UNSCORED)


def publish_decision(context: Context, receipt: Receipt) -> None:
    """Log a decision in its own run, and the scores on the page of the version."""
    from flows.adapters.registry import MlflowRegistry
    from flows.adapters.tracking import open_run

    facts, folder = receipt.facts, context.paths.registration
    evaluated = Receipt.read(context.paths.receipt("evaluate"))
    said = {task: f"{task}: {each}" for task, each in standings(evaluated.facts).items()}
    candidate = facts["candidate"]
    name = f"{facts['model_name']} v{candidate['version']}"
    decision = facts["decision"]
    with open_run(
        context.settings, receipt.digest, f"{name}: {decision['alias']}", experiment=PROMOTION
    ) as tracker:
        if tracker.has_tag(DECIDED_TAG, receipt.digest):
            return
        tracker.log_params({f"rule.{key}": value for key, value in facts["rule"].items()})
        for task, numbers in decision["numbers"].get("tasks", {}).items():
            parts = ("gain", "low", "high", "margin", "champion", "challenger")
            tracker.log_metrics(0, {f"{part}/{task}": float(numbers[part]) for part in parts})
        for path in (folder / "registration.json", folder / "card.md"):
            if path.is_file():  # what is told again from receipts may have lost its files
                tracker.log_artifact(path, "decision")
        tracker.set_tags(
            {
                DECIDED_TAG: receipt.digest,
                "tessera.decision": decision["alias"],
                "tessera.reasons": "; ".join(decision["reasons"]),
                "tessera.version": candidate["version"],
                "mlflow.note.content": "\n".join(
                    f"- {one}" for one in (*decision["reasons"], *said.values())
                ),
            }
        )
    registry = MlflowRegistry(context.settings, facts["model_name"], run_id="")
    registry.log_scores(candidate["version"], headline_scores(evaluated.facts))


def publish_links(context: Context) -> None:
    """Link the decision, the certificate and the report from the flow run's page."""
    from prefect.artifacts import create_markdown_artifact

    paths, told = context.paths, summarise(context)
    nobody = "" if told["champion"] else ", and there is no champion: nothing is exported"
    lines = [
        f"- version {told['version']} is {told['alias']}{nobody}",
        *(f"- {task}: {sentence}" for task, sentence in told["standings"].items()),
        f"- certificate: `{told['certificate']}`",
        f"- evaluation report: `{told['report']}`",
        f"- quality report: `{paths.quality / 'report.html'}`",
        f"- MLflow: {context.settings.mlflow_tracking_uri}",
    ]
    create_markdown_artifact("\n".join(lines), key="links", description="Where to look")


def headline_lines(facts: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return each task's scores as text: main metric with its interval."""
    return {
        task: {
            model: ", ".join(
                f"{metric} {value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
                for metric, value in metrics.items()
            )
            for model, metrics in models.items()
        }
        for task, models in facts["headline"].items()
        if models
    }


def receipts_of(context: Context) -> dict[str, str]:
    """Return stage -> digest of its current receipt, for stages that have one."""
    files = {stage: context.paths.receipt(stage) for stage in STAGES}
    return {
        stage: digest_file(path, path.parent).sha256
        for stage, path in files.items()
        if path.is_file()
    }


def unchanged(summary: Mapping[str, Any], num_receipts: int) -> str:
    """Return what there is to say of a run after which every receipt is as it was before."""
    known, name = summary["champion"], summary["model_name"]
    champion = f"champion is {name} version {known['version']}" if known else "no champion yet"
    return (
        f"nothing changed: the receipts of all {num_receipts} stages are those of the last run; "
        f"{champion}"
    )


def summarise(context: Context) -> dict[str, Any]:
    """Return what the end of a run has to say, from the receipts alone."""
    paths = context.paths
    registered, evaluated = (
        Receipt.read(paths.receipt(stage)).facts for stage in ("register", "evaluate")
    )
    if registered["champion"] is None:
        export, certificate = None, find_subject(version_name(context), "", paths).certificate
    else:
        name = Receipt.read(paths.receipt("export")).facts["export"]
        export, certificate = str(paths.exports / name), paths.audit
    return {
        "model_name": registered["model_name"],
        "version": registered["candidate"]["version"],
        "alias": registered["decision"]["alias"],
        "reasons": registered["decision"]["reasons"],
        "simulated": evaluated["simulated"],
        "methods": evaluated.get("methods", "full"),
        "champion": registered["champion"],
        "standings": standings(evaluated),
        "skipped": evaluated["skipped"],
        "export": export,
        "report": str(paths.evaluation / "report.html"),
        "certificate": str(certificate / HTML_NAME),
        "verdict": "passed" if Manifest.read(certificate).facts["passed"] else "failed",
    }


def version_name(context: Context) -> str:
    """Return ``NAME/VERSION`` of what the workspace registered last."""
    facts = Receipt.read(context.paths.receipt("register")).facts
    return f"{facts['model_name']}/{facts['candidate']['version']}"
