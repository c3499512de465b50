"""Which package versions a run had, and which of them are others now."""

from collections.abc import Iterable, Mapping

from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.code import environment_versions
from tessera_core.records.files import digest_json
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, read_versions

ABSENT = "absent"


def environment_findings(receipts: Iterable[Receipt], paths: Paths) -> list[Finding]:
    """Return a finding for each recorded environment that is not the present one."""
    present = environment_versions()
    stages: dict[str, list[str]] = {}
    for receipt in receipts:
        stages.setdefault(receipt.environment, []).append(receipt.stage)
    return [
        Finding(
            grade=Grade.WARN,
            artefact=f"environment of {', '.join(names)}",
            problem=_problem(read_versions(digest, paths.lineage), digest, present),
            next_step="install the recorded versions where a replay differs",
        )
        for digest, names in stages.items()
        if digest != digest_json(present)
    ]


def changed_versions(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return ``package old -> new`` for each package whose version differs, by name."""
    return [
        f"{name} {old.get(name, ABSENT)} -> {new.get(name, ABSENT)}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _problem(recorded: Mapping[str, str] | None, digest: str, present: Mapping[str, str]) -> str:
    if recorded is None:
        return (
            f"package versions are others now ({digest[:12]} -> {digest_json(present)[:12]}); "
            "the lineage does not hold the recorded ones, so nobody can say which"
        )
    return f"package versions are others now: {', '.join(changed_versions(recorded, present))}"
