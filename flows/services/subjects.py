"""What a command is about: one way to name a version or an export, in every command."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.cli.parsers import SUBJECT
from flows.context import Context
from flows.servers.probe import mlflow_trouble, require_mlflow
from flows.settings import Settings
from tessera_core.errors import InputError, RecordError, did_you_mean
from tessera_core.lineage.audit.subject import (
    VERSION,
    Subject,
    export_folder,
    find_export,
    find_version,
)
from tessera_core.records.lineage import read_receipt, receipts_of
from tessera_core.records.receipt import Receipt

if TYPE_CHECKING:
    from tessera_core.ports import RegisteredModel

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What both a registry and a folder can be called."""

MAX_LISTED: Final = 12
"""Names that an error lists where none is close."""

SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A version or an export that a reference names."""

    model_name: str = ""
    """Name in the registry; empty for an export."""

    version: str = ""
    """Number of the version; empty for an export."""

    export: str = ""
    """Name of the export; empty for a version."""

    folder: Path | None = None
    """Where the export lies; None where it is gone, and for a version."""

    @property
    def reference(self) -> str:
        """How it is named without a registry: ``tessera/2``, or the export's name."""
        return self.export or f"{self.model_name}/{self.version}"


def resolve(context: Context, reference: str | None) -> Named:
    """Return what a reference names, as ``SUBJECT`` describes it; None is the current export.

    Only an alias and a bare name of a model need the registry.

    Raises:
        InputError: Nothing is called so, or the registry that would know cannot be asked.
        RecordError: There is no reference, and nothing was exported yet.
    """
    if reference is None:
        return _current_export(context)
    if (folder := export_folder(reference, context.paths)) is not None:
        return Named(export=folder.name, folder=folder)
    if numbered := VERSION.fullmatch(reference):
        name = numbered["name"] or context.config.register.model_name
        return Named(model_name=name, version=numbered["number"])
    published = receipts_of("export", context.paths.lineage).values()
    if any(receipt.facts.get("export") == reference for receipt in published):
        return Named(export=reference)
    model, is_alias, alias = reference.partition("@")
    if not NAME.fullmatch(model) or (is_alias and not NAME.fullmatch(alias)):
        raise InputError(f"{reference!r} is no version and no export; {_expected(context)}")
    found = _registered(context, reference, model, alias if is_alias else None)
    if found is None:
        problem = (
            f"{model} has no alias {alias}"
            if is_alias
            else f"{reference} is no registered model and no export"
        )
        raise InputError(f"{problem}; {_expected(context, reference)}")
    return Named(model_name=model, version=found.version)


def find(context: Context, reference: str | None) -> Subject:
    """Return where an audit of what a reference names starts; raises as ``resolve`` does."""
    named = resolve(context, reference)
    if named.export:
        return find_export(str(named.folder or named.export), context.paths)
    return find_version(named.model_name, named.version, context.paths)


def find_version_of(context: Context, reference: str | None) -> tuple[str, str]:
    """Return model name and version of what a reference names; an export's is its model's.

    Raises:
        InputError: As ``resolve``, or no receipt says which model made the export.
    """
    named = resolve(context, reference)
    if not named.export:
        return named.model_name, named.version
    subject = find_export(str(named.folder or named.export), context.paths)
    facts = read_receipt(subject.start, subject.paths.lineage).facts
    return str(facts["model_name"]), str(facts["version"])


def unreachable(settings: Settings) -> str | None:
    """Return why the registry cannot be asked, without waiting for MLflow's many retries."""
    uri = settings.mlflow_tracking_uri
    if uri.startswith(SQLITE):
        # Opening it would make a new one.
        database = Path(uri.removeprefix(SQLITE))
        return None if database.is_file() else f"there is no {database.name}"
    return mlflow_trouble(uri)


def _current_export(context: Context) -> Named:
    path = context.paths.receipt("export")
    if not path.is_file():
        raise RecordError(
            f"there is no current export: {path} is missing; run `tessera export` first, or name "
            f"one of {SUBJECT}"
        )
    name = str(Receipt.read(path).facts.get("export"))
    return Named(export=name, folder=context.paths.exports / name)


def _registered(
    context: Context, reference: str, model: str, alias: str | None
) -> "RegisteredModel | None":
    """Return the version behind an alias, or behind a model's name alone; None where none is."""
    known = f"{reference} is no export, and only the registry knows models by name"
    if alias is not None:
        known = f"{reference} needs the registry"
    expected = _expected(context, reference)
    require_mlflow(context.settings)
    if (why := unreachable(context.settings)) is not None:
        raise InputError(f"{known}, but {why}; {expected}")
    from flows.adapters.registry import MlflowRegistry

    registry = MlflowRegistry(context.settings, model, run_id="")
    if alias is not None:
        return registry.by_alias(alias)
    return registry.champion() or registry.newest()


def _expected(context: Context, reference: str = "") -> str:
    """Return what could have been written, with what comes closest."""
    lineage = context.paths.lineage
    known = {str(one.facts.get("export")) for one in receipts_of("export", lineage).values()}
    for receipt in receipts_of("register", lineage).values():
        candidate = receipt.facts.get("candidate") or {}
        known.add(f"{receipt.facts.get('model_name')}/{candidate.get('version')}")
    hint = did_you_mean(reference, known) if known and reference else ""
    if hint.startswith("Known") and len(known) > MAX_LISTED:
        hint = f"The lineage knows {len(known)} of them."
    return f"expected {SUBJECT}. {hint}".removesuffix(". ")
