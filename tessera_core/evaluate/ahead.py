"""Fit the baselines of an evaluation while its model is still being trained.

They depend on the data and the protocol alone. Their answers are kept where the evaluation looks
for them; one that is missing there, for whatever reason, it fits itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.gather import gather, places_of
from tessera_core.evaluate.job import benchmarks_of, protocol_digest, released_models, with_methods
from tessera_core.records.files import write_atomically
from tessera_core.records.manifest import Manifest
from tessera_core.scoring.answers import Answering, content_digest
from tessera_core.scoring.featurise import featurise_baselines
from tessera_core.scoring.score import ask_baselines

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.domain.dpixel import DPixels
    from tessera_core.model.embed import ModelArtifact
    from tessera_core.ports import Mapper
    from tessera_core.records.paths import Paths

MAX_SAMPLE_BYTES: Final = 2**30
"""Larger samples wait for the evaluation: beside a training they might not fit into memory."""


def is_worthwhile(config: PlatformConfig, paths: Paths) -> bool:
    """Return whether baselines can be fitted now: there is a training, and memory for both.

    Raises:
        RecordError: There are no samples.
    """
    is_trained_here = config.pretrain.imported is None
    size = sum(entry.size for entry in Manifest.read(paths.samples).files)
    return is_trained_here and size <= MAX_SAMPLE_BYTES


def untrained_model(config: PlatformConfig, paths: Paths) -> ModelArtifact:
    """Return the model that the evaluation sets beside the one that is being trained."""
    from tessera_core.feed.reader import read_norms
    from tessera_core.model.artifact import best_device, untrained_artifact
    from tessera_core.pretrain.job import model_config

    model, norms = model_config(config.pretrain), read_norms(paths.shards)
    return untrained_artifact(model, norms, config.evaluate.seed, best_device())


def fit_baselines(
    untrained: ModelArtifact, config: PlatformConfig, paths: Paths, mapper: Mapper
) -> None:
    """Ask the baselines of every task, and keep their answers; once per data and protocol.

    Args:
        untrained: Random weights in the shape of the model that is to be scored.
        config: All settings.
        paths: Where samples are, and where answers are kept.
        mapper: Runs the models.

    Raises:
        TesseraError: As the evaluation will: a task is wrong, or its data cannot be read.
    """
    from tessera_core.model.embed import use_one_thread

    use_one_thread()
    config = with_methods(config, paths)
    settings = config.evaluate
    asked = (protocol_digest(config, paths), untrained.config, untrained.norms)
    done = paths.baselines / f"{content_digest(asked, __name__)}.done"
    if done.is_file():
        return
    benchmarks = benchmarks_of(config, paths)
    gathered = gather(benchmarks, places_of(config, paths), partial(_presence, untrained), settings)
    released = released_models(config, paths)
    answering = Answering(mapper=mapper, kept=paths.baselines)
    for benchmark in benchmarks:
        ask_baselines(
            benchmark,
            gathered.examples.get(benchmark.name),
            lambda examples: featurise_baselines(
                examples, untrained, released, answering, methods=settings.methods
            ),
            gathered.legends[benchmark.name],
            settings,
            answering,
        )
    write_atomically(done, b"")


def _presence(artifact: ModelArtifact, pixels: DPixels) -> npt.NDArray[np.float32]:
    """Return (N, 1), NaN where a model of this sampling has nothing to embed, else 0."""
    from tessera_core.model.embed import SPAN
    from tessera_core.model.sequences import sequences_of

    presence = np.full((len(pixels), 1), np.nan, np.float32)
    for start in range(0, len(pixels), SPAN):
        part = pixels.span(start, min(start + SPAN, len(pixels)))
        _, _, has_data = sequences_of(part, artifact.norms, artifact.config.sampling)
        presence[start + np.flatnonzero(has_data)] = 0
    return presence
