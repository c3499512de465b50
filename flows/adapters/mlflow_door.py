"""MLflow's pages behind a password: ``python -m flows.adapters.mlflow_door HOST PORT``.

MLflow's own check of hosts lets every name in that starts like a private address, such as
``10.example.org``, and asks nobody who they are. The password and the databases come from the
environment, since every user of a machine can read a command line.
"""

import base64
import binascii
import hmac
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from flows.settings import Settings, hand_over, origins

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN: Final = "/health"
"""Says that the server is up, and nothing else."""

CHALLENGE: Final = (b"www-authenticate", b'Basic realm="tessera", charset="UTF-8"')


class Door:
    """An ASGI application that passes on what comes from our own pages with the password."""

    def __init__(self, app: App, login: str, port: int) -> None:
        self._app = app
        self._login = login.encode()
        self._origins = origins(port).split(",")
        self._hosts = [origin.removeprefix("http://") for origin in self._origins]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or let the application answer."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] == OPEN):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif refused := self._refusal(dict(scope["headers"])):
            status, why = refused
            headers = [(b"content-type", b"text/plain"), *([CHALLENGE] if status == 401 else [])]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": why.encode()})
        else:
            await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Return why a request goes no further: a foreign page, or no password."""
        if headers.get(b"host", b"").decode("latin-1") not in self._hosts:
            return 403, f"this server is known as {' or '.join(self._hosts)} only\n"
        if b"origin" in headers and headers[b"origin"].decode("latin-1") not in self._origins:
            return 403, "a page from elsewhere may not ask this server\n"
        scheme, _, word = headers.get(b"authorization", b"").partition(b" ")
        try:
            shown = base64.b64decode(word, validate=True)
        except binascii.Error:
            shown = b""
        if scheme.lower() != b"basic" or not hmac.compare_digest(shown, self._login):
            return 401, "log in with what `tessera ui` names\n"
        return None


def main(host: str, port: int) -> None:
    """Serve MLflow's API and pages on the database that the settings name."""
    settings = Settings()
    from mlflow.server import constants

    uri = settings.mlflow_tracking_uri
    # What `mlflow server` says of artifacts when nobody tells it otherwise.
    artifacts = settings.mlflow_artifacts or "mlflow-artifacts:/"
    hand_over(
        {
            constants.BACKEND_STORE_URI_ENV_VAR: uri,
            # Else a registry that the environment names would be shown beside the checkout's runs.
            constants.REGISTRY_STORE_URI_ENV_VAR: uri,
            constants.ARTIFACT_ROOT_ENV_VAR: artifacts,
            constants.ARTIFACTS_DESTINATION_ENV_VAR: "./mlartifacts",
            constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        }
    )
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(uri, uri, artifacts)
    login = settings.prefect_server_api_auth_string.get_secret_value()
    uvicorn.run(Door(app, login, port), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
