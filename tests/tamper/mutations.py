"""Ways to tamper with a checkout; seeded, so that a failure can be repeated, and undone afterwards.

Each changes one thing and returns what an audit must name.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from tessera_core.lineage.attest.signing import key_id, read_private_key, sign
from tessera_core.lineage.audit.chain import UPSTREAM
from tessera_core.records.files import canonical_json, digest_file, digest_json, write_json
from tessera_core.records.manifest import MANIFEST_NAME, write_manifest
from tessera_core.records.paths import Paths

RECEIPTS: Final = "receipts in the lineage"
MANIFESTS: Final = "manifests in the lineage"
VERSIONS: Final = "package versions in the lineage"

ARTIFACTS: Final[Mapping[str, str]] = {
    "scene": "data/scenes/sentinel-*/**/*.tif",
    "label raster": "data/scenes/labels/*.tif",
    "samples": "data/samples/tile=*/window=*/samples.parquet",
    "scenes table": "data/samples/tile=*/window=*/scenes.parquet",
    "quality verdict": "data/quality/report.json",
    "quality statistics": "data/quality/statistics.parquet",
    "shard": "data/shards/*.parquet",
    "norms": "data/shards/norms.json",
    "model weights": "data/model/encoder.safetensors",
    "canaries": "data/model/canaries.safetensors",
    "training history": "data/training/history.json",
    "training figure": "data/training/*.png",
    "evaluation": "data/evaluation/evaluation.json",
    "predictions": "data/evaluation/predictions.parquet",
    "registration": "data/registration/registration.json",
    "model card": "data/registration/card.md",
    "champion weights": "data/registration/champion/encoder.safetensors",
    "export chunk": "data/exports/*/embeddings.zarr/utm*/*/c/**/*",
    "export metadata": "data/exports/*/embeddings.zarr/**/zarr.json",
    "export tile": "data/exports/*/npy/*/*/*.npy",
    "manifest": "data/[e-s]*/manifest.json",
    "current receipt": "data/receipts/[e-s]*.json",
    "archived receipt": RECEIPTS,
    "archived manifest": MANIFESTS,
    "archived package versions": VERSIONS,
    "signed bundle": "data/attestations/*/bundle.intoto.jsonl",
    "signed statement": "data/attestations/*/*.intoto.json",
    "recall stamp": "data/lineage/superseded/*.json",
    "attested document": "data/attestations/*/*.md",
}
"""Kind of artifact -> where its files are, below the root."""


RELINKED: Final[Mapping[str, str]] = {
    "quality.ingest": "shuffle",
    "shuffle.ingest": "shuffle",
    "evaluate.ingest": "ingest",
    "evaluate.pretrain": "register",
    "register.pretrain": "register",
    "register.evaluate": "register",
    "champion.pretrain": "register",
    "champion.evaluate": "register",
    "export.ingest": "ingest",
}
"""Link that is replaced -> whose receipt shows that two ways no longer meet."""


@dataclass(slots=True)
class Tampering:
    """One change to a checkout, and the way back."""

    paths: Paths
    rng: np.random.Generator
    before: dict[Path, bytes | None] = field(default_factory=dict)
    rows: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Statements that bring MLflow's rows back."""

    def pick(self, pattern: str, number: int = 1) -> list[Path]:
        """Return files of a kind with content that differs, drawn by the seed."""
        if pattern in (RECEIPTS, MANIFESTS, VERSIONS):
            files = self._archived(pattern)
        else:
            files = sorted(path for path in self.paths.root.glob(pattern) if path.is_file())
        drawn = [files[place] for place in self.rng.permutation(len(files))]
        distinct = {path.read_bytes(): path for path in drawn}
        return list(distinct.values())[:number]

    def _archived(self, which: str) -> list[Path]:
        """Return what the lineage keeps of the current run: its receipts, or what they name."""
        current = [self.paths.receipt(stage) for stage in UPSTREAM]
        if which == RECEIPTS:
            digests = [digest_file(path, self.paths.root).sha256 for path in current]
        elif which == VERSIONS:
            digests = [json.loads(path.read_bytes())["environment"] for path in current[:1]]
        else:
            digests = [
                output["sha256"]
                for path in current
                for output in json.loads(path.read_bytes())["outputs"]
                if output["path"].endswith(".json")
            ]
        return sorted(self.paths.lineage / f"{digest}.json" for digest in digests)

    def write(self, path: Path, content: bytes | None) -> None:
        """Put other content in a file's place, or take the file away."""
        self.before.setdefault(path, path.read_bytes() if path.is_file() else None)
        path.unlink(missing_ok=True)  # it may share its bytes with a cache by a hard link
        if content is not None:
            path.write_bytes(content)

    def execute(self, statement: str, values: tuple[str, ...] = ()) -> list[Any]:
        """Run SQL in MLflow's database, past MLflow."""
        database = self.paths.root / ".mlflow" / "mlflow.db"
        with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def undo(self) -> None:
        """Bring everything back."""
        for statement, values in self.rows:
            self.execute(statement, values)
        for path, content in self.before.items():
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)

    def name(self, path: Path) -> str:
        """Return how an audit names a file."""
        return path.relative_to(self.paths.root).as_posix()


@contextmanager
def tampering(paths: Paths, seed: int) -> Iterator[Tampering]:
    """Yield a tampering that is undone when the block ends."""
    one = Tampering(paths=paths, rng=np.random.default_rng([29, seed]))
    try:
        yield one
    finally:
        one.undo()


def flip(one: Tampering, pattern: str) -> set[str]:
    """Flip a bit anywhere."""
    (path,) = one.pick(pattern)
    content = bytearray(path.read_bytes())
    content[one.rng.integers(len(content))] ^= 1 << int(one.rng.integers(8))
    one.write(path, bytes(content))
    return {one.name(path)}


def truncate(one: Tampering, pattern: str) -> set[str]:
    """Cut off the end."""
    (path,) = one.pick(pattern)
    content = path.read_bytes()
    one.write(path, content[: one.rng.integers(len(content))])
    return {one.name(path)}


def append(one: Tampering, pattern: str) -> set[str]:
    """Add a byte that most readers would overlook."""
    (path,) = one.pick(pattern)
    one.write(path, path.read_bytes() + b"\n")
    return {one.name(path)}


def delete(one: Tampering, pattern: str) -> set[str]:
    """Take a file away."""
    (path,) = one.pick(pattern)
    named = one.name(path)
    if pattern == RECEIPTS:
        # Nothing can tell a current receipt without a copy from one that was changed.
        content = path.read_bytes()
        (named,) = [
            f"data/receipts/{stage}.json"
            for stage in UPSTREAM
            if one.paths.receipt(stage).read_bytes() == content
        ]
    one.write(path, None)
    return {named}


def swap(one: Tampering, pattern: str) -> set[str]:
    """Let two files of a kind change places."""
    first, second = one.pick(pattern, 2)
    contents = first.read_bytes(), second.read_bytes()
    one.write(first, contents[1])
    one.write(second, contents[0])
    return {one.name(first), one.name(second)}


def edit_number(one: Tampering, pattern: str) -> set[str]:
    """Change one number of a JSON file and write it as its stage would have."""
    (path,) = one.pick(pattern)
    content = json.loads(path.read_bytes())
    places = list(_numbers(content))
    holder, key = places[one.rng.integers(len(places))]
    holder[key] = holder[key] + 1
    is_canonical = path.read_bytes().count(b"\n") == 0
    if is_canonical:
        one.write(path, canonical_json(content))
    else:
        one.write(path, None)
        write_json(path, content)
    return {one.name(path)}


def reseal(one: Tampering, pattern: str) -> set[str]:
    """Change a file, and make its manifest agree."""
    (manifest,) = one.pick(pattern)
    content = json.loads(manifest.read_bytes())
    entry = content["files"][one.rng.integers(len(content["files"]))]
    path = manifest.parent / entry["path"]
    one.write(path, path.read_bytes() + b" ")
    entry |= digest_file(path, manifest.parent).to_dict()
    one.write(manifest, None)
    write_json(manifest, content)
    return {one.name(manifest)}


def edit_lock(one: Tampering, pattern: str) -> set[str]:
    """Change the md5 that DVC's lock file has of an output."""
    path = one.paths.root / "dvc.lock"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    outs = [out for stage in content["stages"].values() for out in stage["outs"]]
    (out,) = [out for out in outs if out["path"] == pattern]
    out["md5"] = f"{one.rng.bytes(16).hex()}{out['md5'][32:]}"
    one.write(path, yaml.safe_dump(content).encode())
    return {"dvc.lock"}


def edit_tag(one: Tampering, tag: str) -> set[str]:
    """Give a version of the registry another value of a tag."""
    known = "SELECT version, value FROM model_version_tags WHERE name = 'tessera' AND key = ?"
    rows = one.execute(known, (tag,))
    version, value = rows[one.rng.integers(len(rows))]
    place = "WHERE name = 'tessera' AND version = ? AND key = ?"
    edit = f"UPDATE model_version_tags SET value = ? {place}"
    one.execute(edit, (f"{value}, or so", str(version), tag))
    one.rows.append((edit, (value, str(version), tag)))
    return {f"registry tessera/{version}, tag {tag}"}


def drop_tag(one: Tampering, tag: str) -> set[str]:
    """Take a tag off the champion."""
    place = "WHERE name = 'tessera' AND version = '1' AND key = ?"
    ((value,),) = one.execute(f"SELECT value FROM model_version_tags {place}", (tag,))
    one.execute(f"DELETE FROM model_version_tags {place}", (tag,))
    one.rows.append(
        ("INSERT INTO model_version_tags (name, version, key, value) VALUES ('tessera', '1', ?, ?)",
         (tag, value))
    )  # fmt: skip
    return {f"registry tessera/1, tag {tag}"}


def move_alias(one: Tampering, version: str) -> set[str]:
    """Let the champion alias point at another version, or at none."""
    name = "name = 'tessera' AND alias = 'champion'"
    if version:
        edit = f"UPDATE registered_model_aliases SET version = ? WHERE {name}"
        one.execute(edit, (version,))
        one.rows.append((edit, ("1",)))
    else:
        one.execute(f"DELETE FROM registered_model_aliases WHERE {name}")
        one.rows.append(
            ("INSERT INTO registered_model_aliases (name, alias, version) "
             "VALUES ('tessera', 'champion', ?)", ("1",))
        )  # fmt: skip
    return {"registry tessera, alias champion"}


def forge(one: Tampering, key: Path) -> set[str]:
    """Sign the attestations with another key, and let the manifest name it as theirs."""
    (bundle,) = one.pick("data/attestations/*/bundle.intoto.jsonl")
    forger = read_private_key(key)
    statements = sorted(bundle.parent.glob("*.intoto.json"))
    lines = [canonical_json(sign(path.read_bytes(), forger)) for path in statements]
    one.write(bundle, b"".join(line + b"\n" for line in lines))
    _reseal_attestations(one, bundle.parent, signed_by=key_id(forger.public_key()))
    return {one.name(bundle)}


def alter_signed(one: Tampering, name: str) -> set[str]:
    """Add a line to what was signed, or take an envelope away, and let the manifest agree."""
    (path,) = one.pick(f"data/attestations/*/{name}")
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    one.write(path, b"".join(lines[1:]) if name.endswith("l") else content + b"\n")
    _reseal_attestations(one, path.parent)
    return {one.name(path)}


def _reseal_attestations(one: Tampering, folder: Path, **facts: str) -> None:
    """Write the manifest of attestations anew."""
    manifest = folder / MANIFEST_NAME
    stored = json.loads(manifest.read_bytes())
    one.write(manifest, manifest.read_bytes())
    write_manifest(folder, stored["kind"], {**stored["facts"], **facts})


def relink(one: Tampering, link: str) -> set[str]:
    """Let a receipt stand on another one of the due stage, and write every later receipt anew.

    Each file hashes to its name afterwards; only what the receipts say of each other is wrong.
    """
    stage, _, upstream = link.partition(".")
    paths, renamed = one.paths, {}
    other = _another(one, upstream)
    field = "upstream"
    if stage == "champion":
        stage, field = "register", "champion_receipts"
    for name in list(UPSTREAM)[list(UPSTREAM).index(stage) :]:
        text = paths.receipt(name).read_text(encoding="utf-8")
        receipt = json.loads(text)
        old = digest_json(receipt)
        if name == stage:
            named = receipt["facts"] if field in receipt["facts"] else receipt
            named[field][upstream] = other
        text = canonical_json(receipt).decode()
        for before, after in renamed.items():
            text = text.replace(before, after)
        new = digest_json(json.loads(text))
        if new != old:
            renamed[old] = new
            for place in (paths.lineage / f"{new}.json", paths.receipt(name)):
                one.write(place, text.encode())
    return {f"{RELINKED[link]} receipt"}


def _another(one: Tampering, stage: str) -> str:
    """Return the digest of another receipt of a stage: that of another run, or a made-up one."""
    own = json.loads(one.paths.receipt(stage).read_bytes())
    for place in sorted(one.paths.root.glob(f"data/runs/*/data/receipts/{stage}.json")):
        found = json.loads(place.read_bytes())
        if digest_json(found) != digest_json(own):
            return digest_json(found)
    made_up = {**own, "environment": "0" * 64}
    digest = digest_json(made_up)
    one.write(one.paths.lineage / f"{digest}.json", canonical_json(made_up))
    return digest


def _numbers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield holder and key of every number in JSON."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in pairs:
        if isinstance(part, dict | list):
            yield from _numbers(part)
        elif isinstance(part, int | float) and not isinstance(part, bool):
            yield value, key
