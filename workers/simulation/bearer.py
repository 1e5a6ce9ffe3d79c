"""How an outside client shows who it is: by its key, or by what it gets for it where only tokens are taken."""

from collections.abc import Generator

import httpx


class KeyOrToken(httpx.Auth):
    """Sends the key until it is refused; from then on a token, exchanged for the key anew whenever one is over."""

    requires_response_body = True

    def __init__(self, key: str) -> None:
        self._key = key
        self._shown = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Authenticate one request; of a refusal the client sees the last."""
        request.headers["Authorization"] = f"Bearer {self._shown}"
        answer = yield request
        if answer.status_code != 401:
            return
        form = {"grant_type": "client_credentials", "client_secret": self._key}
        granted = yield httpx.Request("POST", request.url.join("/v1/token"), data=form)
        if granted.status_code != 200:
            return
        self._shown = granted.json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self._shown}"
        yield request
