"""A workspace and a registry; tiny networks on one thread."""

import pytest
import torch

from tessera_core.config import PlatformConfig
from tests.unit.register.built import Workshop


@pytest.fixture(autouse=True)
def _one_thread(_strict_torch: None) -> None:
    """Compute on one thread: a second costs more than it gives, on a busy machine by far."""
    torch.set_num_threads(1)


@pytest.fixture
def workshop(repo, tmp_path) -> Workshop:
    """An empty workspace beside an empty registry."""
    return Workshop(root=tmp_path, config=PlatformConfig.read(repo / "params.yaml"))
