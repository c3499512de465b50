"""Commands about lineage: audit, replay, recall, gc, attest, verify, rebuild-tracking, sync."""

import argparse
from typing import TYPE_CHECKING

from flows.cli.parsers import OR_ARTIFACT, Commands, add_command, add_subject
from flows.console import say

if TYPE_CHECKING:
    from flows.context import Context

AUDIT_HELP = "verify the chain from export to scenes; exit 3 when anything differs"
AUDIT_EXAMPLES = """\
examples:
  tessera audit                                    behind the current export
  tessera audit tessera/3                          behind a version; tessera@champion works, too
  tessera audit data/exports/tessera-v3-*          behind an export
  tessera audit --pixel 16.455 48.617 --export tessera-v3-1c0b6b1d2f9a
"""


def add_lineage_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add them all."""
    _add_audit(commands, common)
    _add_attest(commands, common)
    _add_recall(commands, common)
    text = "run the stages behind a version again and compare; exit 3 when one differs"
    parser = add_command(commands, common, "replay", text, _replay)
    add_subject(parser, "version", OR_ARTIFACT, has_default=True)
    parser.add_argument("--stage", metavar="STAGE", help="this one only, on recorded inputs")
    parser.add_argument("--out", metavar="DIR", help="reports (default: in data/replays)")
    parser.add_argument(
        "--present-code", action="store_true",
        help="run the code of today, not that of the receipts: does it still give the same?",
    )  # fmt: skip
    text = "restore runs, versions and aliases of MLflow from receipts; what is there is left"
    add_command(commands, common, "rebuild-tracking", text, _rebuild_tracking)
    text = "send lineage that the team lacks and fetch what this checkout lacks"
    add_command(commands, common, "sync", text, _sync)


def _add_audit(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``audit``."""
    parser = add_command(commands, common, "audit", AUDIT_HELP, _audit)
    parser.epilog = AUDIT_EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_subject(parser, "subject", "; its certificate goes to data/audits", has_default=True)
    parser.add_argument(
        "--pixel", nargs=2, type=float, metavar=("LON", "LAT"),
        help="everything behind one pixel of --export, degrees WGS 84",
    )  # fmt: skip
    parser.add_argument("--export", metavar="EXPORT", help="the export that holds the pixel")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_attest(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``attest`` and ``verify``."""
    text = "write signed provenance, ML-BOM, cards and lineage in the field's standards"
    parser = add_command(commands, common, "attest", text, _attest)
    add_subject(parser, "subject", has_default=True)
    parser.add_argument("--key", metavar="FILE", help="Ed25519 key (PEM), outside the checkout")
    parser.add_argument(
        "--send", metavar="URL", help="post the OpenLineage events to this server, too"
    )
    text = "verify attestations against a public key; exit 3 when anything is forged"
    parser = add_command(commands, argparse.ArgumentParser(add_help=False), "verify", text, _verify)
    parser.add_argument("folder", help="a folder that `tessera attest` wrote, in data/attestations")
    parser.add_argument("--public-key", required=True, metavar="FILE", help="Ed25519 key (PEM)")
    parser.add_argument(
        "--artifact", metavar="DIR", help="folder of the model or export, compared file by file"
    )


def _add_recall(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``recall`` and ``gc``."""
    text = "what has seen a bad scene, tile or processing baseline, and what has to run again"
    parser = add_command(commands, common, "recall", text, _recall)
    parser.add_argument("what", metavar="SCENE|TILE|BASELINE", help="as N0400 for a baseline")
    parser.add_argument("--json", action="store_true", help="print the record instead of a table")
    parser.add_argument(
        "--run", action="store_true",
        help="run the plan without it and stamp what that supersedes; exit 3 when the gate keeps "
        "a recalled model",
    )  # fmt: skip
    text = "list what may be deleted without breaking an audit, and what must stay for whom"
    parser = add_command(commands, common, "gc", text, _gc)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--dry-run", action="store_true", help="only list")
    action.add_argument("--delete", action="store_true", help="list, then delete just that")


def _replay(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from flows.context import load_context, require_writable
    from flows.services.evidence import bring_evidence
    from flows.services.replay import replay

    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    bring_evidence(context)
    report, folder = replay(
        context, chosen.version, chosen.stage, chosen.out and Path(chosen.out),
        present_only=chosen.present_code,
    )  # fmt: skip
    say(f"report       {folder}")
    return 0 if report.is_proven else 3


def _attest(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from flows.context import load_context, require_writable
    from flows.services.attesting import attest, require_server, send_lineage
    from flows.services.evidence import bring_evidence

    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    if chosen.send is not None:
        require_server(chosen.send)
    bring_evidence(context)
    folder, lines = attest(context, chosen.subject, chosen.key and Path(chosen.key))
    for line in lines:
        say(line)
    say(f"attestations {folder}")
    if chosen.send is not None:
        number = send_lineage(folder, chosen.send, context.settings.openlineage_api_key)
        say(f"sent         {number} events to {chosen.send}")
    return 0


def _verify(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from tessera_core.errors import InputError
    from tessera_core.lineage.attest.folder import verify_attestations
    from tessera_core.lineage.attest.signing import read_public_key

    if not Path(chosen.folder).is_dir():
        raise InputError(
            f"{chosen.folder} is no folder; expected one that `tessera attest` wrote, as "
            "data/attestations/NAME-DIGEST"
        )
    key = read_public_key(Path(chosen.public_key))
    artifact = chosen.artifact and Path(chosen.artifact)
    for line in verify_attestations(Path(chosen.folder), key, artifact):
        say(line)
    return 0


def _recall(chosen: argparse.Namespace) -> int:
    import json

    from flows.context import load_context, require_writable
    from flows.services.evidence import bring_evidence, evidence_of_team
    from tessera_core.lineage.recall.report import find_recall, render_text, write_recall

    # Settings first: Prefect and MLflow read their environment when imported.
    context = load_context(chosen.root)
    require_writable(context.paths.root)
    bring_evidence(context)
    recall, _ = find_recall(chosen.what, context.config.to_dict(), context.paths)
    record = write_recall(recall, context.paths)
    lines = [json.dumps(recall.to_dict(), indent=1)] if chosen.json else render_text(recall)
    for line in lines if chosen.json else [*lines, f"record   {record}"]:
        say(line)
    if chosen.run:
        from flows.recalling import carry_out
        from flows.servers.probe import require_servers

        require_servers(context.settings)
        with evidence_of_team(context):
            carry_out(context, chosen.what)
    return 0


def _gc(chosen: argparse.Namespace) -> int:
    from flows.context import load_context
    from tessera_core.lineage.retention.prune import delete, take_inventory
    from tessera_core.lineage.retention.text import render_text

    paths = load_context(chosen.root).paths
    inventory = take_inventory(paths)
    for line in render_text(inventory):
        say(line)
    if chosen.delete:
        say(f"deleted {delete(inventory, paths):,} bytes")
    return 0


def _rebuild_tracking(chosen: argparse.Namespace) -> int:
    from flows.context import load_context, require_writable

    context = load_context(chosen.root)
    require_writable(context.paths.root)
    from flows.services.evidence import bring_evidence
    from flows.services.rebuilding import describe, rebuild_tracking

    bring_evidence(context)
    for line in describe(rebuild_tracking(context)):
        say(line)
    return 0


def _sync(chosen: argparse.Namespace) -> int:
    from flows.context import load_context, require_writable
    from flows.services.evidence import sync

    context = load_context(chosen.root)
    require_writable(context.paths.root)
    say(sync(context))
    return 0


def _audit(chosen: argparse.Namespace) -> int:
    import json

    from flows.context import load_context
    from flows.services.auditing import audit
    from flows.services.evidence import bring_evidence_or_warn
    from tessera_core.lineage.audit.certificate import HTML_NAME, render_text

    context = load_context(chosen.root, chosen.overrides)
    bring_evidence_or_warn(context)
    if chosen.pixel or chosen.export:
        return _audit_pixel(chosen, context)
    report, folder = audit(context, chosen.subject)
    if chosen.json:
        say(json.dumps(report.to_dict(), sort_keys=True, indent=1))
    else:
        say(render_text(report))
        if folder is not None:
            say(f"certificate  {folder / HTML_NAME}")
    return 0 if report.passed else 3


def _audit_pixel(chosen: argparse.Namespace, context: "Context") -> int:
    import json

    from flows.services.auditing import audit_one_pixel
    from tessera_core.lineage.audit.certificate import HTML_NAME
    from tessera_core.lineage.audit.pixel_text import render_pixel

    found, folder = audit_one_pixel(context, chosen.subject, chosen.export, chosen.pixel)
    if chosen.json:
        say(json.dumps(found.to_dict(), sort_keys=True, indent=1))
    else:
        say(render_pixel(found))
        say(f"certificate  {folder / HTML_NAME}")
    return 0 if found.audit.passed else 3
