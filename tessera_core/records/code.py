"""Which code ran: git commit, and a digest over the modules a stage can reach.

The digest is over what modules mean: their syntax trees without comments, layout and docstrings.
Pages and figures are left out, since nothing that is computed depends on how it is shown.
"""

import ast
import hashlib
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tessera_core.records.files import digest_json

PACKAGE = "tessera_core"
DISTRIBUTION = "tessera-platform"
PRESENTATION = "tessera_core.pages"
"""What only shows results; it decides none, and import-linter holds it to that."""

CODE_PATHS = ("tessera_core", "flows", "pyproject.toml", "constraints.txt")
"""What counts when a work tree is called dirty: code, not data or documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVersion:
    """The code behind one stage run."""

    commit: str
    """Git commit, or ``unknown`` outside a checkout."""

    dirty: bool
    """True when the code differs from that commit, or no commit is known."""

    closure: str
    """sha256 over the meaning of all our modules that the stage can import."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def code_version(module: str) -> CodeVersion:
    """Return the version of the code that ``module`` and all it imports belong to."""
    commit, dirty = _git_state()
    return CodeVersion(commit=commit, dirty=dirty, closure=closure_digest(module))


@cache
def closure_digest(module: str) -> str:
    """Return the digest of a module's import closure within the package."""
    digest = hashlib.sha256()
    for path in closure_files(module):
        digest.update(path.relative_to(_package_root()).as_posix().encode())
        digest.update(_read_module(path).meaning.encode())
    return digest.hexdigest()


def closure_files(module: str) -> list[Path]:
    """Return the sources that ``module`` can reach, lazy imports included, sorted.

    Imports are read from the syntax tree, so nothing is executed. What only shows results is not
    followed.
    """
    root = _package_root()
    seen: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _module_path(root, name)
        if name in seen or path is None or name.startswith(PRESENTATION):
            continue
        seen[name] = path
        waiting.extend(_read_module(path).imports)
        # Importing a module runs the __init__ of every package above it.
        waiting.append(name.rpartition(".")[0])
    return sorted(set(seen.values()))


def meaning_of(source: bytes) -> str:
    """Return the digest of what a Python source does: its syntax tree without docstrings.

    Comments, layout and strings that stand alone, which document what is above them, change
    nothing; everything else does. The same on all Python versions that we support.

    Raises:
        SyntaxError: The source is not Python.
    """
    return _meaning_of_tree(ast.parse(source))


def environment_digest() -> str:
    """Return a digest over Python's version and our direct dependencies' versions."""
    return digest_json(environment_versions())


@cache
def environment_versions() -> dict[str, str]:
    """Return Python's version and the installed version of each direct dependency."""
    versions = {"python": platform.python_version()}
    for requirement in metadata.requires(DISTRIBUTION) or []:
        if "extra ==" in requirement:
            continue
        name = requirement.split(";")[0].strip()
        for separator in "<>=!~[ ":
            name = name.split(separator)[0]
        versions[name] = metadata.version(name)
    return versions


def _package_root() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(PACKAGE)
    return Path(spec.origin).parent.parent


def _module_path(root: Path, name: str) -> Path | None:
    """Return the file of one of our modules, or None for anything else."""
    if name.partition(".")[0] != PACKAGE:
        return None
    base = root.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """What a closure needs to know of one module."""

    meaning: str
    """Digest of its syntax tree."""

    imports: tuple[str, ...]
    """Absolute names that it imports; ``from a import b`` gives a and a.b."""


@cache
def _read_module(path: Path) -> _Module:
    tree = ast.parse(path.read_bytes())
    return _Module(meaning=_meaning_of_tree(tree), imports=_imports_of_tree(tree))


def _meaning_of_tree(tree: ast.AST) -> str:
    written: list[str] = []
    _write_meaning(tree, written)
    return hashlib.sha256("".join(written).encode()).hexdigest()


def _write_meaning(value: Any, written: list[str]) -> None:
    """Append a syntax tree as text; empty fields are left out, since new versions add some."""
    if isinstance(value, ast.AST):
        written.append(f"{type(value).__name__}(")
        for name in value._fields:
            part = getattr(value, name, None)
            if isinstance(value, ast.JoinedStr):
                # Python 3.12 ends some f-strings with an empty piece.
                part = [one for one in value.values if getattr(one, "value", None) != ""]
            if part is not None and part != []:
                written.append(f"{name}=")
                _write_meaning(part, written)
        written.append(")")
    elif isinstance(value, list):
        written.append("[")
        for part in value:
            if not _is_docstring(part):
                _write_meaning(part, written)
                written.append(",")
        written.append("]")
    else:
        written.append(repr(value))


def _is_docstring(node: Any) -> bool:
    """Return whether a statement is a string alone, which does nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imports_of_tree(tree: ast.AST) -> tuple[str, ...]:
    names: list[str] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            # Only a type checker follows these.
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return tuple(name for name in names if name.startswith(PACKAGE))


def _git_state() -> tuple[str, bool]:
    """Return the commit of the checkout and whether its code was changed since."""
    root = _package_root()
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", *CODE_PATHS)
    except (OSError, subprocess.SubprocessError):
        return "unknown", True
    return commit, bool(changes)


def _git(root: Path, *arguments: str) -> str:
    """Run a read-only git command and return what it printed."""
    result = subprocess.run(  # fixed program and arguments
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=30
    )
    return result.stdout.strip()
