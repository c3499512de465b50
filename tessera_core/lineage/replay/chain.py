"""The receipts behind a model, found in the lineage by digest."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.records.cycle import STAGES
from tessera_core.records.lineage import read_lineage
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

REGISTER: Final = "register"

REPLAYED: Final = tuple(name for name in STAGES if name not in (REGISTER, "audit"))
"""Stages that can run again, in their order; register moves an alias and cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was recorded about a model."""

    model_digest: str
    """Digest of the model artifact."""

    stages: Mapping[str, Receipt]
    """Stage -> the receipt behind this model, in the order of ``REPLAYED``; some may be absent."""

    receipts: Mapping[str, Receipt]
    """Digest -> receipt, of everything that the lineage holds."""


def find_recorded(model_digest: str, paths: Paths) -> Recorded:
    """Return the receipts behind a model.

    Where a model was scored or published more than once, the checkout's current receipt is taken,
    else one that a registration stands on, else the first by digest.

    Raises:
        RecordError: No pretrain receipt in the lineage made this model, or one it stands on is
            gone or was changed.
    """
    receipts = read_lineage(paths.lineage).receipts
    trained = _of(receipts, "pretrain", lambda one: one.facts.get("model_digest") == model_digest)
    if not trained:
        raise RecordError(
            f"no pretrain receipt in {paths.lineage} made the model {model_digest[:12]}; replay "
            "where it was trained, or restore data/lineage from a backup"
        )
    scored = _of(receipts, "evaluate", lambda one: one.upstream.get("pretrain") in trained)
    published = _of(receipts, "export", lambda one: one.facts.get("model_digest") == model_digest)
    registered = {
        digest
        for receipt in receipts.values()
        if receipt.stage == REGISTER
        for digest in receipt.upstream.values()
    }
    found: dict[str, Receipt] = {}
    if scored:
        found["evaluate"] = scored[_preferred(scored, "evaluate", registered, paths)]
    chosen = found["evaluate"].upstream["pretrain"] if scored else min(trained)
    found["pretrain"] = trained[chosen]
    found["shuffle"] = _upstream(receipts, found["pretrain"], "shuffle")
    found["quality"] = _upstream(receipts, found["shuffle"], "quality")
    found["ingest"] = _upstream(receipts, found["shuffle"], "ingest")
    if published:
        found["export"] = published[_preferred(published, "export", set(), paths)]
    stages: dict[str, Receipt] = {stage: found[stage] for stage in REPLAYED if stage in found}
    return Recorded(
        model_digest=model_digest,
        stages=MappingProxyType(stages),
        receipts=MappingProxyType(receipts),
    )


def _of(
    receipts: Mapping[str, Receipt], stage: str, accepts: Callable[[Receipt], bool]
) -> dict[str, Receipt]:
    return {digest: one for digest, one in receipts.items() if one.stage == stage and accepts(one)}


def _preferred(
    candidates: Mapping[str, Receipt], stage: str, registered: set[str], paths: Paths
) -> str:
    path = paths.receipt(stage)
    if path.is_file():
        current = hashlib.sha256(path.read_bytes()).hexdigest()
        if current in candidates:
            return current
    return min(registered & candidates.keys(), default=min(candidates))


def _upstream(receipts: Mapping[str, Receipt], receipt: Receipt, stage: str) -> Receipt:
    digest = receipt.upstream.get(stage, "")
    if digest not in receipts:
        raise RecordError(
            f"the {stage} receipt {digest[:12]} that {receipt.stage} stands on is missing in "
            "data/lineage, or was changed; restore data/lineage from a backup or another clone"
        )
    return receipts[digest]
