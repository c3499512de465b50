"""Replay the stages behind a model, one after the other, in a folder that is gone afterwards."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tessera_core.errors import RecordError, StorageError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.lineage.replay.chain import Recorded
from tessera_core.lineage.replay.code import (
    Code,
    can_restore,
    code_findings,
    present_code,
    restored_code,
    worktree,
)
from tessera_core.lineage.replay.layout import (
    Contents,
    Fetch,
    holds_receipt,
    lay_descriptions,
    lay_outputs,
    lay_receipt,
    lay_sources,
    made_files,
    make_root,
    move_outputs,
    write_params,
)
from tessera_core.lineage.replay.report import StageReplay, Verdict
from tessera_core.lineage.replay.verdict import different_facts, different_files, equivalence
from tessera_core.model.artifact import DEVICE_FACT, best_device, device_class
from tessera_core.records.code import environment_digest
from tessera_core.records.files import read_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

INGEST: Final = "ingest"
COMMAND: Final = "tessera_core"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One replay while it goes on."""

    recorded: Recorded
    """What is to be repeated."""

    contents: Contents
    """Where recorded contents lie."""

    scratch: Path
    """Folder of everything the replay makes."""

    code: Path
    """Folder of restored code; elsewhere, so that DVC finds no second ``dvc.yaml`` in the data."""

    paths: Paths
    """The clean checkout in it, its own workspace."""

    present_only: bool
    """True to run the present code whatever the receipts name."""

    worktrees: ExitStack
    """Removes the folders with restored code."""

    findings: list[Finding] = field(default_factory=list)
    """What was noticed so far."""

    restored: dict[str, Path] = field(default_factory=dict)
    """Commit -> folder with its files."""


@contextmanager
def open_replay(
    recorded: Recorded, paths: Paths, *, fetch: Fetch, present_only: bool
) -> Iterator[Replay]:
    """Yield a replay with an empty folder, which is removed at the end, as restored code is.

    Args:
        recorded: What is to be repeated.
        paths: The checkout; the folder is made beside its data, so that sources can be linked.
        fetch: Brings back from a remote what the checkout has lost.
        present_only: Run the present code, to learn whether it still makes what was recorded.
    """
    paths.replays.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".replaying.", dir=paths.replays) as folder,
        tempfile.TemporaryDirectory(prefix="tessera-code.") as code,
        ExitStack() as worktrees,
    ):
        scratch = Path(folder).resolve()
        root = make_root(scratch / "root", recorded.receipts.values())
        yield Replay(
            recorded=recorded,
            contents=Contents(paths=paths, evidence=Evidence(paths, _ignore), fetch=fetch),
            scratch=scratch,
            code=Path(code).resolve(),
            paths=Paths(root=root, workspace=root),
            present_only=present_only,
            worktrees=worktrees,
        )


def replay_stages(replay: Replay, stages: Sequence[str]) -> Iterator[StageReplay]:
    """Run stages again, in this order, and yield each comparison as it is made.

    What a stage stands on is what was recorded, laid out by digest where the replay has not just
    made the very same. Findings are added to the replay.

    Raises:
        StorageError: The disk is full or git cannot restore a commit.
    """
    for stage in stages:
        receipt = replay.recorded.stages[stage]
        try:
            _lay_inputs(replay, receipt)
        except RecordError as error:
            replay.findings.append(
                Finding(
                    grade=Grade.BLOCK,
                    artefact=f"inputs of {stage}",
                    problem=str(error),
                    next_step="nothing is proven of this stage before that",
                )
            )
            yield _failed(receipt, "its recorded inputs are gone", code="")
            continue
        yield _replay_stage(replay, receipt)


def _replay_stage(replay: Replay, receipt: Receipt) -> StageReplay:
    """Run one stage whose inputs are laid out, and compare."""
    code = code_of(replay, receipt)
    replay.findings.extend(code_findings(receipt.stage, receipt.code, code))
    if reason := run_again(replay, receipt, replay.recorded.stages.values(), code):
        return _failed(receipt, reason, code.origin)
    return _compare(replay, receipt, Receipt.read(replay.paths.receipt(receipt.stage)), code)


def run_again(replay: Replay, receipt: Receipt, others: Iterable[Receipt], code: Code) -> str:
    """Run a stage with the settings of a receipt on what is laid out.

    Args:
        replay: Where.
        receipt: Which stage, and its settings.
        others: Receipts whose settings stand beside it.
        code: What runs.

    Returns:
        Why it failed; empty where it did not.
    """
    write_params(receipt, others, code.folder, replay.paths)
    replay.paths.receipt(receipt.stage).unlink(missing_ok=True)
    # The working folder comes first on the path, so the child imports the code in it.
    done = subprocess.run(
        [sys.executable, "-m", COMMAND, receipt.stage, "--root", str(replay.paths.root)],
        cwd=code.folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _compare(replay: Replay, recorded: Receipt, made: Receipt, code: Code) -> StageReplay:
    """Compare the outputs of a stage, and leave the recorded ones for the next."""
    workspace = replay.paths.workspace
    first = {output.path: output for output in recorded.outputs}
    second = {output.path: output for output in made.outputs}
    different = different_files(first, second)
    facts = different_facts(recorded.facts, made.facts)
    num_files = len(made_files(made, workspace))
    verdict, reason = Verdict.IDENTICAL, ""
    if different or facts:
        verdict, different, reason = _look_closer(replay, recorded, made)
        different += facts
    else:
        lay_receipt(recorded, replay.paths)
    return StageReplay(
        stage=recorded.stage,
        receipt=recorded.digest,
        verdict=verdict,
        code=code.origin,
        num_files=num_files,
        different=different,
        reason=reason,
    )


def _look_closer(
    replay: Replay, recorded: Receipt, made: Receipt
) -> tuple[Verdict, tuple[str, ...], str]:
    """Return a verdict on outputs that are not the same bytes, the files, and what it rests on."""
    workspace, stage = replay.paths.workspace, recorded.stage
    files = made_files(made, workspace)
    aside = replay.scratch / "made" / stage
    move_outputs(made, workspace, aside)
    try:
        lay_outputs(replay.contents, recorded, replay.paths)
    except RecordError as error:
        names = different_files({one.path: one for one in recorded.outputs}, files)
        return Verdict.DIFFERS, names, str(error)
    different = different_files(made_files(recorded, workspace), files)
    same = _is_same_device(replay, recorded)
    beside = Paths(root=aside, workspace=aside)
    is_equivalent, reason = equivalence(stage, replay.paths, beside, same_device=same)
    return Verdict.EQUIVALENT if is_equivalent else Verdict.DIFFERS, different, reason


def _is_same_device(replay: Replay, receipt: Receipt) -> bool:
    """Return whether this device and these versions made the original, as far as is known."""
    if receipt.environment != environment_digest():
        return False
    for output in replay.recorded.stages["pretrain"].outputs:
        archived = replay.contents.paths.lineage / f"{output.sha256}.json"
        if output.path.endswith(f"model/{MANIFEST_NAME}") and archived.is_file():
            manifest = Manifest.from_dict(read_json(archived), archived)
            return manifest.facts.get(DEVICE_FACT) == device_class(best_device())
    return True


def _lay_inputs(replay: Replay, receipt: Receipt) -> None:
    """Lay out the sources of a stage and the recorded outputs that it stands on."""
    lay_sources(replay.contents, receipt, replay.paths, replay.scratch / "root")
    if INGEST in receipt.config:
        laid = lay_descriptions(replay.contents, receipt, replay.paths)
        replay.findings.extend(_unlisted(receipt.stage, laid))
    for stage, digest in receipt.upstream.items():
        earlier = replay.recorded.receipts.get(digest)
        if earlier is None:
            raise RecordError(f"the {stage} receipt {digest[:12]} is not in data/lineage")
        if holds_receipt(earlier, replay.paths):
            continue
        move_outputs(earlier, replay.paths.workspace, replay.scratch / "made" / digest)
        lay_outputs(replay.contents, earlier, replay.paths)


def _unlisted(stage: str, names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    return [
        Finding(
            grade=Grade.NOTE,
            artefact=f"sources of {stage}",
            problem=f"{', '.join(names)} lead to the scenes, and no receipt holds their digests; "
            "what stands there now was read, less the items that the run did not see",
            next_step="nothing, unless the stage differs",
        )
    ]


def code_of(replay: Replay, receipt: Receipt) -> Code:
    """Return the code to run a stage with: the present one where it is the recorded one."""
    code, commit = present_code(receipt.stage), receipt.code.commit
    is_lost = receipt.code.dirty or not can_restore(commit)
    if code.closure == receipt.code.closure or replay.present_only or is_lost:
        return code
    if commit not in replay.restored:
        folder = replay.code / commit
        try:
            replay.restored[commit] = replay.worktrees.enter_context(worktree(commit, folder))
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or str(error)
            raise StorageError(f"git cannot restore commit {commit[:12]}: {said}") from error
    return restored_code(receipt.stage, commit, replay.restored[commit])


def _failed(receipt: Receipt, reason: str, code: str) -> StageReplay:
    return StageReplay(
        stage=receipt.stage, receipt=receipt.digest, verdict=Verdict.FAILED, code=code,
        num_files=0, different=(), reason=reason,
    )  # fmt: skip


def _ignore(size: int) -> None:
    """Count nothing."""
