"""An OpenID provider for tests: a real HTTP server with discovery, PKCE, one-time codes and signed tokens.

It signs whoever it is told to in without asking, and can be told to answer wrongly in each way that matters.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, CLIENT_SECRET = "gain-broker", "a client secret of tests"
_KEY = rsa.generate_private_key(65537, 2048)
_OTHER_KEY = rsa.generate_private_key(65537, 2048)


@dataclass
class Provider:
    """The provider as it stands: who is signed in there, what it says of them, and how it goes wrong."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    wrong: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        self.asked.append(query)
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        state = "another" if self.wrong == "state" else query["state"]
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': state})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The answer to a code, or None where it is not good."""
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or asked["code_challenge_method"] != "S256":
            return None
        if challenge.rstrip(b"=").decode() != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return None
        if not _is_client(authorization):
            return None
        return {"access_token": "unused", "token_type": "Bearer", "id_token": self.id_token(asked), "expires_in": 60}

    def id_token(self, asked: dict[str, str]) -> str:
        """A token about whoever is signed in."""
        now = int(time.time())
        claims = {
            "iss": "https://elsewhere.example" if self.wrong == "iss" else self.url,
            "aud": "another-client" if self.wrong == "aud" else CLIENT,
            "nonce": "another" if self.wrong == "nonce" else asked["nonce"],
            "iat": now,
            "exp": now - 3600 if self.wrong == "exp" else now + 60,
            "auth_time": now - (3600 if self.wrong == "auth_time" else 0),
            **self.claims,
        }
        if self.wrong == "alg":
            return jwt.encode(claims, key="", algorithm="none")
        return jwt.encode(
            claims, _OTHER_KEY if self.wrong == "signature" else _KEY, algorithm="RS256", headers={"kid": "1"}
        )

    def metadata(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": "https://elsewhere.example" if self.wrong == "metadata" else self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def jwks(self) -> dict[str, Any]:
        """The public key."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_KEY.public_key()))
        return {"keys": [{**public, "kid": "1", "use": "sig", "alg": "RS256"}]}


def _is_client(authorization: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    # RFC 6749 section 2.3.1 has both parts form-encoded; not every client does that.
    expected = {
        f"{CLIENT}:{CLIENT_SECRET}",
        f"{CLIENT}:{quote_plus(CLIENT_SECRET)}",
        f"{CLIENT}:{quote(CLIENT_SECRET)}",
    }
    return scheme == "Basic" and base64.b64decode(given).decode() in expected


@contextmanager
def serving() -> Iterator[Provider]:
    """A provider on a port of its own, for the length of the block."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            target = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(target.query).items()}
            if target.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.end_headers()
                return
            found = {"/.well-known/openid-configuration": provider.metadata, "/jwks": provider.jwks}.get(target.path)
            self._answer(404 if found is None else 200, {} if found is None else found())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            answer = provider.token(form, self.headers.get("authorization", ""))
            self._answer(*((400, {"error": "invalid_grant"}) if answer is None else (200, answer)))

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
