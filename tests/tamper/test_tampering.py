"""Whatever is tampered with is found and named; where nothing was, nothing is claimed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Grade
from tessera_core.records.paths import Paths
from tests.cycle.conftest import tessera
from tests.tamper.conftest import Audit
from tests.tamper.every_file import evidence, of_the_challenger
from tests.tamper.mutations import (
    ARTIFACTS,
    RELINKED,
    Tampering,
    alter_signed,
    append,
    delete,
    drop_tag,
    edit_lock,
    edit_number,
    edit_tag,
    flip,
    forge,
    move_alias,
    relink,
    reseal,
    swap,
    tampering,
    truncate,
)
from tests.unit.lineage.audit.built import Run

SEVERAL = (
    "scene", "label raster", "samples", "shard", "export chunk", "export metadata",
    "export tile", "manifest", "current receipt", "archived receipt", "archived manifest",
)  # fmt: skip
JSON = (
    "quality verdict", "norms", "training history", "evaluation", "registration",
    "export metadata", "manifest", "current receipt", "archived receipt", "archived manifest",
)  # fmt: skip
SEALED = ("samples", "quality", "shards", "model", "evaluation", "registration", "exports/*")
LOCKED = (
    "data/samples", "data/quality", "data/shards", "data/model", "data/evaluation",
    *(f"data/receipts/{stage}.json" for stage in ("ingest", "shuffle", "pretrain", "evaluate")),
)  # fmt: skip
TAGS = tuple(
    f"tessera.{name}"
    for name in (
        "model_digest", "receipt.pretrain", "receipt.evaluate", "git_commit", "git_dirty",
        "simulated", "reasons",
    )
)  # fmt: skip

Mutation = tuple[Callable[[Tampering, str], set[str]], str]

MUTATIONS: dict[str, Mutation] = {
    **{
        f"{change.__name__} {kind}": (change, pattern)
        for change in (flip, truncate, append, delete)
        for kind, pattern in ARTIFACTS.items()
        if (change, kind) != (delete, "archived package versions")  # nothing hangs on them
    },
    **{f"swap two of {kind}": (swap, ARTIFACTS[kind]) for kind in SEVERAL},
    **{f"edit a number of {kind}": (edit_number, ARTIFACTS[kind]) for kind in JSON},
    **{f"change and reseal {one}": (reseal, f"data/{one}/manifest.json") for one in SEALED},
    **{f"relink {link}": (relink, link) for link in RELINKED},
    **{f"edit dvc.lock for {path}": (edit_lock, path) for path in LOCKED},
    **{f"edit {tag} in MLflow": (edit_tag, tag) for tag in TAGS},
    **{f"drop {tag} in MLflow": (drop_tag, tag) for tag in TAGS},
    "let another version be champion": (move_alias, "2"),
    "let no version be champion": (move_alias, ""),
}
WARNED = ("delete current receipt", "delete archived manifest")
"""Found and named, as a warning: the evidence has it twice, or it only points at evidence."""


def test_there_are_more_than_a_hundred_mutations_of_every_kind_of_artifact() -> None:
    assert len(MUTATIONS) >= 100
    assert len(ARTIFACTS) >= 20


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("number", "name"), list(enumerate(MUTATIONS)), ids=list(MUTATIONS))
def test_a_mutation_is_found_and_the_artifact_named(
    world: Paths, audit: Audit, number: int, name: str
) -> None:
    change, pattern = MUTATIONS[name]
    grades = (Grade.BLOCK, Grade.WARN) if name.startswith(WARNED) else (Grade.BLOCK,)

    with tampering(world, number) as one:
        expected = change(one, pattern)
        try:
            found = [each.artefact for each in audit().findings if each.grade in grades]
        except RecordError as refusal:  # without export's receipt there is nothing to start from
            found = [name for name in expected if name in str(refusal)]

    assert expected
    for artifact in expected:
        assert any(each.startswith(artifact) for each in found), (artifact, found)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("what", ["key", "bundle.intoto.jsonl", "*.intoto.json", "*.md"])
def test_a_forged_attestation_is_found_with_the_signers_public_key(
    world: Paths, keys: dict[str, Path], what: str
) -> None:
    (folder,) = world.attestations.iterdir()
    words = ("verify", str(folder), "--public-key", str(keys["signer's public"]))

    with tampering(world, 0) as one:
        expected = forge(one, keys["forger"]) if what == "key" else alter_signed(one, what)
        refused = tessera(world.root, *words, expect=3)

    for artifact in expected:
        assert artifact in refused.stderr
    assert "signed by" in tessera(world.root, *words).stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_was_undone_and_files_with_other_dates_give_no_finding(
    world: Paths, audit: Audit
) -> None:
    before = audit()
    for age, path in enumerate(sorted((world.root / "data").rglob("*"))):
        os.utime(path, (age * 1e5, age * 1e5))

    after = audit()

    assert not [each for each in before.findings if each.grade is not Grade.NOTE]
    assert after.findings == before.findings
    assert after.steps == before.steps


def test_twenty_clean_runs_give_no_finding_at_all(tmp_path: Path) -> None:
    for number in range(20):
        run = Run(root=tmp_path / f"run{number}", mark=f"seed {number}").cycle()
        report = verify_chain(run.receipts["export"], run.paths, require_sources=True)
        assert report.findings == (), number


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_byte_changed_in_every_file_that_a_cycle_leaves_is_named(
    world: Paths, audit: Audit
) -> None:
    """Slow, as only a whole cycle leaves every file that there is."""
    files = evidence(world)
    folders = {path.relative_to(world.root).parts[1] for path in files}
    assert folders >= {
        "samples", "quality", "shards", "model", "training", "evaluation", "registration",
        "exports", "scenes",
    }  # fmt: skip

    with tampering(world, 0) as one:
        for path in files:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            one.write(path, bytes(content))
        named = {finding.artefact for finding in [*audit().findings, *of_the_challenger(world)]}

    names = [path.relative_to(world.root).as_posix() for path in files]
    assert [name for name in names if name not in named] == []
