"""One small cycle of two versions, made once; every mutation is undone before the next."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.context import load_context
from flows.services.auditing import audit as audit_as_the_command_does
from flows.settings import Settings
from tessera_core.lineage.audit.report import AuditReport
from tessera_core.records.files import digest_file
from tessera_core.records.paths import Paths
from tessera_core.records.superseded import Superseded, stamp_superseded
from tests.cycle.conftest import copy_checkout, tessera

Audit = Callable[[], AuditReport]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Whoever signs, and a forger: the file of a private key and of its public half each."""
    folder = tmp_path_factory.mktemp("keys")
    files = {}
    for who in ("signer", "forger"):
        files[who], files[f"{who}'s public"] = folder / f"{who}.pem", folder / f"{who}.pub"
        for command in (
            ["genpkey", "-algorithm", "ed25519", "-out", str(files[who])],
            ["pkey", "-in", str(files[who]), "-pubout", "-out", str(files[f"{who}'s public"])],
        ):
            subprocess.run(["openssl", *command], check=True, timeout=60, capture_output=True)
    return files


@pytest.fixture(scope="session")
def world(
    two_versions: Path, keys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Paths:
    """A checkout whose own run is champion and signed; another run, of another seed, challenges."""
    root = copy_checkout(two_versions, tmp_path_factory.mktemp("tampered") / "checkout")
    tessera(root, "attest", "tessera/1", "--key", str(keys["signer"]))
    (challenger,) = root.glob("data/runs/*/data/receipts/pretrain.json")
    stamp = Superseded(
        digest=digest_file(challenger, root).sha256, what="the challenger",
        reason="a scene was recalled", replaced_by="", recall="a" * 64,
    )  # fmt: skip
    stamp_superseded([stamp], root / "data" / "lineage")
    return Paths(root=root, workspace=root)


@pytest.fixture(scope="module")
def audit(world: Paths) -> Iterator[Audit]:
    """Audit the checkout as ``tessera audit`` does, pointers of MLflow and DVC included."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.setenv(name.upper(), "")
        context = load_context(world.root)
        yield lambda: audit_as_the_command_does(context, None)[0]
