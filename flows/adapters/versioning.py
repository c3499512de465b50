"""DVC as the versioner of data: outputs into its cache, md5s out."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tessera_core.errors import RecordError, RemoteError
from tessera_core.records.files import FileDigest
from tessera_core.records.paths import Paths

if TYPE_CHECKING:
    from dvc.repo import Repo


def version_outputs(paths: Paths, stages: Sequence[str]) -> dict[str, str]:
    """Store what stages made in DVC's cache and return the md5 of each output.

    In the checkout the outputs belong to ``dvc.yaml`` and are committed to ``dvc.lock``; in
    another workspace they get ``.dvc`` pointer files. Committing either to git is for a person.

    Args:
        paths: Where the outputs are.
        stages: Which stages to store.

    Returns:
        Tags such as ``dvc.samples`` with DVC's md5; empty where the root is no DVC repository.
    """
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    # DVC asks at every pointer file to "git add" it.
    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        repo = Repo(str(paths.root))
    except NotDvcRepoError:
        return {}
    # DVC looks for dvc.yaml where the command was started; our own paths are all absolute.
    with repo, _dvc_errors(), chdir(paths.root):
        if paths.workspace == paths.root:
            for stage in stages:
                repo.commit(target=stage, force=True)
        else:
            repo.add([str(path) for path in _outputs(paths, stages)])
    # A new view of the repository: the old one still holds the digests from before.
    with Repo(str(paths.root)) as repo:
        return _digests(repo, paths)


def fetch_contents(root: Path, files: Sequence[FileDigest]) -> None:
    """Bring contents from DVC's remote into its cache, as far as the remote has them.

    Whoever asked looks into the cache afterwards, so nothing is said of what is not there.

    Args:
        root: The checkout; nothing happens where it is no DVC repository, or has no remote.
        files: Digests of the contents.

    Raises:
        RemoteError: The remote failed, so nobody knows what it has.
    """
    from dvc.config import NoRemoteError
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo(str(root)) as repo:
            fetched = repo.cloud.pull([HashInfo("md5", file.md5) for file in files])
    except (NotDvcRepoError, NoRemoteError):
        return
    except FileNotFoundError as error:
        logging.getLogger(__name__).debug("DVC's remote does not have it: %s", error)
        return
    except Exception as error:  # each kind of remote has errors of its own
        raise _remote_failed(str(error) or type(error).__name__) from error
    if fetched.failed:
        raise _remote_failed(f"it has {len(fetched.failed)} file(s) that could not be copied")


def _remote_failed(answer: str) -> RemoteError:
    return RemoteError(
        f"DVC's remote gave no usable answer: {' '.join(answer.split())}. What it holds is not "
        "known; run the same command again when it answers"
    )


@contextmanager
def _dvc_errors() -> Iterator[None]:
    """Turn DVC's errors into one of ours, so that the user reads a sentence."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise RecordError(
            f"DVC cannot store the outputs: {error}; is the checkout whole, with the code that "
            "dvc.yaml names?"
        ) from error


def _outputs(paths: Paths, stages: Sequence[str]) -> list[Path]:
    """Return what DVC keeps of each stage: everything an audit may have to find again."""
    kept = {
        "ingest": [paths.samples],
        "quality": [paths.quality],
        "shuffle": [paths.shards],
        "pretrain": [paths.model, paths.training],
        "evaluate": [paths.evaluation],
    }
    return [path for stage in stages for path in kept.get(stage, []) if path.exists()]


def _digests(repo: "Repo", paths: Paths) -> dict[str, str]:
    wanted = {paths.samples: "dvc.samples", paths.shards: "dvc.shards", paths.model: "dvc.model"}
    return {
        wanted[Path(out.fs_path)]: str(out.hash_info.value)
        for out in repo.index.outs
        if Path(out.fs_path) in wanted and out.hash_info
    }
