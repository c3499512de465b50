"""From a checkout folder and overrides to everything a flow needs."""

import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from flows.adapters.moved import bring_home
from flows.console import note
from flows.settings import Settings, activate
from tessera_core.config import PARAMS_NAME, PlatformConfig
from tessera_core.errors import AbsentDataError, ConfigError, SceneError, StorageError
from tessera_core.ingest.config import STAC_API_SCHEMES
from tessera_core.records.benchmarks import read_benchmarks
from tessera_core.records.labels import label_folders
from tessera_core.records.locks import one_at_a_time
from tessera_core.records.manifest import MANIFEST_NAME
from tessera_core.records.outside import plain_path
from tessera_core.records.paths import Paths

RUN_NAME_LENGTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run's settings and places."""

    config: PlatformConfig
    """All settings, overrides applied."""

    paths: Paths
    """Where inputs and outputs are."""

    settings: Settings
    """Where the servers are."""

    lenders: tuple[Paths, ...]
    """Other workspaces whose outputs this run may share; none for a run in the checkout itself."""

    def alone_with(self, what: str) -> AbstractContextManager[None]:
        """Return a block that one process of the checkout is in at a time; others wait for it.

        Args:
            what: ``registry``: from the look at the champion to the alias that follows from it;
                ``dvc``: which refuses a second process where it could wait.

        Raises:
            BusyError: Another process did not leave it in half an hour.
        """
        return one_at_a_time(self.paths.root / "data" / f".{what}.lock")


def load_context(
    root: str | Path,
    overrides: Sequence[str] = (),
    base: Sequence[str] = (),
    *,
    serves: bool = False,
) -> Context:
    """Return the context of a run.

    Without overrides, outputs go to the checkout, where DVC versions them. With overrides, they
    go to ``data/runs/<config digest>``, so that the versioned state stays as it is; what the
    checkout has made of the same inputs is shared, not made again.

    Args:
        root: The checkout.
        overrides: Settings as ``section.name=value``.
        base: Overrides of another run, whose outputs are to be shared before the checkout's.
        serves: As ``activate`` takes it.

    Raises:
        ConfigError: ``root`` is not a checkout, or a setting is wrong.
    """
    folder = Path(root).absolute()
    if not (folder / PARAMS_NAME).is_file():
        raise ConfigError(
            f"{folder} holds no {PARAMS_NAME}; run in a Tessera checkout or name one with --root"
        )
    config = PlatformConfig.read(folder / PARAMS_NAME, overrides)
    workspace = _workspace(folder, config)
    base_workspace = _workspace(folder, PlatformConfig.read(folder / PARAMS_NAME, base))
    lenders = [] if workspace == folder else [base_workspace, folder]
    if (other := bring_home(folder)) is not None:
        note(f"moved     MLflow's artifacts are those of this checkout now, not those of {other}")
    return Context(
        config=config,
        paths=Paths(root=folder, workspace=workspace),
        settings=activate(folder, serves=serves),
        lenders=tuple(
            Paths(root=folder, workspace=lender)
            for lender in dict.fromkeys(lenders)
            if lender != workspace
        ),
    )


def _workspace(root: Path, config: PlatformConfig) -> Path:
    """Return where outputs of these settings go."""
    if config == PlatformConfig.read(root / PARAMS_NAME):
        return root
    return root / "data" / "runs" / config.digest[:RUN_NAME_LENGTH]


def require_writable(root: Path) -> None:
    """Refuse a checkout that nothing can be written to, before any server starts.

    Raises:
        StorageError: The folder is read-only, or the disk has no room for a byte.
    """
    probe = root / f".writable-{uuid.uuid4().hex[:8]}"
    try:
        probe.write_bytes(b"1")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"cannot write to {root}: {error.strerror}; a run keeps data, databases and lineage "
            "there. Make it writable or name another checkout with --root"
        ) from error


def require_questions(context: Context) -> None:
    """Refuse what an hour of work would end with: wrong labels, tasks, or folders that are named.

    Raises:
        SceneError: ``ingest.path`` names nothing, or ``evaluate.labels`` a folder without label
            rasters.
        ConfigError: A task is unknown, wrong, or there is none; a setting names a folder that
            holds no model or no checkpoint.
        AbsentDataError: The data of a task that was asked for by name is not there.
    """
    config, root = context.config, context.paths.root
    asked = read_benchmarks(root / config.evaluate.benchmarks, config.evaluate.tasks)
    _require_scenes(context)
    label_folders(root, config.evaluate.labels, config.ingest.source, config.ingest.path)
    base = root / config.evaluate.benchmark_data
    for task in asked if config.evaluate.tasks is not None else ():
        for name in filter(None, (task.data.path, task.data.labels)):
            if not (base / name).exists():
                raise AbsentDataError(
                    f"evaluate.tasks asks for {task.name}, but {base} holds no {name}; put the "
                    "data there, or set evaluate.benchmark_data to the folder that holds it"
                )
    _require_models(context)


def _require_scenes(context: Context) -> None:
    """Refuse an ``ingest.path`` where nothing is, unless the run makes the scenes there itself."""
    config, root = context.config, context.paths.root
    path = config.ingest.path
    if path.startswith(STAC_API_SCHEMES) or path == config.simulate.path:
        return
    if not (root / path).exists():
        raise SceneError(
            f"ingest.path names {path}, but there is no {plain_path(root / path)}; set it to where "
            "the scenes are, from the checkout or as a whole path"
        )


def _require_models(context: Context) -> None:
    """Refuse settings that name a folder without a model or checkpoint."""
    pretrain, root = context.config.pretrain, context.paths.root
    artifacts = {
        "pretrain.imported": pretrain.imported,
        "pretrain.teacher": pretrain.teacher,
    }
    references = [("evaluate.references", name) for name in context.config.evaluate.references]
    for setting, name in [*artifacts.items(), *references]:
        if name is not None and not (root / name / MANIFEST_NAME).is_file():
            raise ConfigError(
                f"{setting} names {name}, but {root / name} holds no model artifact "
                f"({MANIFEST_NAME}); `tessera import-weights` makes one of released weights, in "
                "data/imported"
            )
    start = pretrain.continue_from
    if start is not None and not any((root / start).glob("step-*.json")):
        raise ConfigError(
            f"pretrain.continue_from names {start}, but {root / start} holds no checkpoint; "
            "data/checkpoints has a folder per run"
        )
