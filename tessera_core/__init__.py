"""Turn Sentinel-1/2 pixel years into embeddings, and prove where each one came from.

Nouns live in ``domain`` (numpy) and ``records`` (pyarrow); one package per stage stands on
them; ``stages`` names the stages that the command line and the Prefect flows both drive::

    ingest -> quality -> shuffle -> pretrain -> evaluate -> register -> export -> audit

The names in ``__all__`` are for notebooks and scripts, without a checkout (``docs/how-to/
python.md``). Each is imported when it is first used: importing this package loads no heavy
library, and only ``load``, ``embed`` and the agreement of two models load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tessera_core.api.agree import agreement
    from tessera_core.api.embed import embed
    from tessera_core.api.models import load
    from tessera_core.api.open import open_export, open_samples, open_tile
    from tessera_core.api.points import Points, open_points
    from tessera_core.api.probe import ProbeScores, probe
    from tessera_core.api.sample import PointSample, sample_points

__version__ = "0.1.0"

__all__ = [
    "PointSample",
    "Points",
    "ProbeScores",
    "__version__",
    "agreement",
    "embed",
    "load",
    "open_export",
    "open_points",
    "open_samples",
    "open_tile",
    "probe",
    "sample_points",
]

_HOMES: Final = {
    "agree": ("agreement",),
    "embed": ("embed",),
    "models": ("load",),
    "open": ("open_export", "open_samples", "open_tile"),
    "points": ("Points", "open_points"),
    "probe": ("ProbeScores", "probe"),
    "sample": ("PointSample", "sample_points"),
}
"""Module of ``tessera_core.api`` -> names that it gives. As strings, so that no stage's import
closure reaches them."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.api.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names too, for completion."""
    return sorted({*globals(), *__all__})
