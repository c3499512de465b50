"""The code of a recorded run: the present one where it is the same, else a git worktree."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import tessera_core
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.code import CODE_PATHS, CodeVersion, closure_digest

PRESENT: Final = "present"
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
GIT_TIMEOUT_S: Final = 300
NO_HOOKS: Final = ("-c", "core.hooksPath=/dev/null")
"""A checkout's hooks are for its people; a replay must not set them off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Sources that a stage can run with."""

    folder: Path
    """Holds the packages and ``params.yaml``."""

    origin: str
    """A commit, or ``present`` for the code that is running now."""

    closure: str
    """Digest of the stage's import closure there."""


def present_folder() -> Path:
    """Return the folder of the code that is running now."""
    return Path(tessera_core.__file__).parents[1]


def module_of(stage: str) -> str:
    """Return the module whose import closure a stage's receipt names."""
    return f"tessera_core.{stage}.stage"


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """Yield a folder with the files of a commit; it is gone afterwards, however that ends."""
    repo = present_folder()
    try:
        _git(repo, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        yield folder
    finally:
        subprocess.run(
            ["git", "worktree", "remove", "--force", str(folder)],
            cwd=repo, capture_output=True, check=False, timeout=GIT_TIMEOUT_S,
        )  # fmt: skip


@cache
def can_restore(commit: str) -> bool:
    """Return whether the repository of the present code holds a commit."""
    if not COMMIT.fullmatch(commit):
        return False
    try:
        _git(present_folder(), "cat-file", "-e", f"{commit}^{{commit}}")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def present_code(stage: str) -> Code:
    """Return the code that is running now, as a stage sees it."""
    closure = closure_digest(module_of(stage))
    return Code(folder=present_folder(), origin=PRESENT, closure=closure)


def restored_code(stage: str, commit: str, folder: Path) -> Code:
    """Return the code in a worktree, as a stage sees it.

    The closure is computed by the code that lies there: how it is computed may have changed.
    """
    program = (
        "import sys; from tessera_core.records.code import closure_digest as digest; "
        "print(digest(sys.argv[1]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, module_of(stage)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=GIT_TIMEOUT_S,
    )  # fmt: skip
    closure = found.stdout.strip() if found.returncode == 0 else "unknown"
    return Code(folder=folder, origin=commit, closure=closure)


def code_findings(stage: str, recorded: CodeVersion, code: Code) -> list[Finding]:
    """Return what the code that ran differs in from the code that was recorded."""
    if code.closure == recorded.closure:
        return []
    if code.origin != PRESENT:
        problem = (
            f"commit {code.origin[:12]} holds other code for this stage (closure "
            f"{code.closure[:12]}) than the receipt names ({recorded.closure[:12]})"
        )
        remedy = "look for the branch that it ran from; the receipt's commit is not its code"
    else:
        problem = (
            f"{_why_present(recorded)}: the present code ran, whose closure "
            f"{code.closure[:12]} is not the recorded {recorded.closure[:12]}"
        )
        if names := changed_files(recorded.commit):
            problem += f"; changed since commit {recorded.commit[:12]}: {', '.join(names)}"
        remedy = "commit before a run that must be provable; a clean commit can be restored"
    return [Finding(grade=Grade.WARN, artefact=f"code of {stage}", problem=problem,
                    next_step=remedy)]  # fmt: skip


def changed_files(commit: str) -> list[str]:
    """Return the core's files that differ from a commit now; none where it is not known here."""
    if not can_restore(commit):
        return []
    core = CODE_PATHS[0]
    listed = _git(present_folder(), "diff", "--name-only", "--relative", commit, "--", core)
    return listed.splitlines()


def _why_present(recorded: CodeVersion) -> str:
    if not COMMIT.fullmatch(recorded.commit):
        return "the commit is unknown"
    if recorded.dirty:
        return f"the code was changed since commit {recorded.commit[:12]} and never committed"
    if not can_restore(recorded.commit):
        return f"commit {recorded.commit[:12]} is not in this repository"
    return "the present code was asked for"


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", *NO_HOOKS, *arguments],
        cwd=folder, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S,
    )  # fmt: skip
    return result.stdout.strip()
