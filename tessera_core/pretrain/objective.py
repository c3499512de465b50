"""The objective that the settings name."""

from tessera_core.model.objectives.barlow import BarlowTwins
from tessera_core.model.objectives.interface import Objective
from tessera_core.model.objectives.sigreg import SIGReg
from tessera_core.model.objectives.vicreg import VICReg
from tessera_core.pretrain.config import PretrainConfig


def build_objective(config: PretrainConfig) -> Objective:
    """Return the loss to train with; only Barlow Twins has weights of its own in the settings."""
    if config.objective == "vicreg":
        return VICReg()
    if config.objective == "sigreg":
        return SIGReg()
    return BarlowTwins(redundancy_weight=config.redundancy_weight, mix_weight=config.mix_weight)
