"""Signed bundles: the same bytes from the same files, and no other byte is taken."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from service.bootstrap.app import RECORDER, create_app
from service.bootstrap.snapshot import read_snapshot
from service.cli import cli
from service.cli.snapshots.board import ReloadOutcome
from service.cli.snapshots.keeper import SnapshotKeeper
from service.errors import ConfigurationError, LibraryError, NotNow
from service.policies import bundle as bundles
from service.policies.bundle import (
    MANIFEST,
    SIGNATURE,
    bundle_bytes,
    extracted,
    read_bundle,
    signing_key,
    verifying_key,
)
from service.policies.library_files import LibraryPlaces, digest_on_disk, read_files
from service.settings import Settings, load_settings
from tests.conftest import FIXTURES, NOW, fixture_text, in_folder
from tests.policies import LIBRARY, PAYERS, SOUND
from tests.runbook import WITH_KEYS, run_by

PLACES = LibraryPlaces(SOUND, SOUND / "payers.yaml")
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
MADE = datetime(2026, 11, 20, 12, tzinfo=UTC)


def private_pem(folder: Path, key: Ed25519PrivateKey = KEY, name: str = "key.pem") -> Path:
    file = folder / name
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    return file


def public_pem(folder: Path, key: Ed25519PrivateKey = KEY, name: str = "key.pub") -> Path:
    file = folder / name
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    file.write_bytes(public)
    return file


@pytest.fixture(autouse=True)
def no_other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle stands alone: of the library that these tests may be run on, nothing is set."""
    for setting in ("POLICIES_DIR", "ADDED_POLICIES_DIR", "PAYERS_FILE", "PROGRAMS_FILE"):
        monkeypatch.delenv(f"COVERCARD_{setting}", raising=False)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A bundle of the sound library."""
    file = tmp_path / "policies.bundle"
    file.write_bytes(bundle_bytes(read_files(PLACES), KEY, MADE))
    return file


def test_the_same_files_make_the_same_bytes_wherever_they_are(tmp_path: Path) -> None:
    shutil.copytree(SOUND, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.yaml"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    copy = LibraryPlaces(tmp_path / "copy", tmp_path / "copy" / "payers.yaml")
    assert bundle_bytes(read_files(copy), KEY, MADE) == bundle_bytes(read_files(PLACES), KEY, MADE)


def test_a_bundle_has_the_digest_of_its_files_and_gives_them_back(made: Path) -> None:
    found = read_bundle(made, KEY.public_key())
    assert found.digest == digest_on_disk(PLACES)
    assert found.signed
    assert found.files == read_files(PLACES)
    with extracted(found) as places:
        folder = places.directory.parent
        assert digest_on_disk(places) == found.digest
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_with_a_second_folder_of_policies_it_comes_along(tmp_path: Path) -> None:
    both = LibraryPlaces(LIBRARY, PAYERS, SOUND)
    file = tmp_path / "both"
    file.write_bytes(bundle_bytes(read_files(both), KEY, MADE))
    with extracted(read_bundle(file, None)) as places:
        assert places.added is not None
        assert digest_on_disk(places) == digest_on_disk(both)


@pytest.mark.threat("policy-bundle")
def test_each_changed_byte_is_found(made: Path) -> None:
    whole = made.read_bytes()
    for at in range(0, len(whole), 97):
        changed = bytearray(whole)
        changed[at] ^= 0x01
        made.write_bytes(bytes(changed))
        with pytest.raises(ConfigurationError):
            read_bundle(made, KEY.public_key())
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        made.write_bytes(whole[:cut])
        with pytest.raises(ConfigurationError):
            read_bundle(made, KEY.public_key())
    for longer in (whole + b"\0", b"\0" + whole):
        made.write_bytes(longer)
        with pytest.raises(ConfigurationError):
            read_bundle(made, KEY.public_key())


@pytest.mark.threat("policy-bundle")
def test_another_key_is_refused_and_without_a_key_only_the_content_is_checked(made: Path) -> None:
    with pytest.raises(ConfigurationError, match="was not signed with the key"):
        read_bundle(made, OTHER.public_key())
    assert read_bundle(made, None).signed is False


def manifest_of(content: bytes) -> dict[str, object]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        told: dict[str, object] = json.loads(archive.read(MANIFEST))
    return told


def forged(manifest: dict[str, object], files: dict[str, bytes], key: Ed25519PrivateKey) -> bytes:
    """A bundle with this manifest, rightly signed."""
    text = json.dumps(manifest).encode()
    signature = key.sign(b"covercard policy bundle\n" + text)
    return bundles._archive(text, signature, files)


def test_a_newer_format_is_told_before_anything_else(made: Path) -> None:
    told = manifest_of(made.read_bytes()) | {"format": 2, "algorithm": "another"}
    made.write_bytes(forged(told, {}, OTHER))
    with pytest.raises(ConfigurationError, match=r"newer version, in format 2.*upgrade"):
        read_bundle(made, KEY.public_key())


@pytest.mark.threat("policy-bundle")
@pytest.mark.parametrize(
    "name",
    [
        "../outside.yaml",
        "policies/../../outside.yaml",
        "/etc/outside.yaml",
        "policies//etc/outside.yaml",
        "policies\\..\\outside.yaml",
        "policies/.hidden/a.yaml",
        "elsewhere/a.yaml",
        "payers.yaml/x",
        "policies/a\0b.yaml",
    ],
)
def test_no_name_leads_out_of_its_folder_even_if_it_is_signed(
    tmp_path: Path, made: Path, name: str
) -> None:
    files = dict(read_files(PLACES)) | {name: b"x"}
    made.write_bytes(bundle_bytes(files, KEY, MADE))
    with pytest.raises(ConfigurationError):
        read_bundle(made, KEY.public_key())
    assert not list(tmp_path.parent.glob("outside*"))


@pytest.mark.threat("policy-bundle")
@pytest.mark.parametrize("name", ["payers.yaml", "programs.yaml"])
def test_a_bundle_without_payers_or_programs_is_none(made: Path, name: str) -> None:
    files = dict(read_files(PLACES))
    del files[name]
    made.write_bytes(bundle_bytes(files, KEY, MADE))
    with pytest.raises(ConfigurationError, match="is no bundle of this service"):
        read_bundle(made, KEY.public_key())


@pytest.mark.threat("policy-bundle")
@pytest.mark.parametrize(
    "how", [*["compressed", "encrypted", "twice", "unlisted"], "no manifest", "no archive"]
)
def test_an_archive_that_is_not_as_bundles_are_made_is_refused(made: Path, how: str) -> None:
    whole = made.read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    written = io.BytesIO()
    compressed = zipfile.ZIP_DEFLATED if how == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(written, "w", compressed) as archive:
        for name, content in entries:
            if how == "no manifest" and name in (MANIFEST, SIGNATURE):
                continue
            archive.writestr(name, content)
        if how == "unlisted":
            archive.writestr("policies/example-scan/2025-01-01.yaml", b"id: another")
        if how == "twice":
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr(*entries[-1])
    content = bytearray(b"not an archive" if how == "no archive" else written.getvalue())
    if how == "encrypted":
        content[6] |= 0x01  # the flags of the first entry, and those that the directory tells
        content[content.index(b"PK\x01\x02") + 8] |= 0x01
    made.write_bytes(content)
    with pytest.raises(ConfigurationError, match=str(made)):
        read_bundle(made, KEY.public_key())


@pytest.mark.threat("policy-bundle")
def test_a_huge_file_is_not_read(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MOST_BYTES", 100)
    with pytest.raises(ConfigurationError, match="more than 100 bytes"):
        read_bundle(made, None)


def test_keys_are_told_apart_and_none_is_quoted(tmp_path: Path) -> None:
    private, public = private_pem(tmp_path), public_pem(tmp_path)
    assert signing_key(private).public_key() == verifying_key(public) == KEY.public_key()
    with pytest.raises(ConfigurationError, match="is no Ed25519 public key"):
        verifying_key(private)
    public.chmod(0o600)
    with pytest.raises(ConfigurationError, match="is no Ed25519 private key"):
        signing_key(public)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        signing_key(tmp_path / "nowhere")
    private.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        signing_key(private)
    other = tmp_path / "ec.pem"
    ec = generate_private_key(SECP256R1())
    other.write_bytes(ec.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    other.chmod(0o600)
    with pytest.raises(ConfigurationError, match="is no Ed25519 private key"):
        signing_key(other)
    locked = BestAvailableEncryption(b"password")
    other.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    with pytest.raises(ConfigurationError, match="is encrypted"):
        signing_key(other)


def run(*words: object, **variables: str) -> Result:
    told = {f"COVERCARD_{name.upper()}": value for name, value in variables.items()}
    return CliRunner().invoke(cli, ["policy", *map(str, words)], env=told)


def test_the_command_makes_what_the_service_loads_and_both_tell_one_digest(tmp_path: Path) -> None:
    key, out = private_pem(tmp_path), tmp_path / "out.bundle"
    sound = {"policies_dir": str(SOUND), "payers_file": str(SOUND / "payers.yaml")}
    done = run("bundle", out, "--key", key, **sound)
    assert done.exit_code == 0, done.output
    assert "4 cases passed" in done.output
    settings = in_folder(tmp_path, policy_bundle=out, policy_bundle_key=public_pem(tmp_path))
    digest = read_snapshot(in_folder(tmp_path, **sound)).digests.policies
    assert f"policies {digest}" in done.output
    assert read_snapshot(settings).digests.policies == digest
    again = run("bundle", out, "--key", key, **sound)
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert run("bundle", out, "--key", key, "--replace", **sound).exit_code == 0
    assert read_bundle(out, None).digest == digest


def test_the_command_tells_the_moment_at_which_the_bundle_was_made(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    out = tmp_path / "out.bundle"
    done = run("bundle", out, "--key", private_pem(tmp_path))
    told = read_bundle(out, None).made
    assert told is not None
    assert before <= told <= datetime.now(UTC)
    assert f"made {told.isoformat()}" in done.output


def test_a_service_with_a_bundle_answers_as_one_with_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "shipped.bundle"
    assert run("bundle", out, "--key", private_pem(tmp_path)).exit_code == 0
    request = fixture_text(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
    answers = []
    for place in ({}, {"policy_bundle": out, "policy_bundle_key": public_pem(tmp_path)}):
        app = create_app(in_folder(tmp_path, **place), clock=lambda: NOW)
        reply = app.test_client().post(
            "/cds-services/order-sign-crd", data=request, content_type="application/json"
        )
        health = app.test_client().get("/readyz").get_json()["checks"]["snapshot"]
        answers.append(([card["detail"] for card in reply.get_json()["cards"]], health))
        app.extensions[RECORDER].stop()
    made = read_bundle(out, None).made
    assert made is not None
    assert answers[1][1].pop("bundle_made") == made.isoformat()
    assert answers[0] == answers[1]


def test_a_failing_case_makes_no_bundle(tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    cases = library / "example-scan" / "cases.yaml"
    text = cases.read_text("utf-8")
    cases.write_text(text.replace("covered: not-covered", "covered: covered", 1), "utf-8")
    out = tmp_path / "out.bundle"
    done = run("bundle", out, "--key", private_pem(tmp_path), policies_dir=str(library))
    assert done.exit_code == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"policy_bundle": "b"}, "COVERCARD_POLICY_BUNDLE_KEY"),
        (
            {"policy_bundle": "b", "policy_bundle_key": "k", "policies_dir": "d"},
            "COVERCARD_POLICY_BUNDLE and COVERCARD_POLICIES_DIR are both set",
        ),
        (
            {"policy_bundle": "b", "policy_bundle_key": "k", "payers_file": "p"},
            "COVERCARD_POLICY_BUNDLE and COVERCARD_PAYERS_FILE are both set",
        ),
    ],
)
def test_a_bundle_stands_alone_with_its_key(settings: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        load_settings(**settings)


def test_what_is_wrong_with_a_bundles_file_is_told_by_its_name_in_the_bundle(
    tmp_path: Path,
) -> None:
    files = dict(read_files(PLACES))
    files["policies/example-scan/2024-01-01.yaml"] += b"more: than is known\n"
    made = tmp_path / "wrong.bundle"
    made.write_bytes(bundle_bytes(files, KEY, MADE))
    settings = in_folder(tmp_path, policy_bundle=made, policy_bundle_key=public_pem(tmp_path))
    with pytest.raises(LibraryError) as raised:
        read_snapshot(settings)
    assert str(raised.value).startswith(f"{made}/policies/example-scan/2024-01-01.yaml")


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "damaged"),
        (
            lambda file: file.write_bytes(bundle_bytes(read_files(PLACES), OTHER, MADE)),
            "not signed",
        ),
        (lambda file: file.unlink(), "cannot be read"),
    ],
)
def test_a_reload_refuses_a_bundle_that_cannot_be_trusted(
    tmp_path: Path, made: Path, change: Change, why: str
) -> None:
    settings: Settings = in_folder(
        tmp_path, policy_bundle=made, policy_bundle_key=public_pem(tmp_path)
    )
    outcomes: list[ReloadOutcome] = []
    keeper = SnapshotKeeper(settings, read_snapshot(settings), outcomes.append)
    change(made)
    keeper.reload()
    assert outcomes[0].state == "refused"
    assert why in outcomes[0].why
    files = dict(read_files(PLACES))
    name = "policies/example-scan/2024-01-01.yaml"
    files[name] = files[name].replace(b"Example scan\nmanual", b"Renamed scan\nmanual")
    made.write_bytes(bundle_bytes(files, KEY, MADE))
    keeper.reload()
    assert (outcomes[1].state, outcomes[1].why) == ("in force", "")
    assert outcomes[1].policies == read_bundle(made, None).digest


def edition(title: str, made: datetime | None) -> bytes:
    """A rightly signed bundle of a library with this title; None: a former version made it."""
    files = dict(read_files(PLACES))
    name = "policies/example-scan/2024-01-01.yaml"
    files[name] = files[name].replace(b"Example scan\nmanual", f"{title}\nmanual".encode())
    if made is not None:
        return bundle_bytes(files, KEY, made)
    told = bundle_bytes(files, KEY, MADE)
    return forged({k: v for k, v in manifest_of(told).items() if k != "made"}, files, KEY)


def serving(
    folder: Path, bundle: bytes
) -> tuple[Path, Settings, SnapshotKeeper, list[ReloadOutcome]]:
    """The file of a bundle in force, the settings, the keeper and the outcomes of its reloads."""
    file = folder / "policies.bundle"
    file.write_bytes(bundle)
    settings = in_folder(folder, policy_bundle=file, policy_bundle_key=public_pem(folder))
    outcomes: list[ReloadOutcome] = []
    return (
        file,
        settings,
        SnapshotKeeper(settings, read_snapshot(settings), outcomes.append),
        outcomes,
    )


@pytest.mark.threat("policy-bundle")
@pytest.mark.parametrize("older", [MADE - timedelta(seconds=1), None], ids=["earlier", "untold"])
def test_a_reload_takes_no_bundle_for_one_that_was_made_later(
    tmp_path: Path, older: datetime | None
) -> None:
    file, settings, keeper, outcomes = serving(tmp_path, edition("In force", MADE))
    former = edition("Former", older)
    file.write_bytes(former)
    keeper.reload()
    assert outcomes[-1].state == "refused"
    assert outcomes[-1].bundle_made == MADE.isoformat()
    assert MADE.isoformat() in outcomes[-1].why
    assert "make a bundle of them anew" in outcomes[-1].why
    # Both ways back that it names.
    file.write_bytes(edition("Former", MADE + timedelta(days=1)))
    keeper.reload()
    assert outcomes[-1].state == "in force", outcomes[-1].why
    assert outcomes[-1].policies == read_bundle(file, None).digest
    file.write_bytes(former)
    assert read_snapshot(settings).library.made == older


def test_a_bundle_made_anew_of_the_same_files_is_the_one_in_force_from_then_on(
    tmp_path: Path,
) -> None:
    file, _, keeper, outcomes = serving(tmp_path, edition("Same", None))
    for day, state in ((3, "in force"), (3, "unchanged"), (2, "unchanged")):
        file.write_bytes(edition("Same", MADE + timedelta(days=day)))
        keeper.reload()
        assert (outcomes[-1].state, outcomes[-1].why) == (state, "")
        assert outcomes[-1].bundle_made == (MADE + timedelta(days=3)).isoformat()
    file.write_bytes(edition("Other", MADE + timedelta(days=2)))
    keeper.reload()
    assert outcomes[-1].state == "refused"


def test_without_room_for_its_files_the_same_may_succeed_later(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = in_folder(tmp_path, policy_bundle=made, policy_bundle_key=public_pem(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(NotNow, match="cannot be unpacked in the folder of TMPDIR"):
            read_snapshot(settings)
    assert read_snapshot(settings).digests.policies


def test_a_moment_without_an_offset_makes_no_bundle(made: Path) -> None:
    files = dict(read_files(PLACES))
    told = manifest_of(made.read_bytes()) | {"made": "2026-11-20T12:00:00"}
    made.write_bytes(forged(told, files, KEY))
    with pytest.raises(ConfigurationError, match="is no bundle"):
        read_bundle(made, KEY.public_key())


def test_commands_look_into_the_bundle_and_none_writes_into_it(tmp_path: Path, made: Path) -> None:
    bundle = {"policy_bundle": str(made), "policy_bundle_key": str(public_pem(tmp_path))}
    assert "4 cases, 0 failed" in run("test", **bundle).output
    assert "Example scan" in run("show", "example-scan", **bundle).output
    for words in (("new", "another"), ("publish", "example-scan")):
        done = run(*words, **bundle)
        assert done.exit_code == 1
        assert "COVERCARD_POLICY_BUNDLE is not changed" in done.output


def test_the_documents_commands_make_keys_and_a_bundle_that_a_service_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of docs/operations.md, in their order."""
    commands = [typed.command for typed in run_by(WITH_KEYS)]
    assert [c.split()[0] for c in commands] == ["openssl", "openssl", "chmod", *["covercard"] * 2]
    monkeypatch.chdir(tmp_path)
    for command in commands[:3]:
        subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    key = verifying_key(Path("signing-key.pub"))
    made = bundle_bytes(read_files(PLACES), signing_key(Path("signing-key.pem")), MADE)
    Path("former.bundle").write_bytes(made)
    for command, code in zip(commands[3:], (0, 1), strict=True):
        done = CliRunner().invoke(cli, command.split()[1:])
        assert done.exit_code == code, done.output
    assert "mr-spectroscopy, Medicare Advantage, from 2023-10-01 on:" in done.output
    settings = in_folder(
        tmp_path, policy_bundle="policies.bundle", policy_bundle_key="signing-key.pub"
    )
    found = read_bundle(Path("policies.bundle"), key)
    assert read_snapshot(settings).digests.policies == found.digest
