"""``tessera replay``: is a version what its receipts say? Run them again and see."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.adapters.versioning import fetch_contents
from flows.console import say
from flows.context import Context
from flows.services.models import find_model
from tessera_core.errors import InputError, did_you_mean
from tessera_core.records.files import write_atomically, write_json
from tessera_core.records.manifest import Manifest
from tessera_core.records.paths import DIGITS_OF_NAME

if TYPE_CHECKING:
    from tessera_core.lineage.replay.report import ReplayReport

TEXT_NAME: Final = "replay.txt"
JSON_NAME: Final = "replay.json"


def replay(
    context: Context,
    reference: str | None,
    stage: str | None,
    out: Path | None,
    *,
    present_only: bool,
) -> tuple["ReplayReport", Path]:
    """Replay the stages behind a version and write what came of it, printing as it goes.

    Args:
        context: Settings and places.
        reference: As ``load_model`` takes it; None is the current export's model.
        stage: One stage, on the inputs that were recorded; None for all that can be replayed.
        out: Folder of the reports; None = ``data/replays/<version>-<digest>``.
        present_only: Run the present code whatever the receipts name.

    Returns:
        The report, and the folder it was written to.

    Raises:
        InputError: There is no such version, or no such stage behind it.
        RecordError: The lineage does not know the version, or misses receipts.
    """
    from tessera_core.lineage.audit.report import in_order
    from tessera_core.lineage.replay.chain import find_recorded
    from tessera_core.lineage.replay.environment import environment_findings
    from tessera_core.lineage.replay.job import open_replay, replay_stages
    from tessera_core.lineage.replay.report import ReplayReport, conclusion, finding_lines
    from tessera_core.model.artifact import best_device, device_class

    found = find_model(context, reference)
    model = Manifest.read(found.folder).digest
    recorded = find_recorded(model, context.paths)
    stages = _stages(list(recorded.stages), stage, found.name)
    say(f"replay of {found.name}, model {model[:DIGITS_OF_NAME]}: {', '.join(stages)}")
    findings = environment_findings([recorded.stages[one] for one in stages], context.paths)
    fetch = partial(fetch_contents, context.paths.root)
    done = []
    with open_replay(recorded, context.paths, fetch=fetch, present_only=present_only) as running:
        for each in replay_stages(running, stages):
            say(each.line)
            done.append(each)
        findings += running.findings
    report = ReplayReport(
        name=found.name,
        model_digest=model,
        device=device_class(best_device()),
        stages=tuple(done),
        findings=in_order(findings),
    )
    for line in [*finding_lines(report.findings), conclusion(report)]:
        say(line)
    return report, _write(report, out or _folder(context, report, stage))


def _stages(known: Sequence[str], chosen: str | None, name: str) -> list[str]:
    if chosen is None:
        return list(known)
    if chosen not in known:
        raise InputError(
            f"no receipt of {chosen} that can be replayed is behind {name}. "
            f"{did_you_mean(chosen, known)}"
        )
    return [chosen]


def _folder(context: Context, report: "ReplayReport", stage: str | None) -> Path:
    version = report.name.replace(" ", "-").replace("/", "-")
    of_stage = f"-{stage}" if stage else ""
    mark = report.model_digest[:DIGITS_OF_NAME]
    return context.paths.replays / f"{version}-{mark}{of_stage}"


def _write(report: "ReplayReport", folder: Path) -> Path:
    from tessera_core.lineage.replay.report import render_replay

    write_atomically(folder / TEXT_NAME, render_replay(report).encode())
    write_json(folder / JSON_NAME, report.to_dict())
    return folder
