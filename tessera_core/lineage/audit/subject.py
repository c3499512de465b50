"""What an audit is about: a version or an export, found through receipts alone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tessera_core.errors import InputError, did_you_mean
from tessera_core.records.files import digest_file
from tessera_core.records.lineage import receipts_of
from tessera_core.records.manifest import MANIFEST_NAME
from tessera_core.records.paths import DIGITS_OF_NAME, Paths
from tessera_core.records.receipt import Receipt

WORKSPACES: Final = "data/runs/*/data/exports"
"""Exports of runs with settings of their own, below the root."""

VERSION: Final = re.compile(r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)/)?(?P<number>[0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Where an audit starts, and what its certificate is called."""

    name: str
    """For people and folders: an export's name, or ``tessera-1``."""

    start: str
    """Digest of the receipt to start from."""

    paths: Paths
    """Root, and the workspace that it was made in."""

    folder: Path | None = None
    """The export; None for a version."""

    @property
    def certificate(self) -> Path:
        """Folder of its certificates; another decision about the same version has another."""
        return self.paths.root / "data" / "audits" / f"{self.name}-{self.start[:DIGITS_OF_NAME]}"

    def certificate_at(self, longitude: float, latitude: float) -> Path:
        """Folder of the certificate of one pixel, beside the one of its export."""
        where = f"{float(longitude)}_{float(latitude)}"
        return self.certificate.with_name(f"{self.certificate.name}-at-{where}")


def find_subject(reference: str, model_name: str, paths: Paths) -> Subject:
    """Return what a reference means: ``NAME/VERSION``, ``VERSION``, or an export's name or folder.

    Args:
        reference: What the user wrote.
        model_name: Name of the model where the reference has none.
        paths: Workspace and root.

    Raises:
        InputError: No receipt knows it.
    """
    version = VERSION.fullmatch(reference)
    if version and export_folder(reference, paths) is None:
        return find_version(version["name"] or model_name, version["number"], paths)
    return find_export(reference, paths)


def find_version(model_name: str, version: str, paths: Paths) -> Subject:
    """Return the registration of a version.

    Raises:
        InputError: No register receipt decided about it, or those that did speak of two models.
    """
    registered = receipts_of("register", paths.lineage)
    own = {
        digest: receipt
        for digest, receipt in registered.items()
        if receipt.facts.get("model_name") == model_name
    }
    decided = {
        digest: receipt
        for digest, receipt in own.items()
        if _candidate(receipt).get("version") == version
    }
    if not decided:
        known = {str(_candidate(receipt).get("version")) for receipt in own.values()}
        raise InputError(
            f"no register receipt in {paths.lineage} decided about version {version} of "
            f"{model_name}; {_known_versions(model_name, known, registered.values())}. A version "
            "that was imported and never scored in a run has no evidence to audit"
        )
    models = sorted({str(_candidate(receipt).get("model_digest")) for receipt in decided.values()})
    if len(models) > 1:
        raise InputError(
            f"the receipts know {len(models)} models as version {version} of {model_name}, "
            f"{' and '.join(model[:DIGITS_OF_NAME] for model in models)}: the registry was begun "
            "anew. Audit the export of the one that you mean"
        )
    return Subject(name=f"{model_name}-{version}", start=_latest(decided, paths), paths=paths)


def find_export(reference: str, paths: Paths) -> Subject:
    """Return the receipt that published an export.

    Raises:
        InputError: There is no such folder, or no receipt in the lineage published it.
    """
    folder = export_folder(reference, paths)
    if folder is None:
        exports = receipts_of("export", paths.lineage).values()
        if any(receipt.facts.get("export") == reference for receipt in exports):
            raise InputError(
                f"{reference} was published, but data/exports/{reference} is gone; bring it "
                "back from a backup or by `dvc checkout`, then ask again"
            )
        raise InputError(
            f"{reference!r} is neither a version nor an export; {_known(reference, paths)}"
        )
    where = replace(paths, workspace=folder.parent.parent.parent)
    published = {
        digest: receipt
        for digest, receipt in receipts_of("export", paths.lineage).items()
        if receipt.facts.get("export") == folder.name
    }
    if not published:
        raise InputError(
            f"no export receipt in {paths.lineage} published {folder.name}; restore data/lineage "
            "from a backup or another clone, or export again"
        )
    # The same bytes may have been exported for several registrations.
    manifest = folder / MANIFEST_NAME
    found = digest_file(manifest, folder).sha256 if manifest.is_file() else None
    intact = {
        digest: receipt
        for digest, receipt in published.items()
        if any(output.sha256 == found for output in receipt.outputs)
    }
    return Subject(
        name=folder.name, start=_latest(intact or published, where), paths=where, folder=folder
    )


def _known_versions(model_name: str, known: set[str], registered: Iterable[Receipt]) -> str:
    """Return what could have been asked for."""
    if known:
        return f"expected one of {', '.join(sorted(known, key=lambda each: (len(each), each)))}"
    models = sorted({str(receipt.facts.get("model_name")) for receipt in registered})
    if not models:
        return "no version is known here at all; `tessera retrain` makes one"
    return f"no model is called {model_name}, but {' and '.join(models)}"


def _latest(receipts: dict[str, Receipt], paths: Paths) -> str:
    """Return the workspace's current one of several receipts, else the first by digest.

    Receipts hold no time, so others of the same subject have no order; all name the same bytes.
    """
    for stage in {receipt.stage for receipt in receipts.values()}:
        current = paths.receipt(stage)
        if current.is_file():
            digest = digest_file(current, current.parent).sha256
            if digest in receipts:
                return digest
    return min(receipts)


def _candidate(receipt: Receipt) -> dict[str, Any]:
    candidate: dict[str, Any] = receipt.facts.get("candidate") or {}
    return candidate


def _folders(paths: Paths) -> list[Path]:
    """Return every export of the checkout, those of the workspace first."""
    places = (
        paths.exports, paths.root / "data" / "exports", *sorted(paths.root.glob(WORKSPACES)),
    )  # fmt: skip
    found = [folder for place in places for folder in sorted(place.glob("[!.]*"))]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def export_folder(reference: str, paths: Paths) -> Path | None:
    """Return the export with this name or at this place; only those of the checkout count."""
    known = _folders(paths)
    by_name = next((folder for folder in known if folder.name == reference), None)
    if by_name is not None:
        return by_name
    if "\0" in reference:
        return None  # no path can hold it
    places = {Path(reference).resolve(), (paths.root / reference).resolve()}
    return next((folder for folder in known if folder.resolve() in places), None)


def _known(reference: str, paths: Paths) -> str:
    names = sorted({folder.name for folder in _folders(paths)})
    if not names:
        return f"there is no export in {paths.exports} yet; run `tessera export` first"
    return f"expected VERSION, NAME/VERSION or an export. {did_you_mean(reference, names)}"
