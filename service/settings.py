"""Settings from the environment (`COVERCARD_…`), read once.

docs/configuration.md lists them; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AliasChoices,
    DirectoryPath,
    Field,
    FilePath,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.accepted_risks import RISKS, refused_risks
from service.addresses import is_loopback
from service.database.urls import is_sqlite
from service.ehr.allowlist import parse_base
from service.ehr.server_aliases import ServerAliases
from service.errors import ConfigurationError
from service.fhir.encounters import own_classes
from service.machine import workers_for_this_machine

_PREFIX = "COVERCARD_"
_SQLITE = "sqlite:///"
_BUILT_IN = Path(__file__).parent / "policies"
_FORMER = {
    "SPOOL_DIR": "is now COVERCARD_RECORDS_DIR, and still taken for it",
    "RECORD_TIMEOUT_MS": "is no setting any more: no answer waits for the database",
}
"""Settings of former versions → what became of them."""
SECRETS = ("database_url", "read_database_url", "payer_data")
"""Settings that may hold a password; each may stand in a file, named by the setting `…_FILE`."""
_MOST_SECRET_BYTES = 4096
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?")
_FIXTURES = Path(__file__).parent.parent / "fhir_fixtures"


class Settings(BaseSettings):
    """The operator's settings."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8642, ge=1, le=65535, description="Port to listen on.")
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Worker processes. Default: one for each core that the service may use, as long"
        " as there are 256 MB of memory for each.",
    )
    public_url: str = Field(
        "",
        description="Base URL seen from outside, for links. Default: the address listened on.",
    )
    policies_dir: Path = Field(_BUILT_IN / "library", description="Folder of policies and notices.")
    added_policies_dir: DirectoryPath | None = Field(
        None, description="A second folder, of policies alone, beside that one."
    )
    payers_file: Path = Field(
        _BUILT_IN / "payers.yaml",
        description="YAML of payers with their policies. Default: payers.yaml in the folder of"
        " policies, if there is one.",
    )
    policy_bundle: Path | None = Field(
        None,
        description="A signed bundle of policies, notices, payers and programs (`covercard policy"
        " bundle`), in place of their folders and files.",
    )
    policy_bundle_key: Path | None = Field(
        None, description="PEM file of the public key (Ed25519) that the bundle must be signed for."
    )
    former_base_urls: str = Field(
        "",
        description="Public base URLs of before, space-separated: forms named below them count.",
    )
    programs_file: Path = Field(
        _BUILT_IN / "programs.yaml",
        description="YAML of the programs and their types of payment. Default: programs.yaml in"
        " the folder of policies, if there is one.",
    )
    time_zone: str = Field("UTC", description="IANA name of the time zone in which a day begins.")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body in bytes.")
    notice_suggestion: Literal["none", "task", "task-and-form", "task-form-and-response"] = Field(
        "task",
        description=(
            "What the button of a form creates: task; task-and-form: also the "
            "Questionnaire, where the EHR was asked and has none; task-form-and-response: also "
            "a response begun, which CRD's form completion does not foresee; none: no button, "
            "for EHRs that find forms by DTR."
        ),
    )
    dtr_version: Literal["2.0", "2.2"] = Field(
        "2.2",
        description="Version of DTR that a $questionnaire-package call is answered in where it does"
        " not tell its own: 2.0 names its output PackageBundle, 2.2 packagebundle.",
    )
    cors_origins: str = Field(
        "", description="Origins that browsers may call from, separated by blanks."
    )
    clients_file: Path | None = Field(
        None, description="YAML of clients with their keys and FHIR servers."
    )
    client_auth: Literal["required", "open"] | None = Field(
        None,
        description="`required`: every call carries a client's token. `open`: none is asked for, on"
        " loopback only. Default: `open` on loopback without a clients file or a public URL of"
        " another host, else `required`.",
    )
    keys_max_age: int = Field(
        86_400,
        ge=3600,
        description="Seconds for which a client's keys are trusted while their URL is down.",
    )
    token_lifetime: int = Field(
        300,
        ge=60,
        le=3600,
        description="Longest lifetime of a client's token, exp less iat, in seconds; Epic's live"
        " 900.",
    )
    access_token_key_file: Path | None = Field(
        None,
        description="Key that signs the access tokens of SMART Backend Services, the same for all"
        " instances: at least 32 random bytes; made where there is none. Default:"
        " `access-token-key` in `COVERCARD_RECORDS_DIR`.",
    )
    calls_per_minute: int = Field(
        6000, ge=0, description="Calls that one client may make in a minute; 0 is no limit."
    )
    max_json_values: int = Field(
        100_000, ge=1000, description="JSON members and elements that one call may hold."
    )
    max_resources: int = Field(
        1000, ge=10, description="Resources that one call may hold in context and prefetch."
    )
    max_orders: int = Field(100, ge=1, description="Orders that one call may ask about.")
    max_references: int = Field(
        200, ge=10, description="Resources that one call refers to and does not hold."
    )
    call_counts: Literal["memory", "database"] | None = Field(
        None,
        description="Where calls are counted: `memory` (those of one instance, all its workers'"
        " together) or `database` (those of all instances). Default: `database` with several"
        " workers on PostgreSQL, else `memory`.",
    )
    max_concurrent_calls: int = Field(
        32, ge=1, le=512, description="Calls that one worker answers at a time; more get 503."
    )
    max_concurrent_calls_per_client: int | None = Field(
        None,
        ge=1,
        description="Calls of one client that one worker answers at a time; more get 429. Default:"
        " half of `COVERCARD_MAX_CONCURRENT_CALLS`; all of them where no client is asked for.",
    )
    max_waiting_calls: int = Field(
        64,
        ge=1,
        le=1024,
        description="Calls that wait for an EHR at a time in one worker, beside those; more get"
        " 503.",
    )
    max_waiting_calls_per_client: int | None = Field(
        None,
        ge=1,
        description="Calls of one client that wait for its EHR at a time in one worker; more get"
        " 429. Default: half of `COVERCARD_MAX_WAITING_CALLS`; all of them where no client is asked"
        " for.",
    )
    bytes_per_minute: int = Field(
        268_435_456,
        ge=1_048_576,
        description="Bytes of calls, answers and data read from its EHR that one client may have in"
        " a minute and worker; no more are kept of them.",
    )
    refused_bytes_per_minute: int = Field(
        1_048_576,
        ge=0,
        description="Bytes of one client's refused calls that are kept in a minute and worker;"
        " further ones are counted only.",
    )
    failed_tokens_per_minute: int = Field(
        60,
        ge=1,
        description="Invalid tokens that one issuer and address may send in a minute; then 429.",
    )
    proxies: int = Field(
        0,
        ge=0,
        le=8,
        description="Proxies in front that write the caller's address into `X-Forwarded-For`, and"
        " may write their own id of each request into `Covercard-Proxy-Request`.",
    )
    header_timeout: int = Field(
        10, ge=1, le=60, description="Seconds in which a request's headers must have come."
    )
    body_timeout: int = Field(
        10, ge=1, le=60, description="Seconds in which a request's body must have come; then 408."
    )
    accepted_risks: str = Field(
        "",
        description="Risks that the operator accepts, separated by blanks: `all-addresses`,"
        " `wide-networks`, `unbounded-limits`. The start is refused for those that are not named.",
    )
    workbench: Literal["auto", "on", "off"] = Field(
        "auto", description="Workbench page: on, off, or auto (on loopback only)."
    )
    fixtures_dir: Path = Field(_FIXTURES, description="Folder of the workbench's example requests.")
    pages_oidc_file: FilePath | None = Field(
        None,
        description="YAML of the OpenID provider whose ID tokens a proxy forwards to the decisions"
        " page, with the groups of each role.",
    )
    readers_file: FilePath | None = Field(
        None,
        description="YAML of readers of the decision log in a browser, with their secrets; without"
        " it the page does not exist.",
    )

    fhir_servers: str = Field(
        "",
        description="FHIR base URLs that any client may name, separated by blanks, beside its own.",
    )
    fhir_aliases: str = Field(
        "",
        description=(
            "Other base URLs of an EHR, as its references and links write them, separated by"
            " blanks: `https://gateway.example.org/fhir=https://inner.example.org/fhir`."
        ),
    )
    encounter_classes: str = Field(
        "",
        description=(
            "What the encounter classes of EHRs' own code systems mean, separated by blanks:"
            " `SYSTEM|CODE=emergency` (inpatient, ambulatory, …)."
        ),
    )
    fhir_networks: str = Field(
        "",
        description=("Non-public networks of EHRs (CIDR, separated by blanks)."),
    )
    fhir_ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authorities of EHRs."
    )
    fhir_ca_strict: bool = Field(
        False,
        description="Whether those authorities must be as RFC 5280 wants them, with key usage.",
    )
    fetch_budget_ms: int = Field(
        2000,
        ge=0,
        le=30_000,
        description="Milliseconds for fetching missing data of a call; 0: never.",
    )
    fetch_max_bytes: int = Field(
        2_097_152, ge=1024, description="Most bytes that are read from an EHR for one call."
    )
    fetch_max_pages: int = Field(
        3, ge=1, le=100, description="Most pages that are read of one search."
    )
    database_url: str = Field(
        "sqlite:///var/covercard.sqlite3",
        description="The database, with the decision log: `sqlite:///FILE` or"
        " `postgresql+psycopg://…`.",
    )
    database_url_file: Path | None = Field(
        None, description="File with `COVERCARD_DATABASE_URL`, for a URL with a password."
    )
    read_database_url: str = Field(
        "",
        description="A replica of the database, `postgresql+psycopg://…`: commands and pages read"
        " there. Records are written, and pruned, in the database itself.",
    )
    read_database_url_file: Path | None = Field(
        None, description="File with `COVERCARD_READ_DATABASE_URL`."
    )
    records_dir: Path = Field(
        Path("var/records"),
        validation_alias=AliasChoices("COVERCARD_RECORDS_DIR", "COVERCARD_SPOOL_DIR"),
        description="Folder of the segments that each record is appended to before its answer"
        " leaves.",
    )
    cache_dir: Path = Field(
        Path("var/cache"),
        description="Folder where a large policy library is kept as it was read, for a faster next"
        " start; written by this service alone.",
    )
    records_key_file: Path | None = Field(
        None,
        description="File of the key that authenticates the records. Default: `chain.key` in that"
        " folder, made at the first start.",
    )
    records_keep_hours: int = Field(
        24,
        ge=1,
        le=8784,
        description="Hours that a segment stays after its records are in the database.",
    )
    records_anchor: str = Field(
        "",
        description="File or `https://` URL that the end of each chain is told to, every minute,"
        " beside the log.",
    )
    payer_data: str = Field(
        "",
        description="What the payer itself knows of members, authorizations and network:"
        " `sqlite:///FILE` or `postgresql+psycopg://…` (filled by `covercard payer-data import`),"
        " the `https://` base URL of the payer's own FHIR server, or empty: only the call tells.",
    )
    payer_data_file: Path | None = Field(None, description="File with `COVERCARD_PAYER_DATA`.")
    payer_data_timeout_ms: int = Field(
        300,
        ge=10,
        le=10_000,
        description="Longest wait for the payer's records, in milliseconds, within the rest of"
        " `COVERCARD_FETCH_BUDGET_MS`.",
    )
    payer_data_token_url: str = Field(
        "",
        description="Token endpoint for the payer's FHIR server (OAuth 2.0 client credentials).",
    )
    payer_data_client_id: str = Field("", description="Client id at that token endpoint.")
    payer_data_secret_file: FilePath | None = Field(
        None, description="File with the client's secret at that token endpoint."
    )
    payer_data_scope: str = Field(
        "system/Patient.rs system/Coverage.rs system/ClaimResponse.rs"
        " system/ExplanationOfBenefit.rs system/PractitionerRole.rs"
        " system/OrganizationAffiliation.rs",
        description="Scopes asked for at that token endpoint, separated by blanks.",
    )
    payer_data_cache_seconds: int = Field(
        60,
        ge=0,
        le=3600,
        description="Seconds that what the payer's FHIR server answered is used again; the trace"
        " tells its age.",
    )
    otlp_endpoint: str = Field(
        "",
        description="OTLP/HTTP endpoint of a collector for traces by OpenTelemetry, such as"
        " `http://127.0.0.1:4318/v1/traces`; empty: none.",
    )
    retention_days: int = Field(
        3653,
        ge=30,
        le=36_525,
        description="Days that the decision log is kept before it may be pruned.",
    )
    retention_floor_days: int = Field(
        365,
        ge=30,
        le=36_525,
        description="Days of which no command may prune the decision log, whatever it is told.",
    )

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, told: dict[str, object]) -> dict[str, object]:
        """The settings of SECRETS, each from its file where one is named."""
        read = {
            name: _secret(name, Path(str(told[f"{name}_file"])))
            for name in SECRETS
            if told.get(f"{name}_file")
        }
        if twice := sorted(name for name in read if told.get(name)):
            setting = f"{_PREFIX}{twice[0].upper()}"
            raise ValueError(f"{setting} and {setting}_FILE are both set: keep one of them")
        return {**told, **read}

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
        if url and not _is_plain(url):
            raise ValueError(
                "must be a base URL such as https://covercard.example.org: host, port and path, and"
                " no user, password, query or fragment"
            )
        return url.rstrip("/")

    @field_validator("former_base_urls")
    @classmethod
    def _plain_bases(cls, urls: str) -> str:
        if not all(map(_is_plain, urls.split())):
            raise ValueError("list base URLs: host, port and path, and no user, query or fragment")
        return urls

    @field_validator("accepted_risks")
    @classmethod
    def _known_risks(cls, names: str) -> str:
        if unknown := set(names.split()) - set(RISKS):
            raise ValueError(f"no such risk: {min(unknown)}; known are {', '.join(RISKS)}")
        return names

    @model_validator(mode="before")
    @classmethod
    def _beside_the_policies(cls, told: dict[str, object]) -> dict[str, object]:
        """Payers and programs beside the policies, where neither file nor folder is built in."""
        found: dict[str, object] = {}
        for setting, name in (("payers_file", "payers.yaml"), ("programs_file", "programs.yaml")):
            if "policies_dir" in told and setting not in told:
                beside = Path(str(told["policies_dir"])) / name
                if beside.is_file():
                    found[setting] = beside
        return {**told, **found}

    @model_validator(mode="before")
    @classmethod
    def _bundle_alone(cls, told: dict[str, object]) -> dict[str, object]:
        """A bundle with its key, and nothing beside it that says where policies are."""
        if not told.get("policy_bundle"):
            return told
        if not told.get("policy_bundle_key"):
            raise ValueError(
                "COVERCARD_POLICY_BUNDLE_KEY: name the public key of whoever signs the bundle"
            )
        for name in ("policies_dir", "added_policies_dir", "payers_file", "programs_file"):
            if told.get(name):
                raise ValueError(
                    f"{_PREFIX}POLICY_BUNDLE and {_PREFIX}{name.upper()} are both set: keep one of"
                    " them"
                )
        return told

    @field_validator("fhir_servers")
    @classmethod
    def _base_urls(cls, urls: str) -> str:
        for url in urls.split():
            parse_base(url)
        return urls

    @field_validator("fhir_aliases")
    @classmethod
    def _pairs_of_base_urls(cls, pairs: str) -> str:
        ServerAliases(pairs.split())
        return pairs

    @field_validator("records_anchor")
    @classmethod
    def _not_over_an_open_line(cls, place: str) -> str:
        url = urlsplit(place)
        if url.scheme in ("http", "https") and not url.hostname:
            raise ValueError("expected a file, or a URL such as https://anchors.example.org/chain")
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            raise ValueError("expected https://; http:// is for this machine only")
        return place

    @field_validator("encounter_classes")
    @classmethod
    def _known_classes(cls, pairs: str) -> str:
        own_classes(pairs.split())
        return pairs

    @field_validator("fhir_networks")
    @classmethod
    def _known_networks(cls, networks: str) -> str:
        for network in networks.split():
            ip_network(network)
        return networks

    @model_validator(mode="after")
    def _not_below_the_floor(self) -> Settings:
        if self.retention_days < self.retention_floor_days:
            raise ValueError(
                f"COVERCARD_RETENTION_DAYS is {self.retention_days} and below"
                f" COVERCARD_RETENTION_FLOOR_DAYS, {self.retention_floor_days}"
            )
        return self

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, origins: str) -> str:
        for origin in origins.split():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    "list whole origins such as https://ehr.example.org; no *, path or capital"
                )
        return origins

    @field_validator("payer_data")
    @classmethod
    def _known_source(cls, url: str) -> str:
        if url.startswith(("http://", "https://")):
            return parse_base(url).url
        if url and not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must begin with sqlite:///, postgresql+psycopg:// or https://")
        return _readable_database(url)

    @field_validator("otlp_endpoint")
    @classmethod
    def _plain_endpoint(cls, url: str) -> str:
        if url and (not url.startswith(("http://", "https://")) or not _is_plain(url)):
            raise ValueError("must be a URL such as http://127.0.0.1:4318/v1/traces")
        return url

    @field_validator("payer_data_token_url")
    @classmethod
    def _token_endpoint(cls, url: str) -> str:
        if url:
            parse_base(url)
        return url

    @field_validator("read_database_url")
    @classmethod
    def _replica_of_postgres(cls, url: str) -> str:
        if url and not url.startswith("postgresql+psycopg://"):
            raise ValueError("must begin with postgresql+psycopg://")
        return _readable_database(url)

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must begin with sqlite:/// or postgresql+psycopg://")
        return _readable_database(url)

    @cached_property
    def base_url(self) -> str:
        """The public base URL without a trailing slash."""
        if self.public_url:
            return self.public_url
        plain = self.host.strip("[]")
        host = f"[{plain}]" if ":" in plain else plain
        return f"http://{host}:{self.port}"

    @cached_property
    def form_bases(self) -> tuple[str, ...]:
        """The base URLs below which forms are served, or were."""
        former = (url.rstrip("/") for url in self.former_base_urls.split())
        return (self.base_url, *former)

    @cached_property
    def aliases(self) -> ServerAliases:
        """The other addresses of EHRs."""
        return ServerAliases(self.fhir_aliases.split())

    @cached_property
    def accepted(self) -> frozenset[str]:
        """The names of accepted risks."""
        return frozenset(self.accepted_risks.split())

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def allowed_origins(self) -> frozenset[str]:
        return frozenset(self.cors_origins.split())

    @cached_property
    def on_loopback(self) -> bool:
        """Whether the listening address is loopback."""
        return is_loopback(self.host)

    @cached_property
    def for_this_machine(self) -> bool:
        """Whether callers are on this machine only: neither listening address nor public URL say
        else.
        """
        return self.on_loopback and is_loopback(urlsplit(self.base_url).hostname or "")

    @cached_property
    def asks_for_clients(self) -> bool:
        """Whether a call must carry a client's token.

        A service on loopback behind a proxy is called from outside.
        """
        if self.client_auth is None:
            return not self.for_this_machine or self.clients_file is not None
        return self.client_auth == "required"

    @cached_property
    def token_key_file(self) -> Path:
        """The file of the key that signs access tokens."""
        return self.access_token_key_file or self.records_dir / "access-token-key"

    @cached_property
    def share_of_calls(self) -> int:
        """Calls of one client at a time; all of them where callers are not told apart."""
        return self._share(self.max_concurrent_calls, self.max_concurrent_calls_per_client)

    @cached_property
    def share_of_waiting(self) -> int:
        """Calls of one client that wait for its EHR at a time, by the same rule."""
        return self._share(self.max_waiting_calls, self.max_waiting_calls_per_client)

    def _share(self, of_all: int, told: int | None) -> int:
        if told is not None:
            return min(told, of_all)
        alone = not self.asks_for_clients or of_all == 1
        return of_all if alone else of_all // 2

    @cached_property
    def bodies_at_a_time(self) -> int:
        """Bodies that one worker reads at a time, of all clients; one client's are as many as its
        calls.
        """
        return 2 * self.max_concurrent_calls

    @cached_property
    def worker_processes(self) -> int:
        """The number of worker processes."""
        return workers_for_this_machine() if self.workers is None else self.workers

    @cached_property
    def counts_in_database(self) -> bool:
        """Whether calls are counted across instances. An SQLite file serves one."""
        if self.call_counts is None:
            return self.worker_processes > 1 and not is_sqlite(self.database_url)
        return self.call_counts == "database"

    def check_exposure(self) -> None:
        """Raise ConfigurationError if the service is reachable by callers that it does not
        authenticate, or runs a risk that was not accepted.
        """
        wrong: list[str] = []
        if self.on_loopback and self.client_auth == "open" and not self.for_this_machine:
            wrong.append(
                "COVERCARD_CLIENT_AUTH: open is for this machine only, and COVERCARD_PUBLIC_URL"
                " says that others call; set required"
            )
        if not self.on_loopback:
            if self.client_auth == "open":
                wrong.append(
                    "COVERCARD_CLIENT_AUTH: open is for loopback only; set required, or"
                    " COVERCARD_HOST=127.0.0.1"
                )
            if not self.public_url:
                wrong.append(
                    "COVERCARD_PUBLIC_URL: set it to the URL that clients call, for their tokens"
                    " name it"
                )
        if self.asks_for_clients and self.clients_file is None:
            wrong.append(
                "COVERCARD_CLIENTS_FILE: name the file of the clients that may call"
                " (examples/clients.example.yaml shows one)"
            )
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and self.public_url and not is_loopback(parts.hostname or ""):
            wrong.append("COVERCARD_PUBLIC_URL: must begin with https:// outside loopback")
        wrong.extend(refused_risks(self))
        if wrong:
            raise ConfigurationError("\n".join(wrong))

    @cached_property
    def workbench_on(self) -> bool:
        """Whether the workbench is served; `auto` serves it on this machine only.

        A service on loopback behind a proxy has a public URL of another host.
        """
        if self.workbench != "auto":
            return self.workbench == "on"
        if self.asks_for_clients:  # a browser has no client token
            return False
        return self.for_this_machine


def _secret(name: str, file: Path) -> str:
    """The one line of a secret's file. Raises ValueError, which never quotes the content."""
    setting = f"{_PREFIX}{name.upper()}_FILE"
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_SECRET_BYTES + 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ValueError(f"{setting}: cannot read {file} ({why.lower()})") from None
    try:
        line = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        line = ""
    if (
        not line.isprintable()
        or line != (line.strip() or None)
        or len(content) > _MOST_SECRET_BYTES
    ):
        raise ValueError(f"{setting}: {file} must hold the value of {setting[:-5]}, as one line")
    return line


def _readable_database(url: str) -> str:
    """The URL, if it has one meaning. A password cut off in its middle would be taken for a host or
    a port, and told.
    """
    if not url.isprintable():
        raise ValueError("holds a line break or another control character: write it as one line")
    if url.startswith(_SQLITE):
        file = url.removeprefix(_SQLITE)
        if not Path(file).name or file.startswith((":memory:", "file:")) or "?" in file:
            raise ValueError("names no file: write sqlite:///FILE, sqlite:////FILE below the root")
        return url
    try:
        parts = urlsplit(url)
        several = parts.netloc.count("@") > 1 or parts.port == 0
    except ValueError:
        several = True
    if several or {"#", "\\"} & set(url):
        raise ValueError(
            "cannot be read as user:password@host:port/name; write characters such as @ : / # ? of"
            " a password as %40 %3A %2F %23 %3F"
        )
    return url


def _is_plain(url: str) -> bool:
    """Whether a URL is a base: a host with or without port and path, and nothing else."""
    try:
        parts = urlsplit(url)
        port = parts.port  # read: a wrong one is an error
    except ValueError:
        return False
    extra = parts.username is not None or {"?", "#", "\\", " "} & set(url) or port == 0
    return bool(parts.hostname) and not extra and url.isascii() and url.isprintable()


def misnamed_settings(names: Iterable[str]) -> Iterator[str]:
    """Messages on variables that look like settings and are none, with the nearest setting."""
    known = [field.upper() for field in Settings.model_fields]
    for name in sorted(names):
        own = name.upper().removeprefix(_PREFIX)
        if not name.upper().startswith(_PREFIX):
            continue
        if own in _FORMER:
            yield f"{name} {_FORMER[own]}"
        elif own not in known:
            meant = get_close_matches(own, known, 1)
            yield f"{name} is no setting" + (f"; is {_PREFIX}{meant[0]} meant?" if meant else "")


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment. Raises ConfigurationError with each wrong variable."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = [
            (f"COVERCARD_{str(e['loc'][0]).upper()}: " if e["loc"] else "")
            + e["msg"].removeprefix("Value error, ")
            for e in error.errors()
        ]
        raise ConfigurationError("\n".join(wrong)) from None
