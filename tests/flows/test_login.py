"""The password of the servers on this machine: who gets it, and when it is refused."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flows.servers.login import keep_login, read_login
from flows.settings import activate
from tessera_core.errors import ConfigError, StorageError

SERVER, CLIENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
NAMES = (SERVER, CLIENT, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "no_proxy")


def chosen(repo: Path, root: Path, *, serves: bool = False, **given: str) -> dict[str, str | None]:
    """Return what a process hands to its libraries."""
    code = (
        "import json, os, sys; from pathlib import Path; from flows.settings import activate;"
        f"activate(Path(sys.argv[1]), serves={serves});"
        f"print(json.dumps({{name: os.environ.get(name) for name in {NAMES}}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        env={"PYTHONPATH": str(repo), **given}, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def test_it_is_drawn_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert read_login(home) is None

    first = keep_login(home)

    assert keep_login(home) == read_login(home) == first
    assert len(first.removeprefix("tessera:")) >= 32
    assert [path.name for path in home.iterdir()] == ["login"]
    assert stat.S_IMODE((home / "login").stat().st_mode) == 0o600
    assert keep_login(tmp_path / "other") != first


@pytest.mark.parametrize("text", ["", "tessera", "tessera:", ":word", "\n"])
def test_a_file_without_a_password_opens_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "login").touch(mode=0o600)
    (tmp_path / "login").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match="holds no `user:password`"):
        keep_login(tmp_path)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keep_login(tmp_path)
    (tmp_path / "login").chmod(0o640)

    with pytest.raises(ConfigError, match=r"has mode 640, expected 600.*start them again"):
        read_login(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises((ConfigError, StorageError), match="home"):
        keep_login(tmp_path / "home")


def test_commands_and_servers_of_a_checkout_know_the_same(repo: Path, tmp_path: Path) -> None:
    server = chosen(repo, tmp_path, serves=True)
    command = chosen(repo, tmp_path)

    assert server[SERVER] == server[CLIENT] == command[CLIENT] == read_login(tmp_path / ".prefect")


def test_a_command_alone_is_shut_too_and_writes_nothing_down(repo: Path, tmp_path: Path) -> None:
    first, second = chosen(repo, tmp_path), chosen(repo, tmp_path)

    assert first[SERVER] == first[CLIENT] != second[CLIENT] == second[SERVER]
    assert not (tmp_path / ".prefect").exists()


def test_other_machines_do_not_get_it(repo: Path, tmp_path: Path) -> None:
    given = {
        "PREFECT_API_URL": "https://prefect.example.org/api",
        "MLFLOW_TRACKING_URI": "https://mlflow.example.org",
    }
    away = chosen(repo, tmp_path, serves=True, **given)
    near = chosen(repo, tmp_path, **{**given, "MLFLOW_TRACKING_URI": "http://localhost:5000"})

    assert away[SERVER] == read_login(tmp_path / ".prefect")
    assert away[CLIENT] is None
    assert away["MLFLOW_TRACKING_PASSWORD"] is None
    assert f"tessera:{near['MLFLOW_TRACKING_PASSWORD']}" == away[SERVER]


def test_what_the_user_gives_counts(repo: Path, tmp_path: Path) -> None:
    mine = {CLIENT: "ann:word", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}
    kept = {"MLFLOW_TRACKING_USERNAME": "bob", "MLFLOW_TRACKING_PASSWORD": "other"}
    told = chosen(repo, tmp_path, serves=True, **mine, **kept)

    assert told[SERVER] == told[CLIENT] == "ann:word"
    assert told["MLFLOW_TRACKING_USERNAME"] == "bob"
    assert not (tmp_path / ".prefect").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "example.org"}, "example.org,127.0.0.1,localhost,::1"),
        ({"no_proxy": "localhost, a.b"}, "localhost,a.b,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_this_machine_is_never_asked_through_a_proxy(
    repo: Path, tmp_path: Path, given: dict[str, str], expected: str
) -> None:
    assert chosen(repo, tmp_path, http_proxy="http://127.0.0.1:9", **given)["no_proxy"] == expected


def test_settings_hide_it(root: Path, own_environment: None) -> None:
    settings = activate(root, serves=True)

    assert os.environ[CLIENT] not in repr(settings)
    assert settings.prefect_server_api_auth_string.get_secret_value() == os.environ[SERVER]
