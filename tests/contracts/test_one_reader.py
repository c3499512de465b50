"""The lineage has one reader, which believes only what hashes to its name."""

import re
from pathlib import Path

from tessera_core.lineage.audit.chain import UPSTREAM
from tessera_core.records.cycle import STAGES

GLOBS = re.compile(r"lineage\.glob\(|\.lineage / \"\*")
UNCHECKED = re.compile(
    r"(?:Receipt\.read|Manifest\.read|read_json)\([^)\n]*lineage\b[^)\n]* / f?\""
)

MAY_LIST = {
    # Names what does not hash to its name, so it cannot ask a reader that leaves it out.
    "tessera_core/lineage/audit/chain.py",
    # Copies files between checkouts and verifies each on arrival.
    "flows/adapters/evidence.py",
}
MAY_READ = {
    # Versions of packages: compared with the digest that was asked for.
    "tessera_core/records/receipt.py",
    # An audit goes on behind a changed receipt, which it names.
    "tessera_core/lineage/audit/pixel.py",
}


def found_in(repo: Path, pattern: re.Pattern[str]) -> set[str]:
    """Return the files of the product, without the reader itself, in which a pattern occurs."""
    files = (path for room in ("tessera_core", "flows") for path in (repo / room).rglob("*.py"))
    return {
        path.relative_to(repo).as_posix()
        for path in files
        if path.name != "lineage.py" and pattern.search(path.read_text("utf-8"))
    }


def test_nobody_else_lists_the_lineage(repo: Path) -> None:
    assert found_in(repo, GLOBS) == MAY_LIST


def test_nobody_reads_a_record_of_the_lineage_without_its_digest(repo: Path) -> None:
    assert found_in(repo, UNCHECKED) == MAY_READ


def test_the_audit_states_for_itself_what_the_stages_stand_on() -> None:
    stated = {stage.name: stage.upstream for stage in STAGES.values() if stage.name != "audit"}

    assert dict(UPSTREAM) == stated
    assert list(UPSTREAM) == list(stated)
