"""``tessera replay``: run the stages behind a version again, from their receipts, and compare.

A folder of its own gets the code of the receipts' commit (a git worktree), their settings and the
very files that they name, each verified; each stage then runs as a process of that code.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from flows.context import Context
from flows.settings import child_environment
from tessera_core.attest.subject import find_subject
from tessera_core.audit.evidence import Evidence
from tessera_core.config import PARAMS_NAME
from tessera_core.errors import InputError, RecordError, did_you_mean
from tessera_core.records.code import (
    CODE_PATHS,
    closure_digest,
    environment_digest,
    environment_versions,
)
from tessera_core.records.files import FileDigest, read_json, write_atomically
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.receipt import Receipt, write_receipt
from tessera_core.replay.compare import Outcome, StageReplay, compare_outputs, first_divergence
from tessera_core.replay.report import Replay

ORDER: Final = ("ingest", "quality", "shuffle", "pretrain", "evaluate")
STAGE_LIMIT_S: Final = 14 * 24 * 3600
GIT_LIMIT_S: Final = 600
LAST_WORDS: Final = 5
"""Lines of a failed stage that the report repeats."""

CLOSURES: Final = (
    "import json, sys; from tessera_core.records.code import closure_digest; "
    "print(json.dumps({s: closure_digest(f'tessera_core.{s}.stage') for s in sys.argv[1:]}))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """The folder in which stages run again."""

    root: Path
    """A checkout: code, settings, sources; stages write into it."""

    code: str
    """What the code is, for people."""

    findings: tuple[str, ...]
    """What differs from the first run before anything has run."""


def replay(
    context: Context, version: str, only: str | None, *, present_code: bool = False
) -> Replay:
    """Run the stages behind a version again and compare what comes out.

    Args:
        context: Settings and places.
        version: ``2`` or ``tessera/2``.
        only: One stage, whose inputs are laid out as they were; None for all, one after the other.
        present_code: Take the checkout's code as it is, to see what a change of it does.

    Raises:
        InputError: There is no such version or stage.
        RecordError: A receipt, or a file that a stage needs, is gone or was changed.
    """
    from flows.console import say

    subject = find_subject(version, context.paths)
    receipts = {name: subject.stage(name) for name in ORDER if name in subject.training}
    if only is not None and only not in receipts:
        raise InputError(f"{only} is no stage of a replay. {did_you_mean(only, receipts)}")
    chosen = [only] if only else list(receipts)
    replays: dict[str, StageReplay] = {}
    with _scene(context, receipts, chosen, present_code=present_code) as scene:
        for finding in scene.findings:
            say(f"finding      {finding}")
        _lay_out(context, receipts, chosen, scene.root)
        for name in chosen:
            replays[name] = _replay_stage(context, receipts[name], scene.root)
            say(f"{name:<12} {replays[name].outcome.value}")
            if replays[name].outcome == Outcome.FAILED:
                break
    return Replay(
        subject=subject.name,
        model_digest=subject.model_digest,
        code=scene.code,
        findings=scene.findings,
        stages=tuple(replays.values()),
        first_divergence=first_divergence(replays),
    )


@contextmanager
def _scene(
    context: Context, receipts: Mapping[str, Receipt], chosen: list[str], *, present_code: bool
) -> Iterator[_Scene]:
    """Build a checkout with the code that the receipts name; gone at the end."""
    root = context.paths.root
    commit = receipts["pretrain"].code.commit
    with tempfile.TemporaryDirectory(prefix="tessera-replay-") as folder:
        # As deep as sources lie above the checkout, so that their relative paths still hold.
        above = max((PurePosixPath(s.path).parts.count("..") for r in receipts.values()
                     for s in r.sources), default=0)  # fmt: skip
        target = Path(folder).joinpath(*["above"] * above, "checkout")
        target.parent.mkdir(parents=True, exist_ok=True)
        is_worktree = not present_code and _restore(root, commit, target)
        try:
            if not is_worktree:
                _copy_code(root, target)
            known = _closures(target, chosen)
            code = f"commit {commit[:12]}" if is_worktree else "the checkout as it is"
            if (
                is_worktree
                and known != _expected(receipts, chosen)
                and _matches_here(receipts, chosen)
            ):
                # Made with uncommitted changes that are still there.
                _remove_worktree(root, target)
                is_worktree = False
                _copy_code(root, target)
                known, code = _closures(target, chosen), "the checkout as it is"
            findings = [
                *_code_findings(receipts, chosen, known, code),
                *_environment_findings(receipts, chosen, context.paths.lineage),
            ]
            yield _Scene(root=target, code=code, findings=tuple(dict.fromkeys(findings)))
        finally:
            if is_worktree:
                _remove_worktree(root, target)


def _restore(root: Path, commit: str, target: Path) -> bool:
    """Check a commit out into a folder; False where git does not have it."""
    try:
        _git(root, "worktree", "add", "--detach", "--quiet", str(target), commit)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _remove_worktree(root: Path, target: Path) -> None:
    _git(root, "worktree", "remove", "--force", str(target))


def _copy_code(root: Path, target: Path) -> None:
    """Copy code and definitions of the checkout, without what it has made."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in (*CODE_PATHS, "data/benchmarks"):
        source, place = root / name, target / name
        if source.is_dir():
            shutil.copytree(source, place, ignore=ignore)
        elif source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
    shutil.copy2(root / PARAMS_NAME, target / PARAMS_NAME)


def _closures(root: Path, stages: list[str]) -> dict[str, str]:
    """Return stage -> digest of the code that it can reach, in a checkout."""
    import json

    result = _python(root, ["-c", CLOSURES, *stages])
    if result.returncode:
        return {}
    closures: dict[str, str] = json.loads(result.stdout)
    return closures


def _expected(receipts: Mapping[str, Receipt], stages: list[str]) -> dict[str, str]:
    return {name: receipts[name].code.closure for name in stages}


def _matches_here(receipts: Mapping[str, Receipt], stages: list[str]) -> bool:
    """Return whether the code that runs now is that of the receipts."""
    return {s: closure_digest(f"tessera_core.{s}.stage") for s in stages} == _expected(
        receipts, stages
    )


def _code_findings(
    receipts: Mapping[str, Receipt], chosen: list[str], known: Mapping[str, str], code: str
) -> Iterator[str]:
    for name in chosen:
        stated = receipts[name].code
        if known.get(name) != stated.closure:
            dirty = ", which had uncommitted changes" if stated.dirty else ""
            yield (
                f"code: {name} was made by {stated.closure[:12]} (commit {stated.commit[:12]}"
                f"{dirty}); {code} is {known.get(name, 'without that stage')[:12]}"
            )


def _environment_findings(
    receipts: Mapping[str, Receipt], chosen: list[str], lineage: Path
) -> Iterator[str]:
    """Yield what is installed otherwise than when the receipts were written."""
    now = environment_versions()
    for name in chosen:
        digest = receipts[name].environment
        if digest == environment_digest():
            continue
        kept = lineage / f"{digest}.json"
        if not kept.is_file():
            yield f"environment: {name} ran with other versions ({digest[:12]}); which, is not kept"
            continue
        then: dict[str, str] = read_json(kept)
        for package in sorted(then.keys() | now.keys()):
            if then.get(package) != now.get(package):
                yield (
                    f"environment: {package} was {then.get(package, 'not there')}, "
                    f"is {now.get(package, 'not there')}"
                )


def _lay_out(
    context: Context, receipts: Mapping[str, Receipt], chosen: list[str], root: Path
) -> None:
    """Put settings, sources and, for what is not run again, earlier outputs where stages look."""
    import yaml

    evidence = Evidence(context.paths, lambda _: None)
    params: dict[str, Any] = yaml.safe_load((root / PARAMS_NAME).read_text(encoding="utf-8"))
    for receipt in receipts.values():
        params |= {section: dict(values) for section, values in receipt.config.items()}
    write_atomically(root / PARAMS_NAME, yaml.safe_dump(params, sort_keys=False).encode())
    for name, receipt in receipts.items():
        if name in chosen:
            for source in receipt.sources:
                _place(evidence, source, context.paths.root / source.path, root / source.path)
        elif ORDER.index(name) < ORDER.index(chosen[0]):
            for output in receipt.outputs:
                _place_output(context, evidence, output, root)
            write_receipt(
                receipt, root / "data" / "receipts" / f"{name}.json", root / "data" / "lineage"
            )


def _place_output(context: Context, evidence: Evidence, output: FileDigest, root: Path) -> None:
    """Lay out one output and, of a manifest, all files of its folder."""
    workspace = context.paths.workspace
    _place(evidence, output, workspace / output.path, root / output.path)
    if PurePosixPath(output.path).name != MANIFEST_NAME:
        return
    folder = PurePosixPath(output.path).parent
    for file in Manifest.read(root / folder).files:
        relative = f"{folder}/{file.path}"
        named = FileDigest(path=relative, md5=file.md5, sha256=file.sha256, size=file.size)
        _place(evidence, named, workspace / relative, root / relative)


def _place(evidence: Evidence, file: FileDigest, source: Path, target: Path) -> None:
    """Copy a file's content, from where it is or from wherever the same content is kept.

    Raises:
        RecordError: It is nowhere.
    """
    found = evidence.find(file, source)
    if found is None:
        raise RecordError(
            f"{file.path} ({file.sha256[:12]}) is gone or was changed, and the replay needs it; "
            "`dvc pull` brings outputs back from a remote, scenes come from their archive"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target)


def _replay_stage(context: Context, receipt: Receipt, root: Path) -> StageReplay:
    """Run one stage again in its own process and compare its outputs."""
    result = _python(root, ["-m", "flows.cli", receipt.stage], echo=True)
    if result.returncode:
        words = result.stderr.strip().splitlines()[-LAST_WORDS:]
        return StageReplay(
            stage=receipt.stage, receipt=receipt.digest, outcome=Outcome.FAILED,
            details=(f"exit code {result.returncode}", *words),
        )  # fmt: skip

    def judge(folder: Path) -> str | None:
        from tessera_core.replay.equivalence import judge_models

        with tempfile.TemporaryDirectory(prefix="tessera-first-") as scratch:
            evidence = Evidence(context.paths, lambda _: None)
            for output in receipt.outputs:
                _place_output(context, evidence, output, Path(scratch))
            return judge_models(Path(scratch) / folder.relative_to(root), folder)

    return compare_outputs(receipt, root, context.paths.lineage, judge)


def _python(
    root: Path, arguments: list[str], *, echo: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run Python with the code of a checkout; ``echo`` lets its progress through."""
    environment = {
        name: value
        for name, value in child_environment(PYTHONPATH=str(root)).items()
        if not name.startswith(("PREFECT_", "MLFLOW_"))  # those of the checkout that asks
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=None if echo and sys.stderr.isatty() else subprocess.PIPE,
        text=True, check=False, timeout=STAGE_LIMIT_S,
    )  # fmt: skip


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, check=True, timeout=GIT_LIMIT_S
    )
