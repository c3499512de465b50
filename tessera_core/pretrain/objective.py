"""The objective that the settings name."""

from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.interface import Objective
from tessera_core.pretrain.config import PretrainConfig


def build_objective(config: PretrainConfig) -> Objective:
    """Return the loss to train with."""
    return BarlowTwins(redundancy_weight=config.redundancy_weight, mix_weight=config.mix_weight)
