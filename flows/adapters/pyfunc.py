"""The registered model as MLflow loads it: d-pixels in, int8 embeddings and scales out.

MLflow runs this file by itself ("models from code"), so it defines and registers one class.
"""

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

BATCH_SIZE = 1024


class TesseraEncoder(PythonModel):
    """Embed rows of the samples schema."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the artifact strictly and check its canaries."""
        from pathlib import Path

        from tessera_core.model.artifact import best_device, load_artifact

        self._artifact = load_artifact(Path(context.artifacts["tessera"]), best_device())

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, object] | None = None,
    ) -> pd.DataFrame:
        """Return ``codes`` (list of int8) and ``scale`` for each row; scale NaN = no data.

        Args:
            context: Unused.
            model_input: DataFrame with the observation columns of the samples schema.
            params: Unused.
        """
        import pyarrow as pa

        from tessera_core.domain.embedding import quantise
        from tessera_core.model.embed import embed_pixels
        from tessera_core.records.samples import pixels_of
        from tessera_core.records.schema import SERIES_FIELDS

        columns = [
            pa.array([list(row) for row in model_input[field.name]], field.type)
            for field in SERIES_FIELDS
        ]
        pixels = pixels_of(pa.table(columns, schema=pa.schema(SERIES_FIELDS)))
        values = embed_pixels(self._artifact, pixels, batch_size=BATCH_SIZE)
        embedding = quantise(values, self._artifact.config.output.coding)
        return pd.DataFrame({"codes": embedding.codes.tolist(), "scale": embedding.scale})


set_model(TesseraEncoder())
