"""The nearest labelled d-pixels vote."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tessera_core.pretrain.probe import single_blas_thread, standardise
from tessera_core.scoring.heads.checks import settled

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


def predict_knn(train: Floats, classes: Ints, test: Floats, *, num_neighbours: int) -> Ints:
    """Classify by the nearest labelled d-pixels in standardised features.

    Nearer neighbours weigh more, which also breaks ties. With fewer labels than
    ``num_neighbours``, all of them vote; one class alone gives that class.
    """
    from sklearn.neighbors import KNeighborsClassifier

    if (sole := settled(train, classes, test)) is not None:
        return sole
    near, far = standardise(train, train, test)
    model = KNeighborsClassifier(
        n_neighbors=min(num_neighbours, len(train)), weights="distance", algorithm="brute"
    )
    with single_blas_thread():
        predicted: Ints = model.fit(near, classes).predict(far)
    return predicted
