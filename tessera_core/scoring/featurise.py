"""What the models of a task see: embeddings of several encoders, and the series themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import FULL
from tessera_core.benchmarks.examples import Examples
from tessera_core.benchmarks.gather import EMBED_BATCH
from tessera_core.domain.dpixel import DPixels
from tessera_core.scoring.answers import IN_PLACE, Answering
from tessera_core.scoring.features.harmonics import harmonic_features
from tessera_core.scoring.features.monthly import raw_features
from tessera_core.scoring.features.series import regular_series

if TYPE_CHECKING:
    from tessera_core.model.embed import ModelArtifact


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoders:
    """The encoders of one evaluation."""

    scored: "ModelArtifact"
    """Whose embeddings the examples hold."""

    untrained: "ModelArtifact"
    """Random weights of the same shape."""

    released: Mapping[str, "ModelArtifact"]
    """Others to compare with, by name."""


def featurise(
    examples: Examples,
    encoders: Encoders,
    answering: Answering = IN_PLACE,
    *,
    with_baselines: bool,
    methods: str,
) -> dict[str, npt.NDArray[Any]]:
    """Return features of all units by name, (U, F), or (U, T, C) for ``series``.

    Args:
        examples: U units.
        encoders: Trained, untrained, others.
        answering: Knows what other encoders saw before.
        with_baselines: False gives what the trained encoder sees alone.
        methods: Without the full set nothing sees harmonics and series.
    """
    from tessera_core.domain.embedding import quantise

    output = encoders.scored.config.output
    # A place of a chip without any observation has no embedding; to a model it is zero.
    embedding = np.nan_to_num(examples.embedding)
    rounded = quantise(embedding, output.coding).dequantise()
    features = {"encoder": examples.pool(embedding), "encoder_int8": examples.pool(rounded)}
    for dim in output.dims:
        if dim < embedding.shape[1]:
            features[f"encoder_{dim}"] = examples.pool(embedding[:, :dim])
    if with_baselines:
        features |= featurise_baselines(
            examples, encoders.untrained, encoders.released, answering, methods=methods
        )
    return features


def featurise_baselines(
    examples: Examples,
    untrained: "ModelArtifact",
    released: Mapping[str, "ModelArtifact"],
    answering: Answering,
    *,
    methods: str,
) -> dict[str, npt.NDArray[Any]]:
    """Return likewise the features that do not depend on the model that is scored."""
    from tessera_core.model.embed import embed_pixels

    features: dict[str, npt.NDArray[Any]] = {}
    others = {"random_encoder": untrained}
    others |= {f"released_{name}": artifact for name, artifact in released.items()}
    for name, artifact in others.items():
        vectors = answering.once(
            _identity(artifact, examples.pixels), __name__,
            partial(
                embed_pixels, artifact, examples.pixels,
                batch_size=EMBED_BATCH, progress=f"embed {name}",
            ),
        )  # fmt: skip
        features[name] = examples.pool(np.nan_to_num(vectors))
    features["raw"] = examples.pool(raw_features(examples.pixels))
    if examples.chip is None and methods == FULL:
        features["harmonics"] = examples.pool(harmonic_features(examples.pixels))
        features["series"] = examples.pool(regular_series(examples.pixels))
    return features


def _identity(artifact: "ModelArtifact", pixels: DPixels) -> object:
    """Return all that embeddings depend on; weights and not a digest, which random ones lack."""
    weights = artifact.encoder.state_dict()
    return (
        {name: tensor.float().cpu().numpy() for name, tensor in weights.items()},
        artifact.config, artifact.norms, artifact.device.type, pixels,
    )  # fmt: skip
