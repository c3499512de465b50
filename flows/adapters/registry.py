"""MLflow as the model registry."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import numpy.typing as npt
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from flows.adapters.remote import NotThereError, connect, garbled, remote_errors
from flows.servers.probe import require_mlflow
from flows.settings import Settings, sent_once
from tessera_core.domain.bands import ORBITS
from tessera_core.errors import ArtifactError, RemoteError
from tessera_core.ports import RegisteredModel
from tessera_core.records.code import environment_versions
from tessera_core.register.gate import CHALLENGER, CHAMPION
from tessera_core.register.stage import OVERRIDE_RECORD_TAG, OVERRIDE_TAG

ARTIFACT_KEY: Final = "tessera"
PYFUNC_CODE: Final = Path(__file__).with_name("pyfunc.py")
RUNTIME: Final = ("torch", "numpy", "safetensors", "pandas", "mlflow")
DIGEST_TAG: Final = "tessera.model_digest"
RECEIPT_TAG: Final = "tessera.receipt.evaluate"
REACHED_TAG: Final = "tessera.reached"
"""Of a registered model: highest number that it was seen to give, to a version since deleted."""

SAMPLE_COLUMNS: Final = (
    "s2_reflectance", "s2_scl", "s2_day_of_year",
    "s1_ascending", "s1_ascending_day_of_year",
    "s1_descending", "s1_descending_day_of_year",
)  # fmt: skip
SIGNATURE: Final = ModelSignature(
    inputs=Schema([ColSpec(Array(DataType.long), name) for name in SAMPLE_COLUMNS]),
    outputs=Schema([ColSpec(Array(DataType.long), "codes"), ColSpec(DataType.float, "scale")]),
)


class MlflowRegistry:
    """Versions and aliases of one registered model.

    Every method raises RemoteError where MLflow fails or what it answers cannot be. Only MLflow's
    own word that there is no such thing means that there is none.
    """

    def __init__(self, settings: Settings, model_name: str, run_id: str) -> None:
        require_mlflow(settings)
        self._uri = settings.mlflow_tracking_uri
        self._client = connect(self._uri)
        self._name = model_name
        self._run_id = run_id

    def find(self, model_digest: str) -> RegisteredModel | None:
        """Return the newest version with this artifact, or None."""
        found = [each for each in self.listed() if each.model_digest == model_digest]
        return found[-1] if found else None

    def newest(self) -> RegisteredModel | None:
        """Return the newest version, or None."""
        listed = self.listed()
        return listed[-1] if listed else None

    def version(self, version: str) -> RegisteredModel | None:
        """Return a version by its number, or None."""
        return next((each for each in self.listed() if each.version == version), None)

    def listed(self) -> Sequence[RegisteredModel]:
        """Return all versions, oldest first."""
        return [_describe(version) for version in self._versions()]

    def reached(self) -> int:
        """Return the highest number that was given, as far as is known; 0 where none was."""
        model = self._model()
        told = "0" if model is None else str(model.tags.get(REACHED_TAG, "0"))
        if not told.isdecimal():
            raise self._garbled("get_registered_model", f"tag {REACHED_TAG} is {told!r}")
        return max(int(told), *(int(each.version) for each in self.listed()), 0)

    def note_reached(self, number: int) -> None:
        """Remember that numbers up to this one were given, whether or not versions have them."""
        if self.reached() < number:
            self._require_model()
            self._client.set_registered_model_tag(self._name, REACHED_TAG, str(number))
            if self.reached() < number:
                raise self._garbled("set_registered_model_tag", f"{REACHED_TAG} is not {number}")

    def champion(self) -> RegisteredModel | None:
        """Return the version behind the champion alias, or None."""
        return self.by_alias(CHAMPION)

    def by_alias(self, alias: str) -> RegisteredModel | None:
        """Return the version behind an alias, or None."""
        number = self._aliases().get(alias)
        return None if number is None else _describe(self._version(number))

    def register(self, artifact: Path, tags: Mapping[str, str]) -> RegisteredModel:
        """Log the artifact as a pyfunc (models from code) and make it a version."""
        mlflow.set_tracking_uri(self._uri)
        # Without an explicit registry URI, an import hook can deadlock (mlflow 3.17).
        mlflow.set_registry_uri(self._uri)
        versions = environment_versions()
        with (
            remote_errors(self._uri, "log_model"),
            mlflow.start_run(run_id=self._run_id),
        ):
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(PYFUNC_CODE),
                artifacts={ARTIFACT_KEY: str(artifact)},
                # Given, so that MLflow does not spend seconds inferring them.
                pip_requirements=[f"{name}=={versions[name].split('+')[0]}" for name in RUNTIME],
                signature=SIGNATURE,
                input_example=_example(artifact),
            )
        return self._create(info.model_uri, info.run_id, tags, model_id=info.model_id)

    def hold_number(self, tags: Mapping[str, str]) -> RegisteredModel:
        """Make a version without an artifact: its content is gone, its number and tags are not."""
        run_id = self._run_id or None
        # A server refuses a source in a run that it cannot find.
        source = f"runs:/{run_id}/lost" if run_id else "lost://nothing/model"
        return self._create(source, run_id, tags)

    def skip_number(self) -> str:
        """Use up a number that stands for no version any more, and return it."""
        skipped = self.hold_number({}).version
        self.delete(skipped)
        return skipped

    def delete(self, version: str) -> None:
        """Delete a version; its number is never given again."""
        self._client.delete_model_version(self._name, version)

    def tags_of(self, version: str) -> dict[str, str]:
        """Return the tags of a version."""
        return dict(self._version(version).tags)

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Tag a version, and look whether it was tagged."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self._name, version, key, value)
        told = self.tags_of(version) if tags else {}
        for key, value in tags.items():
            if told.get(key, "") != value:  # MLflow may keep no blank value
                raise self._garbled("set_model_version_tag", f"{key} is {told.get(key)!r} after it")

    def run_of(self, version: str) -> str:
        """Return the id of the run that made a version."""
        return str(self._version(version).run_id)

    def tags(self) -> dict[str, dict[str, str]]:
        """Return the tags of every version."""
        return {str(version.version): dict(version.tags) for version in self._versions()}

    def log_scores(self, version: str, scores: Mapping[str, float]) -> None:
        """Show scores on a version's own page; versions of other tools have no such page."""
        found = self._version(version)
        if found.model_id is None or found.run_id is None:
            return
        run_id = str(found.run_id)
        for name, value in scores.items():
            self._client.log_metric(run_id, name, value, step=0, model_id=found.model_id)

    def fetch(self, version: str, target: Path) -> None:
        """Copy a version's artifact folder to ``target``."""
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        where = f"models:/{self._name}/{version}"
        try:
            with remote_errors(self._uri, "download_artifacts"):
                local = mlflow.artifacts.download_artifacts(where)
        except (RemoteError, OSError) as error:
            if isinstance(error, RemoteError) and self._uri.startswith("http"):
                raise
            raise ArtifactError(f"the registry cannot give {where}: {error}") from error
        found = next(Path(local).rglob("encoder.safetensors"), None)
        if found is None:
            raise ArtifactError(f"{where} holds no encoder.safetensors; its artifact was changed")
        shutil.copytree(found.parent, target)

    def set_alias(self, alias: str, version: str, tags: Mapping[str, str]) -> None:
        """Tag a version, then point an alias at it: who serves says why, whenever one looks."""
        self.set_tags(version, tags)
        if alias == CHAMPION:
            self._drop_challenger(version)
        self._client.set_registered_model_alias(self._name, alias, version)
        found = self._aliases()
        if found.get(alias) != version or (alias == CHAMPION and found.get(CHALLENGER) == version):
            raise self._garbled("set_registered_model_alias", f"aliases are {found} after it")

    def _model(self) -> Any:
        """Return the registered model, or None where MLflow says that there is none."""
        try:
            found = self._client.get_registered_model(self._name)
        except NotThereError:
            return None
        if found.name != self._name:
            raise self._garbled("get_registered_model", f"it named {found.name!r}")
        return found

    def _aliases(self) -> dict[str, str]:
        model = self._model()
        return {} if model is None else {name: str(of) for name, of in model.aliases.items()}

    def _version(self, number: str) -> Any:
        found = self._client.get_model_version(self._name, number)
        self._require_version(found, "get_model_version")
        if str(found.version) != number:
            raise self._garbled("get_model_version", f"asked for {number}, it gave {found.version}")
        return found

    def _versions(self) -> Sequence[Any]:
        """Return all versions, oldest first, page after page."""
        model = self._model()
        if model is None:
            return []
        found = {str(each.version): each for each in self._pages()}
        for version in found.values():
            self._require_version(version, "search_model_versions")
        # An empty list of versions looks like an empty answer, so another answer must agree.
        lost = {str(each.version) for each in model.latest_versions} - found.keys()
        if lost:
            raise self._garbled("search_model_versions", f"it left out version {min(lost)}")
        return sorted(found.values(), key=lambda version: int(version.version))

    def _pages(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_model_versions(f"name = '{self._name}'", page_token=token)
            if token and not page:
                raise self._garbled("search_model_versions", "a page that it promised is empty")
            yield from page
            token = page.token
            if not token:
                return

    def _create(
        self, source: str, run_id: str | None, tags: Mapping[str, str], model_id: str | None = None
    ) -> RegisteredModel:
        """Make a version; asked once only, since a lost answer may hide one that was made."""
        self._require_model()
        with sent_once():
            made = self._client.create_model_version(
                self._name, source=source, run_id=run_id, tags=dict(tags), model_id=model_id,
                await_creation_for=0,
            )  # fmt: skip
        self._require_version(made, "create_model_version")
        return _describe(made)

    def _require_model(self) -> None:
        """Create the registered model where there is none."""
        if self._model() is None:
            self._client.create_registered_model(self._name)

    def _require_version(self, found: Any, call: str) -> None:
        """Refuse what is no version of this model."""
        if found.name != self._name or not str(found.version).isdecimal():
            raise self._garbled(call, f"it gave version {found.version!r} of {found.name!r}")

    def _drop_challenger(self, version: str) -> None:
        """A champion no longer challenges."""
        if self._aliases().get(CHALLENGER) == version:
            self._client.delete_registered_model_alias(self._name, CHALLENGER)

    def _garbled(self, call: str, answer: str) -> RemoteError:
        return garbled(self._uri, call, f"{answer} ({self._name})")


def _example(artifact: Path) -> Any:
    """Return the model's canaries as input rows; MLflow runs the model on them once."""
    import pandas as pd

    from tessera_core.domain.scl import SceneClass
    from tessera_core.model.artifact import read_canaries

    pixels = read_canaries(artifact).take(np.arange(2))
    scl = np.where(pixels.optical.valid, SceneClass.VEGETATION, SceneClass.CLOUD_HIGH)
    columns = {
        "s2_reflectance": _rows(pixels.optical.values, pixels.optical.offsets),
        "s2_scl": _rows(scl, pixels.optical.offsets),
        "s2_day_of_year": _rows(pixels.optical.day_of_year, pixels.optical.offsets),
    }
    for orbit in ORBITS:
        series = getattr(pixels, orbit)
        columns[f"s1_{orbit}"] = _rows(series.values, series.offsets)
        columns[f"s1_{orbit}_day_of_year"] = _rows(series.day_of_year, series.offsets)
    return pd.DataFrame(columns)


def _rows(flat: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> list[list[int]]:
    """Return one flat list per d-pixel."""
    return [part.reshape(-1).tolist() for part in np.split(flat, offsets[1:-1])]


def _describe(version: Any) -> RegisteredModel:
    return RegisteredModel(
        version=str(version.version),
        model_digest=version.tags.get(DIGEST_TAG, ""),
        receipt=version.tags.get(RECEIPT_TAG, ""),
        override=version.tags.get(OVERRIDE_TAG, ""),
        override_record=version.tags.get(OVERRIDE_RECORD_TAG, ""),
    )
