"""What the servers on this machine let in: one user and password, readable by the owner alone."""

import os
import secrets
from pathlib import Path
from typing import Final

from tessera_core.errors import ConfigError, StorageError

LOGIN_NAME: Final = "login"
USER: Final = "tessera"
OTHERS: Final = 0o077


def read_login(home: Path) -> str | None:
    """Return ``user:password`` of a Prefect folder, or None when no server was started there yet.

    Raises:
        ConfigError: The file is empty or unreadable, or others than its owner can read it.
    """
    path = home / LOGIN_NAME
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the servers' password in {path} ({type(error).__name__}); it belongs to "
            "who started the servers: run as that user, or name another folder in PREFECT_HOME"
        ) from error
    if mode & OTHERS:
        raise ConfigError(
            f"{path} has mode {mode & 0o777:o}, expected 600: others may know the servers' "
            "password. End the servers, delete the file and start them again; where files keep "
            "no mode, name a folder on another disk in PREFECT_HOME"
        )
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ConfigError(
            f"{path} holds no `user:password`; end the servers, delete it and start them again"
        )
    return text


def draw_login() -> str:
    """Return a new ``user:password``."""
    return f"{USER}:{secrets.token_urlsafe(24)}"


def keep_login(home: Path) -> str:
    """Return what ``read_login`` returns, after drawing it where there is none.

    Raises:
        ConfigError: What is there cannot be used.
        StorageError: The folder cannot be written to.
    """
    if (known := read_login(home)) is not None:
        return known
    draft = home / f".{LOGIN_NAME}-{secrets.token_hex(8)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{draw_login()}\n")
        try:
            # Complete or absent, and never in place of what another process has put there.
            os.link(draft, home / LOGIN_NAME)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise StorageError(
            f"cannot keep the servers' password in {home}: {error.strerror}; make the folder "
            "writable or name another one in PREFECT_HOME"
        ) from error
    return keep_login(home)
