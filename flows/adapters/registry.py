"""MLflow as the model registry."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import numpy.typing as npt
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from flows.services import require_mlflow
from flows.settings import Settings
from tessera_core.domain.bands import ORBITS
from tessera_core.errors import ArtifactError
from tessera_core.ports import RegisteredModel
from tessera_core.records.code import environment_versions
from tessera_core.register.gate import CHALLENGER, CHAMPION
from tessera_core.register.stage import OVERRIDE_TAG

ARTIFACT_KEY: Final = "tessera"
PYFUNC_CODE: Final = Path(__file__).with_name("pyfunc.py")
RUNTIME: Final = ("torch", "numpy", "safetensors", "pandas", "mlflow")
DIGEST_TAG: Final = "tessera.model_digest"
RECEIPT_TAG: Final = "tessera.receipt.evaluate"

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
    """Versions and aliases of one registered model."""

    def __init__(self, settings: Settings, model_name: str, run_id: str) -> None:
        require_mlflow(settings)
        self._uri = settings.mlflow_tracking_uri
        self._client = MlflowClient(self._uri, registry_uri=self._uri)
        self._name = model_name
        self._run_id = run_id

    def find(self, model_digest: str) -> RegisteredModel | None:
        """Return the newest version with this artifact, or None."""
        return _newest(v for v in self._versions() if v.tags.get(DIGEST_TAG) == model_digest)

    def newest(self) -> RegisteredModel | None:
        """Return the newest version, or None."""
        return _newest(self._versions())

    def version(self, version: str) -> RegisteredModel | None:
        """Return a version by its number, or None."""
        return _newest(v for v in self._versions() if str(v.version) == version)

    def champion(self) -> RegisteredModel | None:
        """Return the version behind the champion alias, or None."""
        return self.by_alias(CHAMPION)

    def by_alias(self, alias: str) -> RegisteredModel | None:
        """Return the version behind an alias, or None."""
        try:
            return _describe(self._client.get_model_version_by_alias(self._name, alias))
        except MlflowException:
            return None

    def register(self, artifact: Path, tags: Mapping[str, str]) -> RegisteredModel:
        """Log the artifact as a pyfunc (models from code) and make it a version."""
        mlflow.set_tracking_uri(self._uri)
        # Without an explicit registry URI, an import hook can deadlock (mlflow 3.17).
        mlflow.set_registry_uri(self._uri)
        versions = environment_versions()
        with mlflow.start_run(run_id=self._run_id):
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(PYFUNC_CODE),
                artifacts={ARTIFACT_KEY: str(artifact)},
                # Given, so that MLflow does not spend seconds inferring them.
                pip_requirements=[f"{name}=={versions[name].split('+')[0]}" for name in RUNTIME],
                signature=SIGNATURE,
                input_example=_example(artifact),
            )
        version = _register_version(self._client, self._name, info, tags)
        return _describe(version)

    def hold_number(self, tags: Mapping[str, str]) -> RegisteredModel:
        """Make a version without an artifact: its content is gone, its number and tags are not."""
        _require_model(self._client, self._name)
        run_id = self._run_id or None
        return _describe(
            self._client.create_model_version(
                self._name, source=f"runs:/{run_id}/lost", run_id=run_id, tags=dict(tags)
            )
        )

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
        return dict(self._client.get_model_version(self._name, version).tags)

    def set_tags(self, version: str, tags: Mapping[str, str]) -> None:
        """Tag a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self._name, version, key, value)

    def run_of(self, version: str) -> str:
        """Return the id of the run that made a version."""
        return str(self._client.get_model_version(self._name, version).run_id)

    def tags(self) -> dict[str, dict[str, str]]:
        """Return the tags of every version."""
        return {str(version.version): dict(version.tags) for version in self._versions()}

    def log_scores(self, version: str, scores: Mapping[str, float]) -> None:
        """Show scores on a version's own page; versions of other tools have no such page."""
        found = self._client.get_model_version(self._name, version)
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
            local = mlflow.artifacts.download_artifacts(where)
        except (MlflowException, OSError) as error:
            raise ArtifactError(f"the registry cannot give {where}: {error}") from error
        found = next(Path(local).rglob("encoder.safetensors"), None)
        if found is None:
            raise ArtifactError(f"{where} holds no encoder.safetensors; its artifact was changed")
        shutil.copytree(found.parent, target)

    def set_alias(self, alias: str, version: str, tags: Mapping[str, str]) -> None:
        """Point an alias at a version and tag that version."""
        self._client.set_registered_model_alias(self._name, alias, version)
        if alias == CHAMPION:
            self._drop_challenger(version)
        self.set_tags(version, tags)

    def _versions(self) -> Iterable[Any]:
        """Return all versions, page after page."""
        token = None
        while True:
            page = self._client.search_model_versions(f"name = '{self._name}'", page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _drop_challenger(self, version: str) -> None:
        """A champion no longer challenges."""
        aliases = self._client.get_registered_model(self._name).aliases
        if str(aliases.get(CHALLENGER)) == str(version):
            self._client.delete_registered_model_alias(self._name, CHALLENGER)


def _newest(versions: Iterable[Any]) -> RegisteredModel | None:
    newest = max(versions, key=lambda version: int(version.version), default=None)
    return None if newest is None else _describe(newest)


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


def _register_version(client: MlflowClient, name: str, info: Any, tags: Mapping[str, str]) -> Any:
    _require_model(client, name)
    return client.create_model_version(
        name, source=info.model_uri, run_id=info.run_id, tags=dict(tags), model_id=info.model_id
    )


def _require_model(client: MlflowClient, name: str) -> None:
    """Create a registered model where there is none."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _describe(version: Any) -> RegisteredModel:
    return RegisteredModel(
        version=str(version.version),
        model_digest=version.tags.get(DIGEST_TAG, ""),
        receipt=version.tags.get(RECEIPT_TAG, ""),
        override=version.tags.get(OVERRIDE_TAG, ""),
    )
