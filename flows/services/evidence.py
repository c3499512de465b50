"""When a checkout looks at the team's evidence, and when it adds its own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from flows.adapters.evidence import HOW_TO_JOIN, Synced, fetch_evidence, share_evidence
from flows.adapters.versioning import fetch_contents
from flows.console import complain, note
from flows.context import Context
from tessera_core.errors import InputError, RecordError, RemoteError
from tessera_core.records.content import Contents
from tessera_core.records.files import FileDigest, digest_file, parse_json
from tessera_core.records.lineage import Stored, read_lineage
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths


@contextmanager
def evidence_of_team(context: Context) -> Iterator[None]:
    """Run a decision on all that the team knows, and let the team know what was decided.

    What this checkout has is sent before, too: whoever sees a new version in the registry finds
    what it stands on. The decision holds even if it cannot be sent, which is then said.

    Raises:
        RemoteError: The team's home of evidence does not answer, so nothing was decided.
        RecordError: A record there was changed.
    """
    _tell(share_evidence(context.paths, context.settings))
    try:
        yield
    finally:
        try:
            _tell(share_evidence(context.paths, context.settings))
        except (RemoteError, InputError, OSError) as error:
            complain(
                f"WARNING: what was just done is recorded here, but not yet where the team looks: "
                f"{error}. `tessera sync` sends it, and so does the next run"
            )


def bring_evidence(context: Context) -> None:
    """Bring what the team knows before a question is answered; raises as ``evidence_of_team``."""
    found = fetch_evidence(context.paths, context.settings)
    _tell(found)
    if found is not None and found.is_new:
        note(f"evidence  nothing is at {found.home}: nobody sent any yet, or it is not mounted")


def bring_evidence_or_warn(context: Context) -> None:
    """The same for an audit, which goes on with what is here: what it misses there, it blocks on.

    Raises:
        RecordError: A record at the team's home was changed.
    """
    try:
        bring_evidence(context)
    except RemoteError as error:
        complain(f"WARNING: this looks at the lineage of this checkout alone: {error}")


def sync(context: Context) -> str:
    """Send and fetch what is missing on either side; return what was done.

    Raises:
        InputError: There is no place that the checkouts of a team share.
        RemoteError: It does not answer.
        RecordError: A record there was changed.
    """
    synced = share_evidence(context.paths, context.settings)
    if synced is None:
        raise InputError(
            "there is no place to share evidence at: DVC has no default remote outside this "
            "checkout, and TESSERA_EVIDENCE is empty; `dvc remote add -d team URL` makes one"
        )
    return f"evidence  {synced.sent} records sent, {synced.fetched} fetched, at {synced.home}"


def require_receipt(context: Context, version: str, receipt: str) -> None:
    """Refuse to decide about a version that another checkout made and this one knows nothing of.

    Raises:
        RecordError: The lineage has no such receipt; the message says how it comes here.
    """
    if not (context.paths.lineage / f"{receipt}.json").is_file():
        raise RecordError(
            f"{context.paths.lineage} has no receipt {receipt[:12]}, on which version {version} "
            f"stands: another checkout registered it; {HOW_TO_JOIN}"
        )


def bring_all_behind(paths: Paths, start: str) -> None:
    """Bring the content that a receipt stands on and the checkout lacks from DVC's remote.

    It goes into DVC's cache. What another checkout made and nobody pushed is left to the audit,
    and so is everything while the remote is away, which is said.
    """
    with suppress(RecordError):  # an audit tells which record is none
        lineage = read_lineage(paths.lineage)
        behind = [lineage.receipts[digest] for digest in lineage.behind([start])]
        outputs = [output for each in behind for output in each.outputs]
        try:
            bring_outputs(paths, outputs)
        except RemoteError as error:
            complain(f"WARNING: this looks at what is in this checkout alone: {error}")


def bring_behind_export(paths: Paths) -> None:
    """Bring likewise what stands behind the workspace's export, whose model may be another's."""
    receipt = paths.receipt("export")
    if receipt.is_file():
        bring_all_behind(paths, digest_file(receipt, paths.root).sha256)


def bring_outputs(paths: Paths, outputs: Iterable[FileDigest]) -> None:
    """Bring outputs that receipts name, and what they list if they are manifests, likewise."""
    contents = Contents.of(paths)
    listed = [file for output in outputs for file in (output, *_files_of(output, paths.lineage))]
    if missing := [file for file in listed if not _is_here(file, contents)]:
        fetch_contents(paths.root, missing)


def _is_here(file: FileDigest, contents: Contents) -> bool:
    """Return whether a content is in the checkout; two models have the same size, so by digest."""
    stored = contents.dvc_cache / file.md5[:2] / file.md5[2:]
    return stored.is_file() or contents.find(file, file.path) is not None


def _files_of(output: FileDigest, lineage: Path) -> list[FileDigest]:
    """Return what a manifest lists, as the lineage keeps it, with paths below the workspace."""
    folder, _, name = output.path.rpartition("/")
    path = lineage / f"{output.sha256}.json"
    if name != MANIFEST_NAME or not path.is_file():
        return []
    stored = Stored(path=path, content=path.read_bytes())
    if not stored.is_intact:
        return []  # an audit names it
    files = Manifest.from_dict(parse_json(stored.content, path), path).files
    return [replace(file, path=f"{folder}/{file.path}") for file in files]


def _tell(synced: Synced | None) -> None:
    if synced is not None and (synced.sent or synced.fetched):
        note(f"evidence  {synced.sent} records sent, {synced.fetched} fetched, at {synced.home}")
