"""The strict environment of all tests: no network, no silent arithmetic, no chance.

Warnings are errors too; that part stands in pyproject.toml.
"""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

REPO = Path(__file__).resolve().parent.parent

NUM_THREADS = 2
"""Fixed, because sums depend on how many threads share them, and golden numbers on sums."""

ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "true",
    "MPLBACKEND": "Agg",
    # Read when a numeric library loads, so nothing has to be loaded here.
    "OMP_NUM_THREADS": str(NUM_THREADS),
    "OMP_WAIT_POLICY": "PASSIVE",
}

settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


class NetworkBlockedError(RuntimeError):
    """A test reached for the network; not an OSError, so that no retry swallows it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="record golden files anew")
    parser.addoption("--network", action="store_true", help="run the tests that need the internet")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(ENVIRONMENT)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("network") and not item.config.getoption("--network"):
        pytest.skip("needs the internet: run with --network")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Connecting to the unspecified address (0.0.0.0) reaches this machine.
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def _no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse connections that leave this machine; child processes are not covered."""
    if request.config.getoption("--network"):
        yield
        return

    def guarded(name: str):
        connect = getattr(socket.socket, name)

        def refuse_or_connect(self: socket.socket, address):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
                self.close()  # callers expect an OSError, and would leave it open for others
                raise NetworkBlockedError(
                    f"the test connects to {address[0]}:{address[1]}; serve what it needs on "
                    "127.0.0.1, or mark it `network`"
                )
            return connect(self, address)

        return refuse_or_connect

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(name))
        yield


@pytest.fixture(autouse=True)
def _strict_arithmetic() -> Iterator[None]:
    """Raise where numpy would put an inf or a NaN in silence."""
    # Underflow is left out: exp(-800) being 0 is right, and every softmax relies on it.
    with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
        yield


@pytest.fixture(autouse=True)
def _strict_torch(request: pytest.FixtureRequest) -> None:
    """Make torch deterministic, if some test has loaded it; uninitialised memory becomes NaN."""
    torch = sys.modules.get("torch")
    if torch is None or request.node.get_closest_marker("gpu"):
        return
    torch.set_num_threads(NUM_THREADS)
    torch.use_deterministic_algorithms(True)


@pytest.fixture(scope="module", autouse=True)
def _forgetful_mlflow() -> Iterator[None]:
    """Let no module inherit the tracking server and registry of another."""
    yield
    if mlflow := sys.modules.get("mlflow"):
        # A client that names a tracking server only asks the registry that was set last.
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def pristine(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the small cycle has run once; only ever copied."""
    from tests.cycle.conftest import make_first, prepared

    return prepared(tmp_path_factory, "pristine", lambda folder: make_first(repo, folder))


@pytest.fixture(scope="session")
def two_versions(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a second run, with another seed; only ever copied."""
    from tests.cycle.conftest import make_second, prepared

    return prepared(tmp_path_factory, "two-versions", lambda folder: make_second(pristine, folder))


@pytest.fixture(scope="session")
def bless(request: pytest.FixtureRequest) -> bool:
    """True when golden files are to be recorded anew, not compared."""
    return bool(request.config.getoption("--bless"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real Sentinel-1/2 samples, a folder beside the repository; skips where it is absent."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real sample data (../shared/data) is not here")
    return folder
