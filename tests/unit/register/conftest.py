"""Tiny networks: a second thread costs more than it gives, on a busy machine by far."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread(_strict_torch: None) -> None:
    """Compute on one thread."""
    torch.set_num_threads(1)
