"""Records that hash to their names and say nonsense: readers refuse them, none breaks down."""

import copy
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tessera_core.config import PlatformConfig
from tessera_core.errors import RecordError, TesseraError
from tessera_core.lineage.attest.attested import find_attested
from tessera_core.lineage.attest.folder import write_attestations
from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.pixel import audit_pixel
from tessera_core.lineage.audit.pixel_text import write_pixel
from tessera_core.lineage.audit.stage import write_report
from tessera_core.lineage.audit.subject import find_export, find_subject
from tessera_core.lineage.recall.report import find_recall, render_text
from tessera_core.lineage.replay.chain import find_recorded
from tessera_core.lineage.retention.prune import take_inventory
from tessera_core.records.files import canonical_json, parse_json
from tessera_core.records.form import check_plain
from tessera_core.records.manifest import Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tests.unit.lineage.attest.built import EXPORT, TIMES, VERSIONS, World
from tests.unit.lineage.audit.mapped import CENTRE, small_run

NUM_MUTATIONS = 80
NUM_PIXELS = 40
MAX_SAID = 3000
"""Letters of a refusal."""

NONSENSE: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**400, 9999, 10**10, "", "x", "../../etc/passwd", "a" * 64, "\x00",
    "\ud800", "9999-12-31", [], [1], ["a"], {}, {"a": 1}, [[]], [{"path": "x"}],
)  # fmt: skip
WHOLE: tuple[bytes, ...] = (
    b"", b"\x00\xff\xfe" * 50, b"[" * 100_000, b'{"stage":' * 5_000, b"NaN", b"1e999", b"[]", b"5",
    b'{"stage": "export", "upstream": {}, "outputs": []}',
)  # fmt: skip
"""What no receipt looks like at all."""


def spots(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value in a document."""
    if at:
        yield at
    if isinstance(value, dict):
        for name in value:
            yield from spots(value[name], (*at, name))
    elif isinstance(value, list):
        for number in range(min(len(value), 2)):
            yield from spots(value[number], (*at, number))


def bend(document: Any, rng: random.Random) -> tuple[bytes, str]:
    """Return a document with one value taken away or replaced by nonsense, and what was done."""
    if rng.random() < 0.08:
        whole = rng.choice(WHOLE)
        return whole, f"all is {whole[:20]!r}"
    bent = copy.deepcopy(document)
    place = rng.choice(list(spots(bent)))
    target = bent
    for name in place[:-1]:
        target = target[name]
    if rng.random() < 0.2:
        del target[place[-1]]
        return canonical_json(bent), f"{place} is gone"
    target[place[-1]] = rng.choice(NONSENSE)
    return canonical_json(bent), f"{place} is {target[place[-1]]!r}"[:120]


class Forged:
    """A lineage in which one record was bent, and all that names it names it by its new digest."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._lineage = {path.name: path.read_bytes() for path in paths.lineage.glob("*.json")}
        current = (paths.data / "receipts").glob("*.json")
        self._current = {path.name: path.read_bytes() for path in current}
        self._names = sorted(
            name
            for name, content in self._lineage.items()
            if isinstance(document := json.loads(content), dict)
            and {"stage", "files"} & document.keys()
        )

    def bend_one(self, rng: random.Random, kinds: tuple[str, ...] = ("stage", "files")) -> str:
        """Bend a record drawn by chance; return what was done."""
        names = [
            each for each in self._names if set(kinds) & json.loads(self._lineage[each]).keys()
        ]
        name = rng.choice(names)
        document = json.loads(self._lineage[name])
        content, what = bend(document, rng)
        lineage, current = dict(self._lineage), dict(self._current)
        waiting = [_replace(lineage, current, name, content)]
        while waiting:
            old, new = (digest.encode() for digest in waiting.pop())
            waiting += [
                _replace(lineage, current, other, each.replace(old, new))
                for other, each in list(lineage.items())
                if old in each
            ]
        self._write(lineage, current)
        return f"{document.get('stage', document.get('kind'))}: {what}"

    def _write(self, lineage: dict[str, bytes], current: dict[str, bytes]) -> None:
        for path in self.paths.lineage.glob("*.json"):
            path.unlink()
        for name, content in lineage.items():
            (self.paths.lineage / name).write_bytes(content)
        for name, content in current.items():
            (self.paths.data / "receipts" / name).write_bytes(content)


def _replace(
    lineage: dict[str, bytes], current: dict[str, bytes], name: str, content: bytes
) -> tuple[str, str]:
    """Put other content in a record's place, under its own name; return both digests."""
    before, digest = lineage.pop(name), hashlib.sha256(content).hexdigest()
    lineage[f"{digest}.json"] = content
    current.update({place: content for place, each in current.items() if each == before})
    return name.removesuffix(".json"), digest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(root=tmp_path_factory.mktemp("bent"))
    world.version("1")
    world.export(world.version("2"))
    (world.paths.shards / "train-0.parquet").unlink()  # a stand-in that recall cannot read
    return world


def readers(paths: Paths, settings: dict[str, Any], model: str) -> dict[str, Callable[[], object]]:
    """Return what reads records: by the name of the command."""

    def audit(reference: str) -> None:
        subject = find_subject(reference, "tessera", paths)
        report = verify_chain(subject.start, subject.paths, require_sources=True)
        write_report(report, subject.certificate)

    def attest(reference: str) -> None:
        subject = find_attested(reference, paths)
        write_attestations(subject, paths, TIMES, VERSIONS, None)
        shutil.rmtree(paths.attestations)

    return {
        "audit": lambda: audit("tessera/1"),
        "audit of an export": lambda: audit(EXPORT),
        "attest": lambda: attest("tessera/2"),
        "attest of an export": lambda: attest(EXPORT),
        "replay": lambda: find_recorded(model, paths),
        "recall": lambda: render_text(find_recall("a", settings, paths)[0]),
        "gc": lambda: take_inventory(paths),
    }


def test_nonsense_in_a_record_is_refused_in_a_sentence_by_every_reader(
    world: World, repo: Path
) -> None:
    model = Manifest.read(world.paths.model).digest
    settings = PlatformConfig.read(repo / "params.yaml").to_dict()
    commands = readers(world.paths, settings, model)
    for read in commands.values():
        read()
    rng, forged = random.Random(20), Forged(world.paths)
    broken = []

    for _ in range(NUM_MUTATIONS):
        what = forged.bend_one(rng)
        for name, read in commands.items():
            try:
                read()
            except TesseraError as refusal:
                broken += [f"{name}, {what}: long"] if len(str(refusal)) > MAX_SAID else []
            except Exception as error:  # the very thing that must not be
                broken.append(f"{name}, {what}: {error!r}")

    assert broken == []


def test_nonsense_in_a_record_is_refused_in_a_sentence_by_the_audit_of_a_pixel(
    tmp_path: Path,
) -> None:
    run = small_run(tmp_path).cycle()
    rng, forged = random.Random(21), Forged(run.paths)
    manifest = run.paths.exports / "tessera-v1-first" / "manifest.json"
    sound = manifest.read_bytes()
    broken = []

    for number in range(NUM_PIXELS):
        what = forged.bend_one(rng, ("files",) if number % 2 else ("stage",))
        try:
            subject = find_export("tessera-v1-first", run.paths)
            write_pixel(audit_pixel(subject, *CENTRE), tmp_path / "data" / "audits" / "pixel")
        except TesseraError as refusal:
            broken += [f"{what}: long"] if len(str(refusal)) > MAX_SAID else []
        except Exception as error:  # the very thing that must not be
            broken.append(f"{what}: {error!r}")

    assert manifest.read_bytes() == sound
    assert broken == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": {"num_pixels": "many"}}, "facts.num_pixels is 'many', expected a whole number"),
        ({"facts": {"version": 1}}, "facts.version is 1, expected the number of a version"),
        ({"upstream": {"ingest": 5}}, "upstream.ingest is 5, expected a digest"),
        ({"upstream": ["a"]}, "upstream is ['a'], expected names with values"),
        ({"outputs": [{"path": "x"}]}, "'outputs[0].sha256' is missing"),
        ({"code": {"commit": "c", "closure": "c", "dirty": "no"}}, "code.dirty is 'no', expected"),
        ({"stage": None}, "stage is None, expected a name"),
        ({"config": {"export": {"seed": 10**30}}}, "config.export.seed is 1000000000"),
        ({"environment": "../../x"}, "environment is '../../x', expected a digest"),
    ],
)
def test_a_receipt_that_says_nonsense_is_refused_with_the_place_of_it(
    change: dict[str, Any], message: str
) -> None:
    sound = {
        "version": 1, "stage": "export", "config": {}, "sources": [], "upstream": {},
        "outputs": [], "code": {"commit": "c", "dirty": False, "closure": "c"},
        "environment": "e", "facts": {},
    }  # fmt: skip
    assert Receipt.from_dict(sound, Path("here")).stage == "export"

    with pytest.raises(RecordError) as refused:
        Receipt.from_dict({**sound, **change}, Path("here"))

    assert message in str(refused.value)
    assert "here is not a receipt" in str(refused.value)


@pytest.mark.parametrize(
    "content", [b'{"a": NaN}', b"[1e999]", b'"\\ud800"', b"[" * 80 + b"]" * 80]
)
def test_what_json_can_say_and_no_record_holds_is_refused(content: bytes) -> None:
    with pytest.raises(RecordError, match=r"expected|nested too deep"):
        check_plain(parse_json(content, "here"), "here")
