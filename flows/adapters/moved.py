"""A checkout that was copied or moved with its MLflow database, whose artifacts are elsewhere.

MLflow stores whole addresses. A copy would write its artifacts into the original's folder, and a
checkout that was moved would look for them where it once was.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tessera_core.errors import StorageError
from tessera_core.records.files import atomic_folder

ARTIFACTS: Final = ".mlflow/artifacts"
COLUMNS: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow 3 keeps addresses of artifacts; of other releases, those that are there."""

HOLDERS: Final = COLUMNS[1:3]
"""Those that name a folder of their own."""

WAIT_S: Final = 60.0


def bring_home(root: Path) -> Path | None:
    """Let the database of a checkout name the artifacts of this checkout, in one transaction.

    Artifacts that are only in the other place are copied from there, which stays as it is.

    Args:
        root: The checkout, with its embedded database.

    Returns:
        Where the checkout was, or of which it is a copy; None where nothing had to be done.

    Raises:
        StorageError: The database cannot be written to, so nothing was changed.
    """
    database = root / ".mlflow" / "mlflow.db"
    if not database.is_file():
        return None
    with closing(sqlite3.connect(database, timeout=WAIT_S, isolation_level=None)) as connection:
        try:
            if _elsewhere(connection, root) is None:
                return None
        except sqlite3.Error:
            return None  # no database, or one that cannot be read: MLflow says which
        try:
            connection.execute("BEGIN IMMEDIATE")  # of two processes, the second finds it done
            other = _elsewhere(connection, root)
            if other is not None:
                _copy_missing(connection, other, root)
                _rename(connection, other, root)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(
                f"{database} came from another checkout and names its artifacts; it cannot be "
                f"changed to name those here: {error}. Make it writable, or remove "
                f"{database.parent} and run `tessera rebuild-tracking`"
            ) from error
    return other


def _elsewhere(connection: sqlite3.Connection, root: Path) -> Path | None:
    """Return another checkout whose artifacts the database names; None where it names our own."""
    if ("experiments", "artifact_location") not in set(_known(connection)):
        return None
    rows = connection.execute(
        "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ?",
        (f"file://%/{ARTIFACTS}",),
    )
    for (address,) in rows:
        other = _path(address).parent.parent
        if other != root and not (other.exists() and other.samefile(root)):
            return other
    return None


def _copy_missing(connection: sqlite3.Connection, other: Path, root: Path) -> None:
    """Copy the folders of artifacts that are only in the other checkout."""
    for table, column in HOLDERS:
        if (table, column) not in set(_known(connection)):
            continue
        old = _address(other)
        for (address,) in connection.execute(f"SELECT {column} FROM {table}").fetchall():
            if not str(address).startswith(f"{old}/"):
                continue
            source = _path(address)
            target = root / ARTIFACTS / source.relative_to(other / ARTIFACTS)
            if source.is_dir() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_folder(target) as folder:
                    shutil.copytree(source, folder, dirs_exist_ok=True)


def _rename(connection: sqlite3.Connection, other: Path, root: Path) -> None:
    """Replace the other checkout's addresses by ours."""
    pairs = ((_address(other), _address(root)), (f"{other}/mlruns", f"{root}/mlruns"))
    for table, column in _known(connection):
        for old, new in pairs:
            connection.execute(
                f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
                {"old": old, "new": new},
            )


def _known(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield the columns that this database has."""
    for table, column in COLUMNS:
        if any(row[1] == column for row in connection.execute(f"PRAGMA table_info({table})")):
            yield table, column


def _address(checkout: Path) -> str:
    return (checkout / ARTIFACTS).as_uri()


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))
