"""What one model answers to one set of questions: fitted here, in another process, or read back.

What does not depend on the version, as forests of band values and the untrained encoder, is kept
under the digest of all that it depends on: features, truth, folds, head with its settings, code
and libraries. It is fitted once per data and protocol, for all versions and workspaces.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from tessera_core.ports import Mapper, map_serially
from tessera_core.records.code import closure_digest, environment_digest
from tessera_core.records.files import write_atomically
from tessera_core.records.standing import is_baseline

Floats = npt.NDArray[np.float64]

SHA256_SIZE: Final = 32
"""Bytes of the digest that a kept answer begins with."""


class Questions(Protocol):
    """One model, and everything that its answers depend on, in a dataclass's fields."""

    @property
    def model(self) -> str:
        """Name, as ``raw/forest``."""

    def answer(self) -> Floats:
        """Fit the model and return what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """Where answers come from."""

    mapper: Mapper = map_serially
    """Runs the models, one after the other or in processes."""

    kept: Path | None = None
    """Folder of baselines' answers; None keeps none."""

    def ask(self, what: str, asked: Sequence[Questions]) -> list[Floats]:
        """Return the answers in the order of the questions; what was kept is not fitted again."""
        places = [self._place(each) for each in asked]
        found = [None if place is None else _read(place) for place in places]
        missing = [
            (each, place)
            for each, place, known in zip(asked, places, found, strict=True)
            if known is None
        ]
        fitted = iter(self.mapper(what, _answer, missing) if missing else ())
        return [next(fitted) if known is None else known for known in found]

    def once(
        self, depends_on: object, module: str, compute: Callable[[], npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """Return what a module computes from a value, computed here unless it was kept."""
        place = self._file(depends_on, module)
        found = None if place is None else _read(place)
        if found is None:
            found = compute()
            if place is not None:
                _write(place, found)
        return found

    def _place(self, asked: Questions) -> Path | None:
        """Return the file of a baseline's answers; None for a model of the version itself."""
        return self._file(asked, type(asked).__module__) if is_baseline(asked.model) else None

    def _file(self, depends_on: object, module: str) -> Path | None:
        if self.kept is None:
            return None
        return self.kept / f"{content_digest(depends_on, module)}.npy"


IN_PLACE: Final = Answering()
"""One model after the other, and none kept."""


def content_digest(depends_on: object, module: str) -> str:
    """Return the identity of a value, of the module that uses it and of the libraries behind."""
    digest = hashlib.sha256(f"{closure_digest(module)} {environment_digest()}".encode())
    _add(digest, depends_on)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add a value with its type and length, so that no two values add the same bytes."""
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif is_dataclass(value) and not isinstance(value, type):
        digest.update(f"{type(value).__name__} {len(fields(value))} ".encode())
        for each in fields(value):
            digest.update(f"{each.name} ".encode())
            _add(digest, getattr(value, each.name))
    elif isinstance(value, partial):
        _add(digest, (value.func, value.args, tuple(sorted(value.keywords.items()))))
    elif callable(value):
        digest.update(f"function {value.__module__}.{value.__qualname__} ".encode())
    elif isinstance(value, tuple):
        digest.update(f"tuple {len(value)} ".encode())
        for each in value:
            _add(digest, each)
    elif isinstance(value, Mapping):
        _add(digest, tuple(sorted(value.items())))
    elif value is None or isinstance(value, str | int | float):
        digest.update(f"{type(value).__name__} {value!r} ".encode())
    else:
        raise TypeError(f"{type(value).__name__} has no content that a digest could be made of")


def _answer(asked: tuple[Questions, Path | None]) -> Floats:
    """Answer in whatever process this is, and keep it there: others may never be reached."""
    questions, place = asked
    answer = questions.answer()
    if place is not None:
        _write(place, answer)
    return answer


def _write(place: Path, answer: npt.NDArray[Any]) -> None:
    body = io.BytesIO()
    np.save(body, answer, allow_pickle=False)
    content = body.getvalue()
    write_atomically(place, hashlib.sha256(content).digest() + content)


def _read(place: Path) -> npt.NDArray[Any] | None:
    """Return kept answers; None where there are none, or not as they were written."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    body = content[SHA256_SIZE:]
    if hashlib.sha256(body).digest() != content[:SHA256_SIZE]:
        return None
    answer: npt.NDArray[Any] = np.load(io.BytesIO(body), allow_pickle=False)
    return answer
