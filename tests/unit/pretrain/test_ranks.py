"""Who the processes are that train together."""

import os

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tessera_core.errors import ConfigError
from tessera_core.pretrain.ranks import Ranks, alone, joined

CPU = torch.device("cpu")


@pytest.mark.parametrize(("size", "batch_size"), [(1, 5), (2, 16), (4, 16), (3, 9), (8, 8)])
def test_the_places_of_all_ranks_are_the_batch_in_its_order(size, batch_size):
    places = np.arange(batch_size)

    parts = [
        places[Ranks(rank=rank, size=size, device=CPU).own(batch_size)] for rank in range(size)
    ]

    assert np.concatenate(parts).tolist() == places.tolist()
    assert {len(part) for part in parts} == {batch_size // size}


def test_only_rank_0_writes_and_reports():
    assert [Ranks(rank=rank, size=3, device=CPU).is_first for rank in range(3)] == [
        True, False, False,
    ]  # fmt: skip


def test_one_process_is_all_there_is_on_the_cpu_unless_told_otherwise():
    assert alone() == Ranks(rank=0, size=1, device=CPU)
    assert alone(torch.device("meta")).device.type == "meta"


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The environment that torchrun gives to one process, without a port."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }.items():  # fmt: skip
        monkeypatch.setitem(os.environ, name, value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU would be taken")
def test_a_group_is_joined_and_left(started):
    with joined(1) as ranks:
        assert dist.is_initialized()
        assert ranks == Ranks(rank=0, size=1, device=CPU)

    assert not dist.is_initialized()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU would be taken")
def test_another_number_of_processes_than_the_settings_say_is_refused_and_the_group_left(started):
    with (
        pytest.raises(ConfigError, match=r"^1 processes .*pretrain\.num_ranks is 2; make them"),
        joined(2),
    ):
        pytest.fail("joined")

    assert not dist.is_initialized()
