"""The clients file: what it may say, and how it says what is wrong with it."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from structlog.testing import capture_logs

from service.auth.clients import load_clients
from service.errors import LibraryError

ROOT = Path(__file__).parent.parent.parent
KEY = {**ECKey.generate_key("P-384").as_dict(private=False), "kid": "a"}
SANDBOX = "https://sandbox.cds-hooks.org"


def never(url: str) -> bytes:
    raise AssertionError("nothing is fetched before a token needs it")


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / "clients.yaml"
    file.write_text(json.dumps({"clients": entries}))
    return file


def test_a_client_has_its_keys_and_its_fhir_servers(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [KEY]}))
    servers = ["https://ehr.example.org/fhir/", "http://127.0.0.1:8080/fhir"]
    file = write(
        tmp_path,
        {"issuer": "a", "jwks": {"keys": [KEY]}, "fhir_servers": servers},
        {"issuer": "b", "name": "The B", "jwks_file": "keys.json"},
        {"issuer": "c", "jwks_url": "https://c.example.org/jwks.json"},
    )
    clients = load_clients(file, never)
    assert clients["a"].client.fhir_servers == {
        "https://ehr.example.org/fhir",
        "http://127.0.0.1:8080/fhir",
    }
    assert (clients["a"].client.name, clients["b"].client.name) == ("a", "The B")
    assert clients["b"].client.fhir_servers == frozenset()
    assert clients["a"].keys.find("a", "ES384")
    assert clients["b"].keys.find("a", "ES384")
    assert clients["c"].keys.url == "https://c.example.org/jwks.json"


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("clients: []", "clients"),
        ("", "(file)"),
        ("nothing", "(file)"),
        ("client: []", "clients"),
        ("clients: [{issuer: a}]", "clients[0]"),
        ("clients: [{issuer: a, jwks: {}, jwks_file: b}]", "clients[0]"),
        ("clients: [{issuer: a, jwks: {}, secret: b}]", "clients[0].secret"),
        ("clients: [{issuer: 7, jwks: {}}]", "clients[0].issuer"),
        ('clients: [{issuer: "", jwks: {}}]', "clients[0].issuer"),
        ("clients: [{jwks: {}}]", "clients[0].issuer"),
        ('clients: [{issuer: a, name: "b\\nc", jwks: {}}]', "clients[0].name"),
        ("clients: [{issuer: a, jwks: {keys: []}}]", "clients[0].jwks"),
        ("clients: [{issuer: a, jwks: {}}]", "clients[0].jwks"),
        ("clients: [{issuer: a, jwks_file: nowhere.json}]", "clients[0].jwks_file"),
        ("clients: [{issuer: a, jwks_file: clients.yaml}]", "clients[0].jwks_file"),
        ("clients: [{issuer: a, issuer: b}]", "(file)"),
        ("clients: [", "(file)"),
        ("\x00", "(file)"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(tmp_path: Path, content: str, field: str) -> None:
    file = tmp_path / "clients.yaml"
    file.write_text(content)
    with pytest.raises(LibraryError) as wrong:
        load_clients(file, never)
    assert str(wrong.value).startswith(f"{file}: error: {field}: ")


@pytest.mark.parametrize(
    "url",
    [
        "http://ehr.example.org/jwks.json",
        "http://10.0.0.7/jwks.json",
        "file:///etc/passwd",
        "https://user:opensesame@ehr.example.org/jwks.json",
        "https://ehr.example.org/jwks.json?token=1",
        "https://ehr.example.org/jwks.json#x",
        "https:///jwks.json",
        "//ehr.example.org/jwks.json",
        "ftp://127.0.0.1/jwks.json",
    ],
)
@pytest.mark.parametrize("field", ["jwks_url", "fhir_servers"])
def test_an_address_that_is_not_safe_to_call_is_refused(
    tmp_path: Path, url: str, field: str
) -> None:
    entry: dict[str, Any] = {"issuer": "a"}
    if field == "jwks_url":
        entry["jwks_url"] = url
    else:
        entry |= {"jwks": {"keys": [KEY]}, "fhir_servers": [url]}
    with pytest.raises(LibraryError) as wrong:
        load_clients(write(tmp_path, entry), never)
    assert f"clients[0].{field}" in str(wrong.value)
    assert "opensesame" not in str(wrong.value)


def test_an_issuer_that_stands_twice_is_refused(tmp_path: Path) -> None:
    entry = {"issuer": "a", "jwks": {"keys": [KEY]}}
    with pytest.raises(LibraryError, match=r"clients\[1\].issuer: is listed twice"):
        load_clients(write(tmp_path, entry, entry), never)


@pytest.mark.parametrize("name", ["Hospital", "https://b.example.org", "anyone"])
def test_a_name_stands_for_one_client_only(tmp_path: Path, name: str) -> None:
    """Records of calls are kept and shown by it."""
    keys = {"jwks": {"keys": [KEY]}}
    entries = [
        {"issuer": "https://a.example.org", "name": "Hospital", **keys},
        {"issuer": "https://b.example.org", **keys},
        {"issuer": "https://c.example.org", "name": name, **keys},
    ]
    with pytest.raises(LibraryError, match=r"clients\[2\].name: is taken"):
        load_clients(write(tmp_path, *entries), never)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="nowhere"):
        load_clients(tmp_path / "nowhere.yaml", never)


def test_no_key_of_a_broken_file_is_repeated(tmp_path: Path) -> None:
    file = tmp_path / "clients.yaml"
    file.write_text('clients:\n  - {issuer: a, jwks: {d: "opensesame", d: "opensesame"}}\n')
    with pytest.raises(LibraryError) as wrong:
        load_clients(file, never)
    assert "opensesame" not in str(wrong.value)


@pytest.mark.threat("demo-keys")
def test_the_sandbox_is_not_trusted_by_a_file_that_does_not_say_demo(tmp_path: Path) -> None:
    entry = {"issuer": SANDBOX, "jwks_url": f"{SANDBOX}/.well-known/jwks.json"}
    with pytest.raises(LibraryError, match="demo: true"):
        load_clients(write(tmp_path, entry), never)


def test_a_demonstration_is_warned_of_loudly_and_nothing_else_is() -> None:
    with capture_logs() as logs:
        clients = load_clients(ROOT / "examples" / "clients.demo.yaml", never)
    assert {log["log_level"] for log in logs} == {"warning"}
    assert {log["issuer"] for log in logs} == set(clients)
    assert all(trusted.demo for trusted in clients.values())
    with capture_logs() as logs:
        load_clients(ROOT / "examples" / "clients.example.yaml", never)
    assert logs == []


DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
SHOWN = [
    pytest.param(block, id=f"{file.name}-{i}")
    for file in DOCUMENTS
    for i, block in enumerate(
        re.findall(r"```yaml\n(.*?)```", textwrap.dedent(file.read_text("utf-8")), re.DOTALL)
    )
    if re.search(r"^clients:", block, re.MULTILINE)
]


@pytest.mark.parametrize("block", SHOWN)
def test_a_clients_file_that_a_document_shows_is_read(block: str, tmp_path: Path) -> None:
    file = tmp_path / "clients.yaml"
    file.write_text(block, "utf-8")
    assert load_clients(file)


def test_documents_show_clients_files() -> None:
    assert SHOWN


def test_a_clients_apps_are_launched_by_an_address_alone(tmp_path: Path) -> None:
    def file(launch: str) -> Path:
        path = tmp_path / "clients.yaml"
        path.write_text(
            "clients:\n"
            "  - issuer: https://ehr.example.org\n"
            "    jwks_url: https://ehr.example.org/jwks.json\n"
            f"    apps: {{documentation: '{launch}'}}\n"
        )
        return path

    (trusted,) = load_clients(file("https://apps.example.org/launch")).values()
    assert trusted.client.apps == {"documentation": "https://apps.example.org/launch"}
    with pytest.raises(LibraryError, match="apps"):
        load_clients(file("http://apps.example.org/launch"))
