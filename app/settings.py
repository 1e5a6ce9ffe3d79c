"""Every setting of the broker, as one typed object read from `GAIN_*` variables."""

import os
from collections import Counter
from functools import lru_cache
from math import log2
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

NO_BROKER = "none"
"""The broker URL of a system that has none."""


class Settings(BaseSettings):
    """The configuration of one process. Each field is the variable `GAIN_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="GAIN_", extra="ignore", secrets_dir=None)

    environment: Literal["development", "production"] = Field(
        default="development",
        description="`production` refuses to start with the simulation on, a weak secret, a key ring of tests, "
        "as a superuser or owner of the database, where its commits do not last, or a scheduler whose checkpoints "
        "of the log would stay in the database.",
    )
    data_dir: Path = Field(
        default=Path(".gain"),
        description="Folder of the embedded PostgreSQL and Valkey, their logs, the generated secret and key ring.",
    )
    database_url: str = Field(
        default="",
        description="postgresql+asyncpg://… of a real server. Empty: the embedded PostgreSQL under the data directory.",
    )
    database_password_file: Path | None = Field(
        default=None,
        description="File holding the password for `database_url`, where that names a user and no password.",
    )
    gateway_password_file: Path | None = Field(
        default=None,
        description="File holding the password that `gain migrate` gives the database role gain_gateway, which the "
        "gateway signs in as. Empty: it sets none.",
    )
    worker_password_file: Path | None = Field(
        default=None, description="The same for gain_worker, which workers and schedulers sign in as."
    )
    auditor_password_file: Path | None = Field(
        default=None, description="The same for gain_auditor, which commands that read the log may sign in as."
    )
    broker_url: str = Field(
        default="",
        description="redis:// or valkey:// URL of a real broker; it carries wake-ups only. Empty: the embedded Valkey. "
        "`none`: no broker, for workers that run with --no-broker.",
    )
    secret: SecretStr = Field(
        default=SecretStr(""),
        description="Master secret (at least 32 characters) from which the keys for credentials, idempotency and "
        "cursors are derived. `gain up` generates one in the data directory.",
    )
    secret_file: Path | None = Field(
        default=None, description="File holding the master secret, for Docker and Kubernetes secrets."
    )
    key_ring: SecretStr = Field(
        default=SecretStr(""),
        description="Keys that wrap the data keys of all content: `id:key` with spaces between, the current one marked "
        "`*id:key`. `gain up` generates one in the data directory.",
    )
    key_ring_file: Path | None = Field(
        default=None,
        description="File holding the key ring, one entry a line; processes read it again when it changes.",
    )
    host: str = Field(default="127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port of the gateway; 0 takes a free one.")
    public_url: str = Field(
        default="", description="URL under which others reach the gateway; empty: built from host and port."
    )
    gateway_processes: int = Field(default=1, ge=1, le=64, description="Gateway processes that share the port.")
    worker_processes: int = Field(
        default=2, ge=1, le=64, description="Child processes of one worker; two suit two cores."
    )
    database_pool: int = Field(
        default=10, ge=1, le=200, description="Connections a process may hold open; a burst waits, then gets a 503."
    )
    database_wait_seconds: float = Field(
        default=1.5,
        gt=0,
        description="Longest wait for a connection before 503: under two seconds, so no client's own timeout is hit.",
    )
    database_answer_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Longest the gateway waits for PostgreSQL to answer one statement, before 503: it may be frozen.",
    )
    body_limit_bytes: int = Field(
        default=256 * 1024, ge=1024, description="Largest request body; over it 413 (contract: 256 KiB)."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Lowest level logged.")
    backlog_referrals: int = Field(
        default=20_000,
        ge=1,
        description="Accepted referrals that may wait for their dispatches before routine ones are refused with 503; "
        "for priority ones 1.5 times as many, for urgent ones twice.",
    )
    backlog_seconds: float = Field(
        default=120.0,
        gt=0,
        description="How long the oldest of them may wait before routine ones are refused; priority ones after 1.5 "
        "times as long, urgent ones never for this reason.",
    )
    push_hosts: str = Field(
        default="",
        description="Hosts that notices may be pushed to, approved by an administrator: names with commas between. "
        "`name=network` also allows addresses that are not public, such as `hub.example=10.4.0.0/16`. Empty: no push.",
    )
    smtp_url: SecretStr = Field(
        default=SecretStr(""),
        description="Mail server for notices: smtp://user@host:587 (STARTTLS) or smtps://user@host:465. Empty: none.",
    )
    smtp_password_file: Path | None = Field(
        default=None, description="File holding the mail server's password, where `smtp_url` names a user and none."
    )
    email_from: str = Field(default="", description="Address that notices by email come from.")
    notices_per_minute: int = Field(
        default=600, ge=1, description="Pushed notices an agency gets a minute; urgent ones are not held back."
    )
    log_origin: str = Field(
        default="gain.invalid/audit",
        min_length=1,
        max_length=200,
        pattern=r"^[^\s+]+$",
        description="Name of the audit log in its checkpoints, unique to this broker: an address without `https://`.",
    )
    checkpoint_file: Path | None = Field(
        default=None,
        description="File that signed checkpoints of the audit log are appended to, best on another machine's disk. "
        "Empty: `checkpoints.jsonl` in the data directory, where there is one. In production schedulers need this or "
        "a witness.",
    )
    witness_url: str = Field(
        default="", description="Prefix of a witness (C2SP tlog-witness) that checkpoints are sent to. Empty: none."
    )
    audit_retention_days: int = Field(
        default=0, ge=0, description="Days after which `gain audit prune` deletes entries' content; 0 keeps all."
    )
    agency_in_flight: int = Field(
        default=20,
        ge=1,
        description="Calls that one process makes to one agency at once; several processes make as many each.",
    )
    require_tokens: bool = Field(
        default=False,
        description="Bare keys are refused as bearer credentials: they are exchanged at POST /v1/token, and still open "
        "a session at the sign-in page.",
    )
    token_key_version: int = Field(
        default=1,
        ge=1,
        description="Number of the key that signs tokens; one higher rotates it, two refuses what it signed at once.",
    )
    client_cert_proxy: str = Field(
        default="",
        description="Networks (CIDR, commas between) of the proxies whose Client-Cert header (RFC 9440) is believed: "
        "tokens are then bound to the client's certificate. Empty: nobody's.",
    )
    forwarding_proxy: str = Field(
        default="",
        description="Networks (CIDR, commas between) of the proxies whose last X-Forwarded-For address is believed "
        "where a key is limited to source networks. Empty: nobody's.",
    )
    rate_per_key: str = Field(
        default="600000/minute", description="Requests of one key, such as 600/minute or 20/second. Empty: no limit."
    )
    rate_per_party: str = Field(
        default="1200000/minute", description="Requests of all keys of one party together. Empty: no limit."
    )
    session_idle_minutes: int = Field(
        default=30, ge=1, le=720, description="Minutes without a request after which a page's session ends."
    )
    key_sign_in: bool = Field(
        default=True,
        description="The pages can be signed in to with an API key too. Off: with a person's account only.",
    )
    oidc_issuer: str = Field(
        default="",
        description="OpenID provider (its issuer URL) that people may sign in with beside their password. Empty: none.",
    )
    oidc_client_id: str = Field(default="", description="What that provider calls this broker.")
    oidc_client_secret_file: Path | None = Field(
        default=None, description="File holding the client secret for that provider. Empty: a public client, by PKCE."
    )
    oidc_name: str = Field(default="your organisation", description="What the sign-in page calls that provider.")
    oidc_acr: str = Field(
        default="",
        description="Authentication context (`acr`) that the provider must vouch for, such as one with two factors. "
        "Empty: whatever the provider asks people for.",
    )
    purpose_roles: str = Field(
        default="",
        description="Roles (commas between) that must state why they read a referral or its answers, by "
        "`GAIN-Purpose`; on pages once a session. The log keeps it. Empty: nobody must, anybody may.",
    )
    simulate: bool = Field(
        default=False, description="The simulated bodies answer. Off: every body works from its inbox."
    )
    simulation_seed: int = Field(default=20151112, description="Seed of the synthetic population and its registers.")
    simulation_speed: float = Field(
        default=20_000.0,
        ge=0,
        description="How much faster than life the simulated bodies work; 0 means instant. "
        "Never scales due dates or leases.",
    )

    @model_validator(mode="after")
    def _put_password_into_database_url(self) -> Self:
        """Complete `database_url` from `database_password_file`; raises `SettingsError` where that cannot be read."""
        target = urlsplit(self.database_url)
        if self.database_password_file is None or target.username is None or target.password is not None:
            return self
        password = quote(_content(self.database_password_file), safe="")
        user, _, host = target.netloc.rpartition("@")
        self.database_url = target._replace(netloc=f"{user}:{password}@{host}").geturl()
        return self

    @model_validator(mode="after")
    def _production_is_real(self) -> Self:
        """Raises `SettingsError` where simulated bodies would answer real referrals."""
        if self.environment == "production" and self.simulate:
            raise SettingsError("GAIN_ENVIRONMENT=production and GAIN_SIMULATE=true exclude one another; unset one.")
        return self

    @model_validator(mode="after")
    def _email_is_whole(self) -> Self:
        """Raises `SettingsError` where notices would come from nobody."""
        if self.smtp_url.get_secret_value() and "@" not in self.email_from:
            raise SettingsError("GAIN_SMTP_URL is set: GAIN_EMAIL_FROM must be the address that notices come from.")
        return self

    @model_validator(mode="after")
    def _witness_is_an_address(self) -> Self:
        """Raises `SettingsError` where checkpoints would be sent to what is no address."""
        if self.witness_url and urlsplit(self.witness_url).scheme not in ("http", "https"):
            raise SettingsError("GAIN_WITNESS_URL must begin with https:// (or http:// within a closed network).")
        return self

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        """Raises `SettingsError` where people would be sent to a provider that cannot be trusted to be the one."""
        if not self.oidc_issuer:
            return self
        target = urlsplit(self.oidc_issuer)
        if target.scheme != "https" and (self.environment == "production" or target.hostname not in _LOOPBACK):
            raise SettingsError("GAIN_OIDC_ISSUER must begin with https://.")
        if not self.oidc_client_id:
            raise SettingsError("GAIN_OIDC_ISSUER is set: GAIN_OIDC_CLIENT_ID must be what it calls this broker.")
        return self

    @property
    def checkpoints(self) -> Path | None:
        """The file that signed checkpoints are appended to; None where neither it nor a data directory is there."""
        if self.checkpoint_file is not None:
            return self.checkpoint_file
        return self.data_dir / "checkpoints.jsonl" if self.data_dir.is_dir() else None

    @property
    def url(self) -> str:
        """The gateway's base URL as others reach it, without a trailing slash."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @property
    def mark(self) -> str:
        """What API keys carry of the environment: `dev` or `live`."""
        return "live" if self.environment == "production" else "dev"

    def master_secret(self) -> bytes:
        """The master secret's bytes; raises `SettingsError` where it is missing, shorter than 32 characters or weak."""
        text = self.secret.get_secret_value()
        if self.secret_file is not None:
            text = _content(self.secret_file)
        if len(text) < 32:
            raise SettingsError(
                "GAIN_SECRET (or GAIN_SECRET_FILE) must hold at least 32 characters; "
                "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        if self.environment == "production" and (weakness := _weakness(text)):
            raise SettingsError(
                f"GAIN_SECRET {weakness}; production takes a random one: "
                "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        return text.encode()

    def has_key_ring(self) -> bool:
        """Whether a key ring is named; what it holds is another question."""
        return bool(self.key_ring.get_secret_value()) or self.key_ring_file is not None

    def gateway_password(self) -> str:
        """The password of the role gain_gateway, empty where none is named; raises `SettingsError`, as the next two."""
        return _content(self.gateway_password_file) if self.gateway_password_file else ""

    def worker_password(self) -> str:
        """The password of the role gain_worker."""
        return _content(self.worker_password_file) if self.worker_password_file else ""

    def auditor_password(self) -> str:
        """The password of the role gain_auditor."""
        return _content(self.auditor_password_file) if self.auditor_password_file else ""

    def refuse_log_that_nothing_outside_holds(self) -> None:
        """Raises `SettingsError` where production would keep the log's checkpoints beside the log alone.

        Whoever owns the database could then rewrite both, and nobody could tell.
        """
        file = self.checkpoints
        if self.environment != "production":
            return
        if file is None and not self.witness_url:
            raise SettingsError(
                "GAIN_CHECKPOINT_FILE or GAIN_WITNESS_URL must be set: production keeps what the audit log promises "
                "outside the database too (docs/audit.md)."
            )
        if file is not None and not os.access(file if file.exists() else file.parent, os.W_OK):
            raise SettingsError(f"GAIN_CHECKPOINT_FILE: {file} cannot be written.")

    def refuse_key_ring_of_tests(self) -> None:
        """Raises `SettingsError` where production would seal under a key that is not random. Those of a KMS pass."""
        text = self.key_ring.get_secret_value()
        if self.key_ring_file is not None:
            text = _content(self.key_ring_file)
        weak = [entry for entry in text.split() if len(set(entry.rpartition(":")[2])) < _LEAST_DIFFERENT]
        if self.environment == "production" and weak:
            raise SettingsError("the key ring holds a key that is not random; make one with: gain keyring new")

    def oidc_client_secret(self) -> str:
        """The secret in `oidc_client_secret_file`, empty where none is named; raises `SettingsError`."""
        return _content(self.oidc_client_secret_file) if self.oidc_client_secret_file else ""

    def smtp_password(self) -> str:
        """The password in `smtp_password_file`, empty where none is named; raises `SettingsError`."""
        return _content(self.smtp_password_file) if self.smtp_password_file else ""

    @property
    def has_broker(self) -> bool:
        """Whether wake-ups go through a broker at all. `none` is said, not left out: a forgotten URL is refused."""
        return self.broker_url != NO_BROKER

    def broker(self) -> str:
        """The broker URL as kombu reads it: it knows no `valkey://` scheme, the protocol is the same."""
        return self.broker_url.replace("valkey://", "redis://", 1).replace("valkeys://", "rediss://", 1)


class SettingsError(RuntimeError):
    """A setting that keeps a process from starting; its text says what to do."""


_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LEAST_BITS = 96  # by the frequencies of its own characters: 32 random hexadecimal digits have about 115
_LEAST_DIFFERENT = 16  # of the 43 characters of a ring key; a random one has about 31
_OF_DEMONSTRATIONS = ("changeme", "change-me", "example", "password", "secret", "default", "12345678", "abcdefgh")


def _weakness(text: str) -> str:
    """What makes a secret look made up rather than random, or nothing. Pure; the text is not repeated."""
    if any(character.isspace() for character in text):
        return "is made of words"
    if any(word in text.lower() for word in _OF_DEMONSTRATIONS):
        return "holds a word of demonstrations"
    if text in (text + text)[1:-1]:
        return "repeats itself"
    counts = Counter(text)
    bits = -sum(count * log2(count / len(text)) for count in counts.values())
    return "" if bits >= _LEAST_BITS else "has too few different characters"


def _content(file: Path) -> str:
    """The text of a secret's file without its line end; raises `SettingsError`."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; it must hold a secret this process may read.") from error


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
