"""Recall over a lineage of 10^4 records: CPU seconds, without the flow.

    python -m tests.bench.recall_scale [RECORDS]

The records look like those of the embedded default: an ingest receipt names 1,617 source files, a
cycle leaves 13 records, and every fourth cycle has read its scenes again. Scenes tables lie in
DVC's cache for a tenth of the ingest runs; those of the others are pruned.
"""

import hashlib
import resource
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tessera_core.lineage.recall.report import find_recall
from tessera_core.records.files import canonical_json, digest_file, digest_json
from tessera_core.records.paths import Paths
from tessera_core.records.samples import write_table
from tessera_core.records.schema import SCENES

NUM_RECORDS = 10_000
NUM_SCENES, FILES_PER_SCENE, NUM_TILES = 147, 11, 6
CYCLES_PER_INGEST, KEPT_EVERY = 4, 10
SETTINGS: Mapping[str, Mapping[str, Any]] = {"ingest": {"exclude": []}}


class Lineage:
    """Writes records as stages do, and counts them."""

    def __init__(self, paths: Paths) -> None:
        paths.lineage.mkdir(parents=True)
        self.paths = paths
        self.number = 0

    def store(self, record: Any) -> dict[str, Any]:
        content = canonical_json(record)
        digest = hashlib.sha256(content).hexdigest()
        (self.paths.lineage / f"{digest}.json").write_bytes(content)
        self.number += 1
        return {"sha256": digest, "md5": digest[:32], "size": len(content)}

    def manifest(self, kind: str, names: list[dict[str, Any]], facts: Any) -> dict[str, Any]:
        entry = self.store({"kind": kind, "files": names, "facts": facts})
        return {**entry, "path": f"data/{kind}/manifest.json"}

    def receipt(
        self,
        stage: str,
        upstream: dict[str, str],
        outputs: list[Any],
        facts: Any,
        sources: Any = (),
    ) -> str:
        record = {
            "version": 1, "stage": stage, "config": {stage: {"seed": self.number}},
            "sources": list(sources), "upstream": upstream, "outputs": outputs,
            "code": {"commit": "0" * 40, "dirty": False, "closure": "c" * 64},
            "environment": "e" * 64, "facts": facts,
        }  # fmt: skip
        return str(self.store(record)["sha256"])


def named(path: str, number: int) -> dict[str, Any]:
    """Return an entry of a file that is not there."""
    digest = digest_json([path, number])
    return {"path": path, "sha256": digest, "md5": digest[:32], "size": 4_000_000}


def scene(number: int) -> str:
    return f"S2A_MSIL2A_{20220000 + number}T100411_R122_T33UWP"


def write_scenes(paths: Paths, first: int) -> dict[str, Any]:
    """Put a scenes table into DVC's cache; return its entry."""
    row = dict.fromkeys(SCENES.names, "") | {
        "collection": "sentinel-2-l2a", "acquired": "2022-06-01", "baseline": "04.00",
        "offset_removed": True,
    }  # fmt: skip
    rows = [
        row | {"scene_id": scene(first + number), "asset": str(asset), "href": f"{number}/{asset}"}
        for number in range(NUM_SCENES)
        for asset in range(FILES_PER_SCENE)
    ]
    path = paths.root / "scenes.parquet"
    write_table(pa.Table.from_pylist(rows, schema=SCENES), path)
    entry = digest_file(path, paths.root).to_dict()
    target = paths.dvc_cache / entry["md5"][:2] / entry["md5"][2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return entry


def write_ingest(lineage: Lineage, number: int) -> str:
    """Write samples of scenes that move on by one with every run; return the receipt."""
    files, is_kept = [], number % KEPT_EVERY == 0
    for tile in range(NUM_TILES):
        folder = f"tile=t{tile}/window=2022"
        files.append(named(f"{folder}/samples.parquet", number))
        path = f"{folder}/scenes.parquet"
        entry = write_scenes(lineage.paths, number + tile) if is_kept else named(path, number)
        files.append({**entry, "path": path})
    tiles = {f"t{tile}/2022": 4096 for tile in range(NUM_TILES)}
    facts = {"tiles": tiles, "num_pixels": 4096 * NUM_TILES, "source": "stac"}
    samples = lineage.manifest("samples", files, facts)
    sources = [
        named(f"data/scenes/sentinel-2-l2a/{scene(number + each)}/B{band:02d}.tif", number)
        for each in range(NUM_SCENES)
        for band in range(FILES_PER_SCENE)
    ]
    return lineage.receipt("ingest", {}, [samples], facts, sources)


def write_cycle(lineage: Lineage, ingest: str, number: int) -> None:
    """Write the other records of a cycle: about what the embedded default leaves."""
    listed = [named(f"part-{part}", number) for part in range(8)]
    padding = {"regions": {f"r{i}": {"gain": 0.1, "loss": 0.2, "low": 0.3} for i in range(60)}}

    def output(kind: str) -> list[dict[str, Any]]:
        return [lineage.manifest(kind, listed, {"number": number})]

    quality = lineage.receipt("quality", {"ingest": ingest}, output("quality"), {})
    above = {"ingest": ingest, "quality": quality}
    shuffle = lineage.receipt("shuffle", above, output("shards"), {})
    model = digest_json(number)
    facts = {"model_digest": model, "shards": digest_json([number])}
    pretrain = lineage.receipt("pretrain", {"shuffle": shuffle}, output("model"), facts)
    lineage.store([{"step": step, "loss/total": 1 / (step + number + 1)} for step in range(30)])
    above = {"ingest": ingest, "pretrain": pretrain}
    evaluate = lineage.receipt("evaluate", above, output("evaluation"), padding)
    served = {"version": str(number), "pretrain": pretrain, "evaluate": evaluate}
    facts = {"model_name": "tessera", "candidate": served, "champion": served, **padding}
    above = {"pretrain": pretrain, "evaluate": evaluate}
    register = lineage.receipt("register", above, output("registration"), facts)
    facts = {"export": f"tessera-v{number}", "num_tiles": NUM_TILES}
    above = {"ingest": ingest, "register": register}
    lineage.receipt("export", above, output("export"), facts)


def main(num_records: int) -> None:
    """Write a lineage, recall a scene, and print the CPU seconds."""
    with tempfile.TemporaryDirectory(prefix="tessera-recall-") as folder:
        root = Path(folder)
        lineage = Lineage(Paths(root=root, workspace=root))
        number, ingest = 0, ""
        while lineage.number < num_records:
            if number % CYCLES_PER_INGEST == 0:
                ingest = write_ingest(lineage, number // CYCLES_PER_INGEST)
            write_cycle(lineage, ingest, number)
            number += 1
        size = sum(path.stat().st_size for path in lineage.paths.lineage.glob("*.json"))
        before = resource.getrusage(resource.RUSAGE_SELF)
        recall, _ = find_recall(scene(150), SETTINGS, lineage.paths)
        after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sys.stdout.write(
        f"{lineage.number:,} records of {number:,} cycles, {size / 1e6:.0f} MB: "
        f"{len(recall.of('model'))} models and {len(recall.of('export'))} exports found in "
        f"{seconds:.2f} s CPU; peak {after.ru_maxrss / 1e3:.0f} MB\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUM_RECORDS)
