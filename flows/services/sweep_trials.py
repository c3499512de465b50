"""What became of a sweep's trials: scores, ranking, the table."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flows.context import load_context
from flows.reporting import run_key
from flows.services.sweep_grid import Plan, Trial
from tessera_core.errors import RecordError
from tessera_core.records.files import read_json
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

PROBE: Final = "probe/accuracy"
"""Trials are ranked by it, and never by the loss: that hardly predicts how useful embeddings are,
and objectives with other weights give other losses."""

DONE, FAILED, REFUSED = "done", "failed", "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial at the end of a sweep."""

    trial: Trial
    """Which settings."""

    status: str
    """``done``, ``failed``, or ``refused`` by the settings themselves."""

    probe: float | None
    """Probe score of the encoder, 0..1; None without labels to probe on, or unless done."""

    run_id: str
    """MLflow run; empty for a trial that never got there."""

    workspace: str
    """Folder of its outputs, relative to the checkout; empty for a refused one."""

    error: str
    """Why it failed or was refused; else empty."""

    @property
    def cells(self) -> dict[str, str]:
        """The row as text by column."""
        return {
            **self.trial.values,
            PROBE: "" if self.probe is None else f"{self.probe:.6f}",
            "status": self.status,
            "run_id": self.run_id,
            "workspace": self.workspace,
            "error": self.error,
        }


def describe_trial(plan: Plan, trial: Trial, error: str | None) -> Row:
    """Return the row of a trial from what it left in its workspace.

    Args:
        plan: The sweep.
        trial: One of its trials.
        error: Why it failed, or None when it is done.
    """
    from flows.adapters.tracking import find_run_id

    if trial.refusal:
        return Row(
            trial=trial, status=REFUSED, probe=None, run_id="", workspace="", error=trial.refusal
        )
    root = plan.base.paths.root
    context = load_context(root, [*plan.overrides, *trial.overrides])
    try:
        run_id = find_run_id(context.settings, run_key(context)) or ""
    except RecordError:
        run_id = ""  # it failed before there was data to train on
    return Row(
        trial=trial,
        status=DONE if error is None else FAILED,
        probe=probe_score(context.paths) if error is None else None,
        run_id=run_id,
        workspace=context.paths.workspace.relative_to(root).as_posix(),
        error=error or "",
    )


def probe_score(paths: Paths) -> float | None:
    """Return the probe score of the encoder that a training handed out; None without a probe.

    That is the one that training selected by it, else the last. Never simply the best on record:
    the best of many looks flatters a trial that wavers.
    """
    selected = Receipt.read(paths.receipt("pretrain")).facts.get("selected")
    if selected is not None:
        return float(selected["score"])
    history = read_json(paths.training / "history.json")
    scores = [record[PROBE] for record in history if PROBE in record]
    return float(scores[-1]) if scores else None


def rank(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the best probe score first, unscored ones last; equals keep their order."""
    return sorted(rows, key=lambda row: -1.0 if row.probe is None else row.probe, reverse=True)


def best_of(rows: Sequence[Row]) -> Row | None:
    """Return the row with the best probe score, or None when none has one."""
    return next((row for row in rank(rows) if row.probe is not None), None)


def render_csv(rows: Sequence[Row]) -> str:
    """Return the table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0].cells), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.cells for row in rows)
    return text.getvalue()


def render_table(rows: Sequence[Row]) -> list[str]:
    """Return the table in aligned lines for a terminal, without the errors."""
    cells = [
        {
            **{name.partition(".")[2]: value for name, value in row.trial.values.items()},
            "probe": "-" if row.probe is None else f"{row.probe:.3f}",
            "status": row.status,
            "MLflow run": row.run_id[:8] or "-",
            "workspace": row.workspace or "-",
        }
        for row in rows
    ]
    widths = {name: max(len(name), *(len(cell[name]) for cell in cells)) for name in cells[0]}
    lines = [{name: name for name in widths}, *cells]
    return [
        "  ".join(f"{line[name]:<{widths[name]}}" for name in widths).rstrip() for line in lines
    ]
