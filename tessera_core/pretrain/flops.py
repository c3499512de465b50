"""How much arithmetic a training step is, and how fast this machine's matrix products are.

Only matrix products are counted, two operations per multiply-add, as the field does
(performance.md 1); a backward pass counts twice its forward.
"""

import time
from typing import Final

import torch

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.model.encoder import FUSION_EXPANSION, FUSION_LAYERS, REDUCER_EXPANSION
from tessera_core.model.shape import EncoderConfig, Fusion, Pooling, Reducer, SensorShape
from tessera_core.pretrain.config import PretrainConfig

FORWARD_AND_BACKWARD: Final = 3

CPU_SIZE, GPU_SIZE = 512, 8192
NUM_PRODUCTS: Final = 5


def training_flops(config: PretrainConfig, shape: EncoderConfig, num_views: int) -> float:
    """Return operations per d-pixel of one step; lengths of views are taken at their mean.

    The loss, a few per cent of it, is left out: it has a fast form and a plain one.
    """
    length = sum(config.view_lengths) / len(config.view_lengths)
    encoder = encoder_flops(shape, length)
    width = config.projector_dim
    projector = 2 * width * (config.embedding_dim + (config.projector_layers - 1) * width)
    return FORWARD_AND_BACKWARD * num_views * (encoder + projector)


def encoder_flops(shape: EncoderConfig, length: float) -> float:
    """Return operations to embed one d-pixel from ``length`` observations per sensor."""
    width = shape.model_dim
    sensors = sum(
        length * _per_observation(bands, sensor, shape, length)
        for bands, sensor in ((NUM_S2, shape.s2), (NUM_S1, shape.s1))
    )
    fusion = 0.0
    if shape.fusion is Fusion.TRANSFORMER:
        inner = 2 * width * FUSION_EXPANSION * width
        fusion = 2 * 2 * FUSION_LAYERS * (4 * width * width + inner + 2 * 2 * width)
    hidden = REDUCER_EXPANSION * 2 * width
    reducer = 2 * width * shape.embedding_dim
    if shape.reducer is not Reducer.LINEAR:
        reducer = 2 * width * hidden + hidden * shape.embedding_dim
    return sensors + fusion + 2 * reducer


def _per_observation(bands: int, sensor: SensorShape, shape: EncoderConfig, length: float) -> float:
    width = shape.model_dim
    embedding = bands * width + width * width
    attention = 4 * width * width + 2 * length * width
    feedforward = 2 * width * sensor.feedforward_dim
    recurrent = 0 if shape.pooling is Pooling.ATTENTION else 6 * width * width
    layers = sensor.num_layers * (attention + feedforward)
    return 2 * (embedding + layers + recurrent + width)


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return operations per second of large square matrix products on a device, as it is now."""
    size = GPU_SIZE if device.type == "cuda" else CPU_SIZE
    left = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(NUM_PRODUCTS):
        began = time.perf_counter()
        (left @ left).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
