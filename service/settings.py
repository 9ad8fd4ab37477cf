"""Settings: read once from the environment (`COVERCARD_…`), then handed on as values.

Each is a row of the README's table; a test holds the two against each other.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, FilePath, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import ConfigurationError
from service.fhir.outbound import parse_base

_BUILT_IN = Path(__file__).parent / "policies"


class Settings(BaseSettings):
    """Everything that an operator can set."""

    model_config = SettingsConfigDict(env_prefix="COVERCARD_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8642, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes.")
    public_url: str = Field(
        "",
        description="Base URL seen from outside, for links. Default: the address listened on.",
    )
    policies_dir: Path = Field(_BUILT_IN / "library", description="Folder of policies and notices.")
    payers_file: Path = Field(
        _BUILT_IN / "payers.yaml", description="YAML of the payers that are answered for."
    )
    time_zone: str = Field("UTC", description="IANA name of the time zone in which a day begins.")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body in bytes.")
    notice_suggestion: Literal["none", "task", "task-and-form", "task-form-and-response"] = Field(
        "task",
        description=(
            "What a button of the notice card creates: task; task-and-form: also the "
            "Questionnaire, where the EHR was asked and has none; task-form-and-response: also "
            "a response begun, which CRD's form completion does not foresee; none: no button, "
            "for EHRs that find forms by DTR."
        ),
    )
    cors_origins: str = Field(
        "", description="Origins that browsers may call from, separated by blanks."
    )

    fhir_servers: str = Field(
        "",
        description="FHIR base URLs that any client may name, separated by blanks, beside its own.",
    )
    fhir_networks: str = Field(
        "",
        description=(
            "Networks that are not public (CIDR, separated by blanks) in which EHRs may stand."
        ),
    )
    fhir_ca_file: FilePath | None = Field(
        None, description="PEM of the authorities that EHRs' certificates are checked by."
    )
    fetch_budget_ms: int = Field(
        2000, ge=0, le=30_000, description="Milliseconds for fetching what a call lacks; 0: never."
    )
    fetch_max_bytes: int = Field(
        2_097_152, ge=1024, description="Most bytes that are read from an EHR for one call."
    )
    fetch_max_pages: int = Field(
        3, ge=1, le=100, description="Most pages that are read of one search."
    )
    database_url: str = Field(
        "sqlite:///var/covercard.sqlite3",
        description="Where the decision log is: `sqlite:///FILE` or `postgresql+psycopg://…`.",
    )
    spool_dir: Path = Field(
        Path("var/spool"),
        description="Folder that keeps records durably while the database is away.",
    )
    record_timeout_ms: int = Field(
        250,
        ge=20,
        le=5000,
        description="Longest wait for the database, in milliseconds; then the spool is used.",
    )
    retention_days: int = Field(
        3653, ge=1, description="Days that the decision log is kept before it may be pruned."
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                "no such time zone; use an IANA name such as America/Denver"
            ) from error
        return name

    @field_validator("public_url")
    @classmethod
    def _no_trailing_slash(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http:// on loopback)")
        return url.rstrip("/")

    @field_validator("fhir_servers")
    @classmethod
    def _base_urls(cls, urls: str) -> str:
        for url in urls.split():
            parse_base(url)
        return urls

    @field_validator("fhir_networks")
    @classmethod
    def _known_networks(cls, networks: str) -> str:
        for network in networks.split():
            ip_network(network)
        return networks

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must begin with sqlite:/// or postgresql+psycopg://")
        return url

    @cached_property
    def base_url(self) -> str:
        """The public base URL without a trailing slash."""
        if self.public_url:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def allowed_origins(self) -> frozenset[str]:
        return frozenset(self.cors_origins.split())

    @cached_property
    def on_loopback(self) -> bool:
        """Whether the listening address can be reached from this machine only."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment; ConfigurationError names each variable that is wrong."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = [f"COVERCARD_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("\n".join(wrong)) from None
