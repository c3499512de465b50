"""Attestations from the command line: keys from files, times from git, events to a server."""

import subprocess
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from flows.context import Context
from flows.services.subjects import resolve
from tessera_core.errors import InputError, StorageError

EVENTS_NAME: Final = "openlineage.jsonl"
LINEAGE_API: Final = "/api/v1/lineage"
SEND_TIMEOUT_S: Final = 30.0


def attest(
    context: Context, reference: str | None, key_file: Path | None
) -> tuple[Path, list[str]]:
    """Write the attestations of a version or an export.

    Args:
        context: Settings and places.
        reference: As ``resolve`` takes it; None is the current export.
        key_file: Signing key; None takes ``TESSERA_SIGNING_KEY``, and without that signs nothing.

    Returns:
        The folder, and what a user should know about it, a line each.

    Raises:
        InputError: There is no such thing, or the key lies in the checkout or is none.
    """
    from tessera_core.lineage.attest.attested import find_attested
    from tessera_core.lineage.attest.folder import write_attestations
    from tessera_core.lineage.attest.signing import key_id, read_private_key
    from tessera_core.records.code import environment_versions
    from tessera_core.records.receipt import read_versions

    if key_file is None and context.settings.tessera_signing_key:
        key_file = Path(context.settings.tessera_signing_key)
    key = None
    if key_file is not None:
        require_outside(key_file, context.paths.root)
        key = read_private_key(key_file)
    subject = find_attested(resolve(context, reference).reference, context.paths)
    times = commit_times(subject.commits, context.paths.root)
    trained = read_versions(subject.stage("pretrain").environment, context.paths.lineage)
    versions = trained or environment_versions()  # older lineages keep the digest alone
    folder = write_attestations(subject, context.paths, times, versions, key)
    lines = [
        f"commit {commit[:12]} is not in this checkout, so nothing that needs a time was written"
        for commit in subject.commits
        if commit not in times
    ]
    signer = "nobody; --key FILE or TESSERA_SIGNING_KEY signs"
    lines.append(f"signed by    {signer if key is None else key_id(key.public_key())[:12]}")
    return folder, lines


def send_lineage(folder: Path, server: str, api_key: SecretStr) -> int:
    """Post the OpenLineage events of a folder to a server, and return how many it took.

    Args:
        folder: What ``attest`` wrote.
        server: Its address as ``https://lineage.example.org``; events go to ``/api/v1/lineage``.
        api_key: Sent as a bearer token unless it is empty.

    Raises:
        InputError: The folder holds no events.
        StorageError: The server did not take one; those before it were taken. Sending again is
            safe: events have names of their own.
    """
    events = folder / EVENTS_NAME
    if not events.is_file():
        raise InputError(f"{folder} has no {EVENTS_NAME} to send: a commit's time was not known")
    headers = {"Content-Type": "application/json"}
    lines = events.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        request = urllib.request.Request(f"{server.rstrip('/')}{LINEAGE_API}", line, headers)
        if key := api_key.get_secret_value():
            # Not among the headers that would follow a redirection to another server.
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        try:
            urllib.request.urlopen(request, timeout=SEND_TIMEOUT_S).close()
        except (OSError, HTTPException) as error:  # unreachable, refused, or no answer of HTTP
            raise StorageError(
                f"{server} did not take event {number} of {len(lines)}: {error}; the documents "
                f"are in {folder}, send them again when it answers"
            ) from error
    return len(lines)


def require_server(address: str) -> None:
    """Refuse what is no web server's address, and one with a password, which logs would show.

    Raises:
        InputError: It is none.
    """
    try:
        parts = urlsplit(address)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname)
        has_secret = parts.username is not None
        is_plain = address.isprintable() and " " not in address
    except ValueError:
        is_server = has_secret = is_plain = False
    if has_secret:
        raise InputError("the server's address holds a name or password; use OPENLINEAGE_API_KEY")
    if not is_server or not is_plain:
        raise InputError(f"{address!r} is no address of a server; expected http:// or https://")


def require_outside(key_file: Path, root: Path) -> None:
    """Refuse a key in the checkout, where it would be one `git add` away from everybody.

    Raises:
        InputError: It is inside, or a link there leads to it.
    """
    home = root.resolve()
    for place in (key_file.parent.resolve() / key_file.name, key_file.resolve()):
        if place.is_relative_to(home):
            raise InputError(
                f"the signing key {key_file} is inside the checkout {root}; keep it outside, "
                "where nothing commits, copies or caches it"
            )


def commit_times(commits: Iterable[str], root: Path) -> dict[str, str]:
    """Return commit -> its time in UTC, ISO 8601, for the commits that the checkout has."""
    times = {}
    for commit in commits:
        result = subprocess.run(  # fixed program and arguments
            ["git", "show", "-s", "--date=format-local:%Y-%m-%dT%H:%M:%S+00:00", "--format=%cd",
             "--end-of-options", commit],
            cwd=root, capture_output=True, text=True, timeout=30, env=_utc(),
        )  # fmt: skip
        if result.returncode == 0:
            times[commit] = result.stdout.strip()
    return times


def _utc() -> dict[str, str]:
    from flows.settings import child_environment

    return child_environment(TZ="UTC")
