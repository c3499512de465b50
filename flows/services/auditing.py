"""``tessera audit``: what the core verifies, and the pointers of MLflow and DVC beside it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.context import Context
from flows.services.evidence import bring_all_behind, bring_behind_export
from flows.services.subjects import SQLITE, find, unreachable
from tessera_core.errors import InputError, RemoteError
from tessera_core.lineage.audit.locks import (
    LOCK_NAME,
    check_lock,
    check_pointer_file,
    made_at,
    unreadable,
)
from tessera_core.lineage.audit.pointers import (
    RegistryState,
    check_registry,
    not_compared,
    pointers_gone,
)
from tessera_core.lineage.audit.report import AuditReport, Finding, in_order
from tessera_core.records.outside import data_folders

if TYPE_CHECKING:
    from tessera_core.lineage.audit.pixel import PixelReport

REGISTRY: Final = "registry"


def audit(context: Context, reference: str | None) -> tuple[AuditReport, Path | None]:
    """Audit a version, an export, or the workspace's current export.

    Returns:
        The report, and the folder of its certificate; None without a reference.

    Raises:
        InputError: No receipt knows what is named.
        RecordError: There is no reference, and nothing was exported yet.
    """
    from tessera_core.lineage.audit.chain import verify_chain
    from tessera_core.lineage.audit.stage import audit_workspace, write_report

    if reference is None:
        bring_behind_export(context.paths)
        report = audit_workspace(context.config, context.paths)
        model = str(report.subject.get("model_name") or context.config.register.model_name)
        return with_pointers(report, context, model), None
    subject = find(context, reference)
    bring_all_behind(subject.paths, subject.start)
    report = verify_chain(
        subject.start, subject.paths, require_sources=context.config.audit.require_sources,
        data=data_folders(context.config, context.paths.root),
    )  # fmt: skip
    model = str(report.subject.get("model_name") or context.config.register.model_name)
    report = with_pointers(report, context, model)
    write_report(report, subject.certificate)
    return report, subject.certificate


def audit_one_pixel(
    context: Context, subject: str | None, export: str | None, pixel: Sequence[float] | None
) -> tuple["PixelReport", Path]:
    """Say what one pixel of an export stands on; MLflow is not asked, so that it takes no time.

    Returns:
        The report, and the folder of its certificate.

    Raises:
        InputError: Not exactly a pixel and its export were named, or they do not exist.
    """
    from tessera_core.lineage.audit.pixel import audit_pixel
    from tessera_core.lineage.audit.pixel_text import write_pixel

    if subject is not None or export is None or pixel is None:
        raise InputError(
            "name a pixel and its export, and nothing else: "
            "`tessera audit --pixel LON LAT --export EXPORT`"
        )
    found = find(context, export)
    report = audit_pixel(found, *pixel)
    folder = found.certificate_at(*pixel)
    write_pixel(report, folder)
    return report, folder


def with_pointers(report: AuditReport, context: Context, model_name: str) -> AuditReport:
    """Return a report with what registry and lock file say differently than the receipts."""
    found = [*registry_findings(context, model_name), *lock_findings(context)]
    return replace(report, findings=in_order([*report.findings, *found]))


def registry_findings(context: Context, model_name: str) -> list[Finding]:
    """Compare the model registry with the receipts.

    A database that is not there gives a note; a server that is down or answers with an error, a
    warning.
    """
    if (why := unreachable(context.settings)) is not None:
        is_gone = context.settings.mlflow_tracking_uri.startswith(SQLITE)
        return [pointers_gone(REGISTRY, why) if is_gone else not_compared(REGISTRY, why)]
    try:
        state = _read_registry(context, model_name)
    except RemoteError as error:
        return [not_compared(REGISTRY, str(error))]
    return check_registry(state, context.paths.lineage)


def lock_findings(context: Context) -> list[Finding]:
    """Compare what DVC keeps of the workspace, a lock or pointer files, with the receipts."""
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import load_yaml

    paths = context.paths
    if paths.workspace == paths.root:
        lock = paths.root / LOCK_NAME
        if not lock.is_file():
            is_versioned = (paths.root / ".dvc").is_dir()
            return [pointers_gone(LOCK_NAME, "there is none")] if is_versioned else []
        files = [lock]
        check = partial(check_lock, lineage=paths.lineage)
    else:
        files = sorted(paths.data.glob("*.dvc"))
        check = partial(check_pointer_file, made=made_at(paths.lineage) if files else {})
    findings: list[Finding] = []
    for file in files:
        name = file.relative_to(paths.root).as_posix()
        try:
            # YAML 1.2, as DVC writes it: others read 1e-06 as a word.
            findings += check(name, load_yaml(str(file)))
        except DvcException as error:
            findings.append(unreadable(name, str(error)))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            findings.append(unreadable(name, "it has not the form that DVC writes"))
    return findings


def _read_registry(context: Context, model_name: str) -> RegistryState:
    from flows.adapters.registry import MlflowRegistry

    registry = MlflowRegistry(context.settings, model_name, run_id="")
    tags = registry.tags()
    champion = registry.champion()
    return RegistryState(
        model_name=model_name,
        champion=None if champion is None else champion.version,
        tags=tags,
    )
