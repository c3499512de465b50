"""The cycle: its stages in their order, the settings that each reads, what each stands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the cycle."""

    name: str
    """The one word for it: package, section, task, command."""

    sections: tuple[str, ...]
    """Settings that it reads."""

    upstream: tuple[str, ...]
    """Stages whose receipts it stands on."""

    looks_every_time: bool = False
    """True where more than inputs decides: the registry that others move, bytes on disk."""

    @property
    def module(self) -> str:
        """Import path of its code."""
        room = "lineage.audit" if self.name == "audit" else self.name
        return f"tessera_core.{room}.stage"


_ALL: Final = (
    Stage(name="ingest", sections=("ingest",), upstream=()),
    Stage(name="quality", sections=("quality",), upstream=("ingest",)),
    Stage(name="shuffle", sections=("shuffle",), upstream=("ingest", "quality")),
    Stage(name="pretrain", sections=("pretrain",), upstream=("shuffle",)),
    Stage(name="evaluate", sections=("evaluate",), upstream=("ingest", "pretrain")),
    Stage(
        name="register",
        sections=("register",),
        upstream=("pretrain", "evaluate"),
        looks_every_time=True,
    ),
    Stage(name="export", sections=("export",), upstream=("ingest", "register")),
    Stage(name="audit", sections=("audit",), upstream=("export",), looks_every_time=True),
)
STAGES: Final[Mapping[str, Stage]] = MappingProxyType({stage.name: stage for stage in _ALL})
