"""Who has no password gets nothing from our servers, and a password opens no shell.

Slow, since only real servers and a real worker can show it: they are attacked as a page in the
user's browser, a name that was rebound to this machine, or another user of it would do.
"""

import json
import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.cycle.conftest import make_checkout, run_in
from tests.cycle.servers import Api, documented, free_port, owner_of, serving, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STRANGERS = {
    "another user": {},
    "a page": {"Origin": "http://evil.example"},
    "a page without origin": {"Origin": "null"},
    "a rebound name": {"Host": "evil.example:4200"},
    "a rebound name like a private address": {
        "Host": "10.evil.example:4200",
        "Origin": "http://10.evil.example:4200",
    },
    "a guess": {"Authorization": "Basic dGVzc2VyYTp0ZXNzZXJh"},
    "an API key": {"Authorization": "Bearer tessera"},
}
SHUT = {401, 403}
SOCKETS = (
    "/events/in",
    "/events/out",
    "/logs/out",
    "/task_runs/subscriptions/scheduled",
    "/work_pools/tessera/workers/connect",
)
ENDED = ("COMPLETED", "FAILED", "CRASHED")
TICKET = "00000000-0000-0000-0000-000000000000"

every_stranger = pytest.mark.parametrize("who", STRANGERS.values(), ids=STRANGERS)


@pytest.fixture(scope="module")
def place(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which nothing has run."""
    return make_checkout(repo, tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def scheduled(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API that the documentation's set-up starts, with its worker."""
    port = free_port()
    changes = {"tessera schedule": f"tessera schedule --prefect-port {port}"}
    log = tmp_path_factory.mktemp("schedule") / "log"
    with serving(place, documented(place, 0, **changes), log):
        yield f"http://127.0.0.1:{port}/api"


@pytest.fixture(scope="module")
def pages(
    place: Path, scheduled: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Prefect's API and MLflow's address of ``tessera ui``."""
    prefect, mlflow = free_port(), free_port()
    log = tmp_path_factory.mktemp("ui") / "log"
    command = f"tessera ui --prefect-port {prefect} --mlflow-port {mlflow}"
    with serving(place, command, log):
        yield f"http://127.0.0.1:{prefect}/api", f"http://127.0.0.1:{mlflow}"


def statuses(api: Api, routes: list[tuple[str, str]]) -> dict[str, int]:
    """Return what each route answers to somebody."""
    return {
        f"{method} {path}": api.ask(method, path, {} if method != "GET" else None).status
        for method, path in routes
    }


def some(routes: list[tuple[str, str]], who: dict[str, str]) -> list[tuple[str, str]]:
    """Return all routes for who only lacks the password, and a share for who has a guise too."""
    return routes[::15] if who else routes


def opened(answers: dict[str, int]) -> dict[str, int]:
    return {route: status for route, status in answers.items() if status not in SHUT}


def prefect_routes(api: str) -> list[tuple[str, str]]:
    """Return method and path of all that Prefect's server offers, with some name in each gap."""
    answer = Api(api.removesuffix("/api")).ask("GET", "/openapi.json")
    described = json.loads(answer.body)["paths"]
    return [
        (method.upper(), "/".join(TICKET if "{" in part else part for part in path.split("/")))
        for path, methods in described.items()
        for method in methods
    ]


def is_heard(url: str, token: str | None, **headers: str) -> bool:
    """Say whether a websocket lets somebody in."""
    address = url.replace("http://", "ws://")
    subprotocols = [] if token is None else [Subprotocol("prefect")]
    try:
        with connect(
            address, subprotocols=subprotocols or None, additional_headers=headers,
            proxy=None, open_timeout=20,
        ) as socket:  # fmt: skip
            socket.send(json.dumps({"type": "auth", "token": token}))
            answer = json.loads(socket.recv(timeout=20))
            return bool(answer.get("type") == "auth_success")
    except (InvalidStatus, ConnectionClosed):
        return False


@every_stranger
def test_prefect_answers_no_stranger(
    scheduled: str, pages: tuple[str, str], who: dict[str, str]
) -> None:
    for api in (scheduled, pages[0]):
        routes = prefect_routes(api)
        open_to_all = {("GET", "/health"), ("GET", "/ready")}
        assert len(routes) > 100
        assert open_to_all <= set(routes)

        shut = [route for route in routes if route not in open_to_all]
        assert opened(statuses(Api(api, who), some(shut, who))) == {}


@pytest.mark.parametrize("path", SOCKETS)
def test_no_websocket_lets_a_stranger_in(
    place: Path, scheduled: str, pages: tuple[str, str], path: str
) -> None:
    login = (place / ".prefect" / "login").read_text("utf-8").strip()
    for api in (scheduled, pages[0]):
        assert not is_heard(f"{api}{path}", None)
        assert not is_heard(f"{api}{path}", "")
        assert not is_heard(f"{api}{path}", "tessera:tessera", Origin="http://evil.example")
        assert is_heard(f"{api}{path}", login)


def test_a_page_from_elsewhere_is_told_that_it_may_not_ask(
    scheduled: str, pages: tuple[str, str]
) -> None:
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    asks |= {"Access-Control-Request-Headers": "content-type,authorization"}
    for address, path in (
        (scheduled, "/flow_runs/filter"),
        (pages[0], "/flow_runs/filter"),
        (pages[1], "/ajax-api/2.0/mlflow/runs/search"),
    ):
        answer = Api(address).ask("OPTIONS", path, **asks)

        assert answer.status >= 400
        assert "access-control-allow-origin" not in {name.lower() for name in answer.headers}


def mlflow_routes() -> list[tuple[str, str]]:
    """Return method and path of all that MLflow's two applications offer."""
    from mlflow.server import app

    rules = [
        (method, "/".join(TICKET if "<" in part else part for part in rule.rule.split("/")))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    others = ["/v1/traces", "/gateway/x/mlflow/invocations", "/docs", "/openapi.json", "/version"]
    return [*rules, *(("POST", path) for path in others), *(("GET", path) for path in others)]


@every_stranger
def test_mlflow_answers_no_stranger(pages: tuple[str, str], who: dict[str, str]) -> None:
    routes = [route for route in mlflow_routes() if route != ("GET", "/health")]
    wanted = {
        "/graphql", "/get-artifact", "/model-versions/get-artifact",
        "/api/2.0/mlflow/runs/search", "/ajax-api/2.0/mlflow/experiments/search",
        f"/api/2.0/mlflow-artifacts/artifacts/{TICKET}",
    }  # fmt: skip
    assert wanted <= {path for _, path in routes}

    assert opened(statuses(Api(pages[1], who), some(routes, who))) == {}


def test_mlflow_shows_its_owner_everything_but_not_through_a_page_from_elsewhere(
    place: Path, pages: tuple[str, str]
) -> None:
    owner = owner_of(place, pages[1])
    search = "/ajax-api/2.0/mlflow/experiments/search?max_results=5"

    assert "experiments" in owner.get(search)
    assert owner.ask("GET", "/").status == 200
    for host_or_origin in STRANGERS.values():
        if {"Host", "Origin"} & set(host_or_origin):
            assert owner.ask("GET", search, **host_or_origin).status == 403
    assert owner.ask("GET", search, Origin=pages[1]).status == 200


def attack(place: Path, marker: Path) -> dict[str, Any]:
    """Return job variables that would run a program of an attacker's."""
    program = f"from pathlib import Path; Path({str(marker)!r}).touch()"
    hook = marker.parent / "hooks"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(program, encoding="utf-8")
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"
    return {
        "command": command,
        "env": {"PYTHONPATH": str(hook), "PREFECT_TEST": "x"},
        "env.PYTHONPATH": str(hook),
        "working_dir": str(hook),
    }


def test_even_with_the_password_a_run_brings_no_command_along(
    place: Path, scheduled: str, tmp_path: Path
) -> None:
    owner, marker = owner_of(place, scheduled), tmp_path / "executed"
    variables = attack(place, marker)
    deployment = owner.get("/deployments/name/retrain/manual")
    create = f"/deployments/{deployment['id']}/create_flow_run"
    body = {"parameters": {"root": str(tmp_path / "nowhere")}}

    for name, value in variables.items():
        refused = owner.ask("POST", create, {**body, "job_variables": {name: value}})
        assert refused.status == 422, (name, refused)

    # These ways in are not compared with the template: the worker gets run and variables.
    changed = owner.ask("PATCH", f"/deployments/{deployment['id']}", {"job_variables": variables})
    assert changed.status == 204
    slipped = owner.post(
        "/flow_runs/",
        {
            **body,
            "flow_id": deployment["flow_id"], "deployment_id": deployment["id"],
            "work_pool_name": "tessera", "job_variables": variables,
            "state": {"type": "SCHEDULED"},
        },
    )  # fmt: skip

    def ended() -> Any:
        run = owner.get(f"/flow_runs/{slipped['id']}")
        return run if run["state"]["type"] in ENDED else None

    run = wait_for("the run's end", ended, 120)
    assert "holds no params.yaml" in run["state"]["message"]
    assert not marker.exists()


def test_the_password_is_the_owners_alone_and_on_no_command_line(
    place: Path, scheduled: str, pages: tuple[str, str]
) -> None:
    file = place / ".prefect" / "login"
    password = file.read_bytes().strip().partition(b":")[2]
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert any(b"mlflow_door" in line for line in lines)
    assert not any(password in line for line in lines)


def test_the_server_that_a_run_starts_for_itself_is_shut_too(place: Path) -> None:
    probe = """
import sys, urllib.error, urllib.request
from pathlib import Path
from flows.settings import activate
activate(Path(sys.argv[1]))
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    assert client.read_flows() == []
    address = str(client.api_url).rstrip("/") + "/flows/filter"
assert "127.0.0.1" in address, address
request = urllib.request.Request(address, b"{}", {"Content-Type": "application/json"})
try:
    print(urllib.request.urlopen(request, timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
    fresh = place.parent / "fresh"
    fresh.mkdir()

    assert run_in(place, "-c", probe, str(fresh)).stdout.split() == ["401"]
    assert not (fresh / ".prefect" / "login").exists()
