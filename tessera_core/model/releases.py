"""The TESSERA releases: each a shape, the norms it was trained with, a sampling and an output rule.

The four belong together: weights of one release with the norms, the sampling or the output rule of
another still give 128 plausible numbers (method.md 1.7, 4.4, 12). ``RELEASES`` is the one home of
these pairings; every model artifact carries its own copy and is refused when the two disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tessera_core.domain.embedding import Coding
from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.domain.sampling import V1_0_SAMPLING, V1_1_SAMPLING, V2_SAMPLING, Sampling
from tessera_core.errors import ArtifactError
from tessera_core.model.config import MATRYOSHKA_DIMS, OWN, ModelConfig, Output, whole
from tessera_core.model.family import Family
from tessera_core.model.shape import EncoderConfig, Fusion, Pooling, Reducer, SensorShape

DROPOUT: Final = 0.1
"""Inside the layers of every release while training (method.md 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release at full size."""

    shape: EncoderConfig
    """The published network."""

    norms: NormStats
    """The statistics that its weights expect."""

    sampling: Sampling
    """Which observations it sees."""

    output: Output
    """What it gives."""


def student_shape(
    *,
    model_dim: int,
    num_layers: int,
    num_heads: int,
    feedforward_dim: int,
    embedding_dim: int = 128,
    dropout: float = DROPOUT,
    qk_norm: bool = False,
) -> EncoderConfig:
    """Return the shape of a v2 student of some size, which models trained here have too."""
    sensor = SensorShape(
        num_layers=num_layers, num_heads=num_heads, feedforward_dim=feedforward_dim
    )
    return EncoderConfig(
        model_dim=model_dim,
        s2=sensor,
        s1=sensor,
        embedding_dim=embedding_dim,
        norm_first=False,
        qk_norm=qk_norm,
        pooling=Pooling.ATTENTION,
        fusion=Fusion.CONCATENATE,
        reducer=Reducer.MLP,
        final_norm=True,
        dropout=dropout,
    )


def _v1_shape(
    *, latent: int, layers: int, heads: int, feedforward: int, pooling: Pooling, reducer: Reducer
) -> EncoderConfig:
    sensor = SensorShape(num_layers=layers, num_heads=heads, feedforward_dim=feedforward)
    return EncoderConfig(
        model_dim=4 * latent,
        s2=sensor,
        s1=sensor,
        embedding_dim=latent,
        norm_first=False,
        qk_norm=False,
        pooling=pooling,
        fusion=Fusion.CONCATENATE,
        reducer=reducer,
        final_norm=False,
        dropout=DROPOUT,
    )


STUDENT_SHAPES: Final[Mapping[str, EncoderConfig]] = {
    "nano": student_shape(model_dim=64, num_layers=6, num_heads=4, feedforward_dim=512),
    "small": student_shape(model_dim=256, num_layers=4, num_heads=4, feedforward_dim=1024),
    "large": student_shape(model_dim=640, num_layers=4, num_heads=4, feedforward_dim=2560),
}
"""Sizes of v2 students that reproduce the published counts (method.md 4.4). No shape is known to
give medium's 21.03 M: its checkpoint says it."""

_TEACHER_SENSOR: Final = SensorShape(num_layers=4, num_heads=4, feedforward_dim=16_384)
TEACHER_SHAPE: Final = EncoderConfig(
    model_dim=4096,
    s2=_TEACHER_SENSOR,
    s1=_TEACHER_SENSOR,
    embedding_dim=1024,
    norm_first=True,
    qk_norm=True,
    pooling=Pooling.ATTENTION,
    fusion=Fusion.TRANSFORMER,
    reducer=Reducer.MLP,
    final_norm=True,
    dropout=DROPOUT,
)
V1_1_SHAPE: Final = _v1_shape(
    latent=192, layers=4, heads=4, feedforward=2048,
    pooling=Pooling.GATED_GRU, reducer=Reducer.MLP,
)  # fmt: skip
V1_1_OUTPUT: Final = Output(dims=(128, 192), dim=128, coding=Coding.V1)
"""Its projector was segmented, so the first 128 values stand on their own (method.md 4.2)."""


def _pooled(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, BandStats]:
    """Return one set of S1 statistics for both orbits."""
    stats = BandStats(mean=mean, std=std)
    return {"s1_ascending": stats, "s1_descending": stats}


# Means and deviations by release, in the order of domain.bands (method.md 1.7).
V1_0_NORMS: Final = NormStats(
    s2=BandStats(
        mean=(1711.0938, 1308.8511, 1546.4543, 3010.1293, 3106.5083,
              2068.3044, 2685.0845, 2931.5889, 2514.6928, 1899.4922),
        std=(1926.1026, 1862.9751, 1803.1792, 1741.7837, 1677.4543,
             1888.7862, 1736.3090, 1715.8104, 1514.5199, 1398.4779),
    ),
    **_pooled((5484.0407, 3003.7812), (1871.2334, 1726.0670)),
)  # fmt: skip
V1_1_MPC_NORMS: Final = NormStats(
    s2=BandStats(
        mean=(2683.4553, 2223.3630, 2432.0950, 3633.1970, 3602.1755,
              3006.4324, 3400.2710, 3515.6392, 2456.9163, 1983.8783),
        std=(2739.5217, 2846.2993, 2690.8250, 2290.0439, 2088.8970,
             2673.1106, 2381.4521, 2229.5225, 1601.0942, 1495.3545),
    ),
    s1_ascending=BandStats(mean=(5588.3291, 3025.6270), std=(1713.4646, 1693.0471)),
    s1_descending=BandStats(mean=(5552.9683, 2955.0520), std=(1685.5857, 1677.6414)),
)  # fmt: skip
V1_1_AWS_NORMS: Final = NormStats(
    s2=BandStats(
        mean=(2793.6589, 2356.7776, 2551.0496, 3741.9229, 3713.7844,
              3120.1997, 3516.3342, 3637.0342, 2501.0283, 2038.1504),
        std=(2810.0093, 2933.8835, 2755.6360, 2344.5027, 2145.7986,
             2743.9019, 2438.8601, 2286.5977, 1680.7367, 1585.5529),
    ),
    s1_ascending=BandStats(mean=(5697.0859, 2838.6687), std=(1671.3737, 1789.4116)),
    s1_descending=BandStats(mean=(5759.1367, 2873.2854), std=(1583.2858, 1747.8390)),
)  # fmt: skip
_V2_S2: Final = BandStats(
    mean=(1633.0042, 1341.1090, 1539.5536, 3054.8269, 3117.4658,
          2004.1648, 2694.7275, 2945.1504, 2266.6079, 1657.3094),
    std=(1999.4603, 2014.7549, 1929.2201, 1754.2493, 1649.9807,
         1936.8988, 1748.6041, 1708.6991, 1207.5250, 1108.6046),
)  # fmt: skip
V2_STUDENT_NORMS: Final = NormStats(
    s2=_V2_S2,
    s1_ascending=BandStats(mean=(5909.3921, 3405.0322), std=(1507.1750, 1531.2615)),
    s1_descending=BandStats(mean=(5816.1382, 3277.7576), std=(1554.6475, 1546.4733)),
)
V2_TEACHER_NORMS: Final = NormStats(
    s2=_V2_S2, **_pooled((5862.7652, 3341.3949), (1531.8051, 1540.2014))
)

RELEASES: Final[Mapping[Family, Release]] = {
    Family.V1_0_EARLY: Release(
        shape=_v1_shape(
            latent=128, layers=8, heads=8, feedforward=4096,
            pooling=Pooling.TORCH_GRU, reducer=Reducer.LINEAR,
        ),
        norms=V1_0_NORMS,
        sampling=V1_0_SAMPLING,
        output=whole(128, Coding.V1),
    ),
    Family.V1_0_QAT: Release(
        shape=_v1_shape(
            latent=128, layers=4, heads=4, feedforward=4096,
            pooling=Pooling.GATED_GRU, reducer=Reducer.LINEAR,
        ),
        norms=V1_0_NORMS,
        sampling=V1_0_SAMPLING,
        output=whole(128, Coding.V1),
    ),
    Family.V1_1_MPC: Release(
        shape=V1_1_SHAPE, norms=V1_1_MPC_NORMS, sampling=V1_1_SAMPLING, output=V1_1_OUTPUT
    ),
    Family.V1_1_AWS: Release(
        shape=V1_1_SHAPE, norms=V1_1_AWS_NORMS, sampling=V1_1_SAMPLING, output=V1_1_OUTPUT
    ),
    Family.V2_STUDENT: Release(
        shape=STUDENT_SHAPES["small"],
        norms=V2_STUDENT_NORMS,
        sampling=V2_SAMPLING,
        output=Output(dims=MATRYOSHKA_DIMS, dim=128, coding=Coding.V2),
    ),
    Family.V2_TEACHER: Release(
        shape=TEACHER_SHAPE,
        norms=V2_TEACHER_NORMS,
        sampling=V2_SAMPLING,
        output=whole(1024, Coding.V2),
    ),
}  # fmt: skip


def require_pairing(config: ModelConfig, norms: NormStats) -> None:
    """Refuse a released model with another release's norms, sampling or output rule.

    Raises:
        ArtifactError: A part is not the release's, or would cut vectors that must stay whole.
    """
    if config.family == OWN:
        return
    release = RELEASES[Family(config.family)]
    widths = config.output.dims
    if len(release.output.dims) == 1:
        # Nothing orders its values: a prefix of them is no embedding, whatever a file says.
        widths = (config.encoder.embedding_dim,)
    for what, found, expected in (
        ("norms are", norms, release.norms),
        ("sampling rule is", config.sampling.rule, release.sampling.rule),
        ("int8 coding is", config.output.coding, release.output.coding),
        ("usable widths are", config.output.dims, widths),
    ):
        if found != expected:
            raise ArtifactError(
                f"the {what} not of {config.family}: its weights expect {expected}, got {found}. "
                "Import the weights under the family and data source they come from"
            )
