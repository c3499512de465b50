"""One small cycle of two versions, made once; every mutation is undone before the next."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tessera_core.audit.report import AuditReport
from tessera_core.audit.stage import audit_workspace
from tessera_core.config import PARAMS_NAME, PlatformConfig
from tessera_core.records.paths import Paths
from tests.cycle.conftest import make_checkout, tessera

Audit = Callable[[], AuditReport]


@pytest.fixture(scope="session")
def world(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A checkout whose own run is champion; another run of it, with another seed, challenges."""
    root = make_checkout(repo, tmp_path_factory.mktemp("tampered"))
    tessera(root, "retrain")
    tessera(root, "retrain", "--set", "pretrain.seed=99")
    return Paths(root=root, workspace=root)


@pytest.fixture(scope="session")
def audit(world: Paths) -> Audit:
    """Audit the checkout as ``tessera audit`` does."""
    config = PlatformConfig.read(world.root / PARAMS_NAME)
    return lambda: audit_workspace(config, world)
