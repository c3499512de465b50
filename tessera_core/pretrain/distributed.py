"""One network on one device, or on many: compile, DDP, FSDP2."""

from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from tessera_core.model.layers import TransformerLayer
from tessera_core.pretrain.collective import normalise_over_ranks
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.pretrain.ranks import Ranks
from tessera_core.pretrain.task import Network


def distribute(network: Network, config: PretrainConfig, ranks: Ranks) -> nn.Module:
    """Move a network to the device and return what to call in its place.

    The encoder stays reachable as ``network.encoder``, and the names of all parameters stay as
    they are: checkpoints do not tell on how many ranks they were made.
    """
    network.to(ranks.device)
    if ranks.size > 1:
        normalise_over_ranks(network)
    if config.compile:
        network.encoder.compile(dynamic=len(config.view_lengths) > 1)
    if ranks.size == 1:
        return network
    if config.shard:
        for part in [*_layers(network.encoder), *_linears(network.head)]:
            fully_shard(part)
        for part in (network.encoder, network):
            fully_shard(part)
        return network
    # Buffers are statistics of the whole batch, equal on all ranks already.
    return DistributedDataParallel(
        network, forward_sync_buffers=False, gradient_as_bucket_view=True
    )


def _layers(encoder: nn.Module) -> list[nn.Module]:
    return [part for part in encoder.modules() if isinstance(part, TransformerLayer)]


def _linears(head: nn.Module) -> list[nn.Module]:
    return [part for part in head.modules() if isinstance(part, nn.Linear)]
