"""The pages on which a person compares versions, opened in a real browser and pictured.

    python -m tests.pages.mlflow_pages CHECKOUT FOLDER [COMPARISON.html]

serves the MLflow database of a finished checkout on loopback and writes one PNG per page.
"""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.utils.credentials import read_mlflow_creds

from flows.context import load_context
from flows.servers.ui import HOST, start_mlflow, stop, wait_until_ready
from flows.settings import hand_over
from tessera_core.domain.scores import METRICS
from tests.pages.chromium import HEIGHT, WIDTH, Page, browse, find_chromium

EVALUATIONS: Final = "tessera-evaluation"
TALL: Final = 1500
"""Rows of pixels that show all metrics of two versions."""

MAP: Final = "evaluation/pca_map.png"
IMAGES_LOADED: Final = (
    "document.images.length > 0 && "
    "[...document.images].every(one => one.complete && one.naturalWidth > 0)"
)
CLOSE_ASSISTANT: Final = (
    "document.querySelector("
    "'[data-component-id=\"mlflow.assistant.chat_panel.close\"]')?.click() ?? true"
)
"""MLflow opens an assistant over a third of the page until somebody closes it."""

SETTLED: Final = (
    "!document.querySelector("
    "'[data-component-id=\"mlflow.assistant.chat_panel.close\"]') && "
    "document.getAnimations().every(one => one.playState != 'running' || "
    "one.effect.getComputedTiming().iterations == Infinity)"
)
"""The assistant is gone, and nothing moves but what always moves."""

FIGURE_LOADED: Final = "[...document.images].some(one => one.naturalWidth > 400)"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Yield the address of MLflow's pages of a checkout, and let clients of this process in."""
    port = free_port()
    context = load_context(root, serves=True)
    process = start_mlflow(context, port)
    login = context.settings.prefect_server_api_auth_string.get_secret_value()
    user, _, password = login.partition(":")
    hand_over({"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password})
    try:
        wait_until_ready(f"http://{HOST}:{port}/health", process)
        yield f"http://{HOST}:{port}"
    finally:
        stop(process)


def log_in(page: Page, address: str) -> None:
    """Answer what a browser asks its user once; it shows the password to this server from then."""
    creds = read_mlflow_creds()
    page.open(address.replace("http://", f"http://{creds.username}:{creds.password}@") + "/version")
    page.wait_for("document.readyState == 'complete' && location.protocol == 'http:'")


def client_of(address: str) -> MlflowClient:
    """Return a client of a server, its registry too: this process may have set another one."""
    return MlflowClient(address, registry_uri=address)


def versions_of(address: str, name: str) -> list[ModelVersion]:
    """Return all versions of a model, oldest first."""
    found = client_of(address).search_model_versions(f"name = '{name}'")
    return sorted(found, key=lambda one: int(one.version))


def open_model(page: Page, address: str, name: str) -> None:
    """Show the registered model: versions, aliases, tags."""
    page.open(f"{address}/#/models/{quote(name)}")
    aliases = client_of(address).get_registered_model(name).aliases
    versions = [f"Version {one.version}" for one in versions_of(address, name)]
    page.wait_for_text(*versions, *(f"@ {alias}" for alias in aliases))


def open_version(page: Page, address: str, version: ModelVersion) -> None:
    """Show one version with its tags."""
    page.open(f"{address}/#/models/{quote(version.name)}/versions/{version.version}")
    page.wait_for_text(f"Version {version.version}", version.tags["tessera.model_digest"][:12])


def open_comparison(page: Page, address: str, pair: list[ModelVersion]) -> None:
    """Show two versions side by side with their metrics."""
    runs = {str(one.version): str(one.run_id) for one in pair}
    name = quote(json.dumps(pair[0].name))
    page.open(f"{address}/#/compare-model-versions?name={name}&runs={quote(json.dumps(runs))}")
    page.wait_for_text("Metrics", *(name for name in headline_metrics(address, pair[0])))


def headline_metrics(address: str, version: ModelVersion) -> dict[str, float]:
    """Return the headline scores in the run of a version, named by task and metric."""
    metrics = client_of(address).get_run(str(version.run_id)).data.metrics
    return {
        name: value
        for name, value in metrics.items()
        if "/" not in name and any(name.endswith(f"_{metric}") for metric in METRICS)
    }


def open_figure(page: Page, address: str) -> None:
    """Show the map of embeddings among the artifacts of the newest evaluation."""
    client = client_of(address)
    experiment = client.get_experiment_by_name(EVALUATIONS)
    assert experiment is not None, f"no experiment {EVALUATIONS}; run `tessera retrain` first"
    (run,) = client.search_runs([experiment.experiment_id], max_results=1)
    where = f"experiments/{experiment.experiment_id}/runs/{run.info.run_id}/artifacts/{MAP}"
    page.open(f"{address}/#/{where}")
    page.wait_for(FIGURE_LOADED)


def open_file(page: Page, path: Path) -> None:
    """Show a page of our own, from the disk: it needs no server."""
    page.open(path.resolve().as_uri())
    page.wait_for("document.readyState == 'complete'")
    page.wait_for(IMAGES_LOADED)


def picture(page: Page, path: Path) -> None:
    """Picture a page of MLflow's without its assistant."""
    page.evaluate(CLOSE_ASSISTANT)
    page.wait_for(SETTLED)
    page.picture(path)


def retake(root: Path, folder: Path, comparison: Path | None) -> None:
    """Picture all pages of a finished checkout."""
    program = find_chromium()
    if program is None:
        sys.exit("no Chromium found; install it first: apt-get install chromium")
    name = load_context(root).config.register.model_name
    with served(root) as address, browse(program) as page:
        log_in(page, address)
        open_model(page, address, name)
        picture(page, folder / "mlflow-model.png")
        pair = versions_of(address, name)[-2:]
        open_version(page, address, pair[-1])
        picture(page, folder / "mlflow-version.png")
        if len(pair) == 2:
            open_comparison(page, address, pair)
            page.resize(WIDTH, TALL)
            picture(page, folder / "mlflow-compare.png")
            page.resize(WIDTH, HEIGHT)
        open_figure(page, address)
        picture(page, folder / "mlflow-figure.png")
        if comparison is not None:
            open_file(page, comparison)
            page.picture(folder / "compare.png")


if __name__ == "__main__":
    checkout, target, *page_file = (Path(word) for word in sys.argv[1:])
    retake(checkout, target, page_file[0] if page_file else None)
