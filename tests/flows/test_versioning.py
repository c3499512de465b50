"""DVC's remote: what it does not have, and a remote that cannot say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.adapters.versioning import fetch_contents
from tessera_core.errors import RemoteError
from tessera_core.records.files import FileDigest

pytestmark = pytest.mark.timeout(180)

LOST = FileDigest(path="a", sha256="a" * 64, md5="b" * 32, size=1)


def dvc(root: Path, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=root, check=True, timeout=120,
        capture_output=True, env={**os.environ, "DVC_NO_ANALYTICS": "true"},
    )  # fmt: skip


def test_a_remote_that_fails_is_told_apart_from_one_that_does_not_have_it(tmp_path: Path) -> None:
    fetch_contents(tmp_path, [LOST])  # no DVC repository
    dvc(tmp_path, "init", "--no-scm", "-q")
    fetch_contents(tmp_path, [LOST])  # no remote
    dvc(tmp_path, "remote", "add", "-d", "spare", str(tmp_path / "spare"))
    fetch_contents(tmp_path, [LOST])  # not there
    dvc(tmp_path, "remote", "modify", "spare", "url", "ssh://nowhere.invalid/spare")

    with pytest.raises(RemoteError, match=r"DVC's remote gave no usable answer: .*run the same"):
        fetch_contents(tmp_path, [LOST])
