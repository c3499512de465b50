"""``tessera compare``: two versions, only what changed between them, and what it did."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flows.context import Context
from flows.services.explain import explain, explanation_lines
from flows.services.models import FoundModel, find_model
from flows.services.versions import share_samples
from tessera_core.records.cycle import STAGES
from tessera_core.records.evaluation import COMPARISON_NAME, EVALUATION_NAME
from tessera_core.records.files import read_json, write_atomically
from tessera_core.records.lineage import read_lineage
from tessera_core.records.manifest import Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.records.standing import report_standing

COUNTS: Final = {"ingest": ("num_pixels", "tiles"), "shuffle": ("num_pixels",)}


def compare(
    context: Context, first: str, second: str, out: Path | None, *, with_reasons: bool = False
) -> tuple[Path, list[str]]:
    """Score and compare two versions and write one self-contained page.

    Args:
        context: Settings and places.
        first: The older one, as ``load_model`` takes it.
        second: The newer one, likewise.
        out: Where the page goes; None = beside the comparison.
        with_reasons: Train the older one again with each group of changes, to see which did it.

    Returns:
        The page, and what it says in a few lines.
    """
    from flows.adapters.mapper import processes
    from tessera_core.compare.versions import compare_versions
    from tessera_core.evaluate.job import evaluate_model
    from tessera_core.pages.comparison import render_comparison

    share_samples(context)
    old, new = find_model(context, first), find_model(context, second)
    config, paths = context.config, context.paths
    with processes() as mapper:
        folders = [
            evaluate_model(one.folder, config, paths, with_baselines=False, mapper=mapper)
            for one in (old, new)
        ]
    pair = compare_versions(old.folder, new.folder, config, paths)
    content = {
        "names": [old.name, new.name],
        "evaluations": [read_json(folder / EVALUATION_NAME) for folder in folders],
        "comparison": read_json(pair / COMPARISON_NAME),
        "changes": changes(_chain(old, paths), _chain(new, paths)),
        "decision": _decide(context, folders[0], folders[1], pair),
        "groups": _changed_groups(*folders),
        "explanation": explain(context, (old, new), folders) if with_reasons else None,
    }
    page = out or pair.parent / f"{pair.name}.html"
    write_atomically(page, render_comparison(content).encode())
    return page, _lines(content)


def changes(old: Mapping[str, Receipt], new: Mapping[str, Receipt]) -> list[dict[str, str]]:
    """Return what differs between two chains of receipts, and nothing that does not.

    Args:
        old: Stage -> receipt behind the older model; may lack stages.
        new: The same of the newer one.

    Returns:
        Rows of ``what`` (data, config, code, environment), ``name``, ``old``, ``new``.
    """
    if not old or not new:
        known = "neither" if not old and not new else "only one"
        return [{"what": "lineage", "name": f"{known} of the two was trained in this checkout",
                 "old": "", "new": ""}]  # fmt: skip
    rows = []
    for stage in (stage for stage in STAGES if stage in old and stage in new):
        before, after = old[stage], new[stage]
        rows += _config_rows(before, after)
        for name in COUNTS.get(stage, ()):
            if before.facts.get(name) != after.facts.get(name):
                values = [_shown(each.facts.get(name)) for each in (before, after)]
                rows.append(_row("data", f"{stage}: {name}", *values))
        if before.code.closure != after.code.closure:
            digests = [each.code.closure[:12] for each in (before, after)]
            rows.append(_row("code", f"{stage}: all modules it imports", *digests))
    first, last = (chain.get("ingest") for chain in (old, new))
    if first is not None and last is not None and first.sources != last.sources:
        files = [{(one.path, one.sha256) for one in each.sources} for each in (first, last)]
        gone, came = len(files[0] - files[1]), len(files[1] - files[0])
        rows.append(_row("data", "scene files", f"{gone} not in the newer", f"{came} new"))
    before, after = old["pretrain"], new["pretrain"]
    if before.code.commit != after.code.commit or before.code.dirty != after.code.dirty:
        commits = [
            each.code.commit[:12] + " (changed since)" * each.code.dirty for each in (before, after)
        ]
        rows.append(_row("code", "commit", *commits))
    if before.environment != after.environment:
        digests = [each.environment[:12] for each in (before, after)]
        rows.append(_row("environment", "versions of dependencies", *digests))
    return rows


def _row(what: str, name: str, old: str, new: str) -> dict[str, str]:
    return {"what": what, "name": name, "old": old, "new": new}


def _config_rows(before: Receipt, after: Receipt) -> list[dict[str, str]]:
    rows = []
    for section in sorted({*before.config, *after.config}):
        one, two = before.config.get(section, {}), after.config.get(section, {})
        for name in sorted({*one, *two}):
            if one.get(name) != two.get(name):
                values = (_shown(each.get(name, "not there")) for each in (one, two))
                rows.append(_row("config", f"{section}.{name}", *values))
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _chain(model: FoundModel, paths: Paths) -> dict[str, Receipt]:
    """Return the receipts behind a model, found by its digest in the lineage."""
    model_digest, lineage = Manifest.read(model.folder).digest, read_lineage(paths.lineage)
    trainings = lineage.of_stage("pretrain").items()
    made = (one for one, each in trainings if each.facts["model_digest"] == model_digest)
    return lineage.chain(next(made, ""))


def _decide(context: Context, old: Path, new: Path, pair: Path) -> dict[str, Any]:
    """Return what the promotion rule says of the newer one as a challenger of the older one.

    Quality, chain and canaries are the release's business; here they are taken for green.
    """
    from tessera_core.register.evidence import evidence_between
    from tessera_core.register.gate import decide

    evidence = evidence_between(new, old, pair)
    decision = decide(evidence, context.config.register, has_champion=True)
    return {
        "alias": decision.alias,
        "reasons": list(decision.reasons),
        "numbers": dict(decision.numbers),
    }


def _changed_groups(old: Path, new: Path) -> list[dict[str, Any]]:
    from tessera_core.register.changed import changed_groups

    return changed_groups(new, old)


def _lines(content: Mapping[str, Any]) -> list[str]:
    """Return the comparison in a few lines for a terminal."""
    old, new = content["names"]
    lines = [f"{new} against {old}"]
    if any(one["simulated"] for one in content["evaluations"]):
        lines.append("simulated scenes: these numbers prove the machinery, not the science")
    lines += [
        f"  changed      {row['what']}: {row['name']}: {row['old']} -> {row['new']}"
        for row in content["changes"]
    ] or ["  changed      nothing"]
    if content["explanation"]:
        lines += explanation_lines(content["explanation"])
    for task, one in content["decision"]["numbers"]["tasks"].items():
        lines.append(
            f"  {task:<12} {one['metric']} {one['champion']:.3f} -> {one['challenger']:.3f}, gain "
            f"{one['gain']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
        )
    lines += [
        f"  {task:<12} {new}: {report_standing(report)}"
        for task, report in content["evaluations"][1]["tasks"].items()
        if report["scores"]
    ]
    lines.append(f"  bridge       {content['comparison']['bridge']['verdict']}")
    decision = content["decision"]
    verdict = "takes over" if decision["alias"] == "champion" else f"does not replace {old}"
    lines.append(f"  rule         {new} {verdict}: {decision['reasons'][0]}")
    return lines
