"""The policies over HTTP: pages for people, JSON for programs, nothing about any patient."""

import re
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from flask.testing import FlaskClient
from markupsafe import escape
from werkzeug.test import TestResponse

from service.bootstrap.app import create_app
from service.settings import Settings
from tests.conftest import FIXTURES, fixture_text, in_folder
from tests.libraries import POLICY, outside_medicare, two_versions
from tests.policies import LIBRARY, SOUND

PAGE = "/policies/mr-spectroscopy"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PROGRAM = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A service whose policy was replaced by another version on 2024-07-01; today is in 2024."""
    folder = tmp_path_factory.mktemp("policies")
    library = two_versions(folder)
    settings = in_folder(folder, policies_dir=library, payers_file=SOUND / "payers.yaml")
    today = datetime(2024, 9, 1, 12, tzinfo=UTC)
    return create_app(settings, clock=lambda: today).test_client()


def text(reply: TestResponse) -> str:
    """A page's words, tags left out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", reply.get_data(as_text=True)))


def test_the_page_says_first_what_is_covered(client: FlaskClient) -> None:
    reply = client.get(PAGE, headers=BROWSER)
    assert reply.status_code == 200
    assert reply.content_type == "text/html; charset=utf-8"
    page = reply.get_data(as_text=True)
    sections = re.findall(r'<section id="([a-z-]+)"', page)
    assert sections[0] == "coverage"
    words = text(reply)
    assert "medical policy counts it as investigational." in words
    assert "Review overdue since 2024-06" in words


def test_the_page_names_the_programs_that_the_policy_speaks_of_and_no_other(
    client: FlaskClient, tmp_path: Path
) -> None:
    for words in (text(client.get(PAGE)), text(client.get("/policies"))):
        assert "Program not known" in words
        assert "not_" not in words
        assert "Not Medicare" not in words
    settings = in_folder(
        tmp_path, policies_dir=outside_medicare(tmp_path), payers_file=SOUND / "payers.yaml"
    )
    more = create_app(settings, clock=lambda: datetime(2024, 9, 1, 12, tzinfo=UTC)).test_client()
    words = text(more.get(f"/policies/{POLICY}"))
    assert "Not Medicare Covered Covered elsewhere." in words
    assert "Not Medicare No advance notice goes with this." in words


def test_the_page_has_the_anchors_that_cards_and_people_link_to(client: FlaskClient) -> None:
    page = client.get(PAGE).get_data(as_text=True)
    anchors = set(re.findall(r'\bid="([^"]+)"', page))
    assert anchors >= {
        "coverage",
        "services",
        "authorities",
        "reason",
        "advance-notice",
        "advance-notice-medicare-advantage",
        "advance-notice-original-medicare",
        "citations",
        "dates",
        "history",
    }
    targets = re.findall(r'href="#([^"]+)"', page)
    assert [t for t in targets if t not in anchors] == []


def test_the_page_shows_codes_sources_searched_notices_and_the_ama_notice(
    client: FlaskClient,
) -> None:
    words = text(client.get(PAGE))
    for piece in (
        "76390",
        "0612T",
        "CMS coverage manuals None found",
        "Radiology, Policy No. 27",
        "§1862(a)(1)(A)",
        "CMS-R-131",
        "Pre-service organization determination",
        "American Medical Association",
        "Original Medicare decides for itself",
    ):
        assert piece in words


def test_the_list_leads_to_every_policy(client: FlaskClient) -> None:
    page = client.get("/policies", headers=BROWSER).get_data(as_text=True)
    assert f'href="{PAGE}"' in page
    listed = client.get("/policies.json").get_json()["policies"]
    (shipped,) = (p for p in listed if p["id"] == "mr-spectroscopy")
    assert shipped["review"] == {"last": "2023-08", "next": "2024-06", "overdue": True}


@pytest.mark.parametrize(("path", "headers"), [(f"{PAGE}.json", BROWSER), (PAGE, PROGRAM)])
def test_the_same_policy_comes_as_json(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    reply = client.get(path, headers=headers)
    assert reply.content_type == "application/json"
    policy = reply.get_json()
    assert policy["id"] == "mr-spectroscopy"
    assert policy["effective"] == {"start": "2023-10-01", "end": None}
    answers = {p: c["covered"] for p, c in policy["coverage"].items()}
    assert answers == {
        "medicare_advantage": "not-covered",
        "original_medicare": "conditional",
        "not_told": "not-covered",
    }
    assert [s["code"] for s in policy["services"]] == ["76390", "0609T", "0610T", "0611T", "0612T"]
    assert policy["coverage"]["original_medicare"]["advance_notices"][0]["form"] == "CMS-R-131"
    assert policy["url"].endswith(f"{PAGE}?on=2023-10-01")
    assert {c["id"] for c in policy["citations"]} >= set(policy["related"])


def test_a_list_asked_for_as_json_is_json(client: FlaskClient) -> None:
    assert client.get("/policies", headers=PROGRAM).content_type == "application/json"
    assert client.get("/policies").content_type.startswith("text/html")


def test_a_day_picks_the_version_that_was_in_force(replaced: FlaskClient) -> None:
    first = replaced.get(f"/policies/{POLICY}.json?on=2024-06-30").get_json()
    second = replaced.get(f"/policies/{POLICY}.json?on=2024-07-01").get_json()
    assert (first["version"], second["version"]) == ("2024-01-01", "2024-07-01")
    assert [v["version"] for v in first["versions"]] == ["2024-01-01", "2024-07-01"]
    page = text(replaced.get(f"/policies/{POLICY}?on=2024-06-30"))
    assert "No longer in force: ended 2024-06-30" in page
    assert "As in force on 2024-06-30" in page
    html = replaced.get(f"/policies/{POLICY}?on=2024-06-30").get_data(as_text=True)
    services = html[html.index('<section id="services"') :]
    assert "X0002" not in services[: services.index("</section>")]


def test_the_history_shows_what_changed_newest_first(replaced: FlaskClient) -> None:
    page = replaced.get(f"/policies/{POLICY}").get_data(as_text=True)
    history = page[page.index('<section id="history"') :]
    assert history.index("Version 2024-07-01") < history.index("Version 2024-01-01")
    assert "<ins><span" in history
    assert "Too little evidence." in history
    assert re.search(r"<del>.*Evidence is lacking\.</del>", history)
    assert "The first version on file" in history


def test_a_form_that_has_expired_or_did_not_exist_yet_says_so(replaced: FlaskClient) -> None:
    assert "This edition has expired" in text(replaced.get(f"/policies/{POLICY}?on=2025-02-01"))
    assert "This edition has expired" not in text(replaced.get(f"/policies/{POLICY}"))


def test_a_form_of_a_later_edition_is_not_passed_off_as_that_days(
    client: FlaskClient, tmp_path: Path
) -> None:
    missing = "No edition that was valid on 2024-01-15 is on file"
    page = f"{PAGE}?on=2024-01-15"
    assert missing not in text(client.get(page))
    library = tmp_path / "library"
    copytree(LIBRARY, library, ignore=ignore_patterns("manifest.yaml", "2023-06-30.yaml"))
    without_the_older = create_app(in_folder(tmp_path, policies_dir=library)).test_client()
    assert missing in text(without_the_older.get(page))


@pytest.mark.parametrize("path", ["/policies/no-such-policy", f"{PAGE}?on=2020-01-01"])
def test_what_is_not_there_is_a_page_for_people_and_an_outcome_for_programs(
    client: FlaskClient, path: str
) -> None:
    page = client.get(path, headers=BROWSER)
    assert page.status_code == 404
    assert page.content_type.startswith("text/html")
    assert "mr-spectroscopy" in page.get_data(as_text=True)
    outcome = client.get(path, headers=PROGRAM)
    assert outcome.status_code == 404
    assert outcome.get_json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "<script>"])
def test_a_day_that_is_none_is_refused(client: FlaskClient, day: str) -> None:
    page = client.get(PAGE, query_string={"on": day}, headers=BROWSER)
    assert page.status_code == 400
    assert "YYYY-MM-DD" in page.get_data(as_text=True)
    assert "<script>" not in page.get_data(as_text=True)
    assert client.get(f"{PAGE}.json", query_string={"on": day}).status_code == 400


def test_an_address_that_leads_nowhere_is_a_page_in_a_browser_only(client: FlaskClient) -> None:
    page = client.get("/no/such/page", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    for path, headers in (("/no/such/page", PROGRAM), ("/cds-services/nothing/here", BROWSER)):
        outcome = client.get(path, headers=headers)
        assert outcome.status_code == 404
        assert outcome.get_json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("path", ["/", "/policies", PAGE, "/policies/no-such-policy"])
def test_every_page_is_under_a_strict_policy_for_what_it_may_load(
    client: FlaskClient, path: str
) -> None:
    reply = client.get(path, headers=BROWSER)
    policy = dict(
        d.strip().split(" ", 1) for d in reply.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    page = reply.get_data(as_text=True)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=\"", page)
    loaded = re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"', page)
    assert loaded
    assert [u for u in loaded if not u.startswith("/")] == []


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}.json", "/policies"])
def test_a_policy_may_be_kept_for_a_while_and_asked_about_again(
    client: FlaskClient, path: str
) -> None:
    reply = client.get(path)
    assert reply.headers["Cache-Control"] == "public, max-age=300"
    assert reply.headers["Vary"] == "Accept"
    again = client.get(path, headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status_code, again.get_data()) == (304, b"")


def test_assets_are_kept_for_good_under_the_address_that_pages_name(client: FlaskClient) -> None:
    page = client.get(PAGE).get_data(as_text=True)
    (style,) = re.findall(r'rel="stylesheet" href="([^"]+)"', page)
    reply = client.get(style)
    assert reply.mimetype == "text/css"
    assert "immutable" in reply.headers["Cache-Control"]
    old = re.sub(r"/static/[^/]+/", "/static/old/", style)
    assert client.get(old).headers["Cache-Control"] == "no-cache"
    for outside in ("/static/x/../app.py", "/static/x/..%2Fapp.py", "/static/x/none.css"):
        assert client.get(outside).status_code == 404


def test_a_policy_that_is_no_longer_in_force_is_still_to_be_read(tmp_path: Path) -> None:
    library = two_versions(tmp_path)
    (library / POLICY / "2024-07-01.yaml").unlink()
    settings = in_folder(tmp_path, policies_dir=library, payers_file=SOUND / "payers.yaml")
    today = datetime(2026, 1, 1, tzinfo=UTC)
    client = create_app(settings, clock=lambda: today).test_client()
    reply = client.get(f"/policies/{POLICY}", headers=BROWSER)
    assert reply.status_code == 200
    assert "This policy is no longer in force." in text(reply)


CALLS = sorted(p.relative_to(FIXTURES).as_posix() for p in FIXTURES.glob("*-*/*.json"))


@pytest.mark.parametrize("name", CALLS)
def test_every_anchor_that_an_answer_links_to_is_on_its_page_once(
    client: FlaskClient, settings: Settings, name: str
) -> None:
    hook = name.partition("/")[0]
    request = fixture_text(FIXTURES / name).encode()
    reply = client.post(f"/cds-services/{hook}-crd", data=request, content_type="application/json")
    answer = reply.get_json()
    ours = set(re.findall(re.escape(settings.base_url) + r"(/policies[^\s\")\\]*)", reply.text))
    # An early warning, as an order is picked, is a line without links.
    assert ours or not any(card.get("links") for card in answer["cards"])
    for url in ours:
        path, _, anchor = url.partition("#")
        page = client.get(path, headers=BROWSER)
        assert page.status_code == 200
        assert page.text.count(f' id="{anchor}"') == 1, url


def test_the_notice_card_leads_to_its_own_notice(client: FlaskClient) -> None:
    for name, notice in (
        ("mrs-medicare-advantage", "organization-determination"),
        ("mrs-original-medicare", "abn"),
    ):
        request = fixture_text(FIXTURES / "order-sign" / f"{name}.json").encode()
        reply = client.post(
            "/cds-services/order-sign-crd", data=request, content_type="application/json"
        )
        policy, advance_notice = reply.get_json()["cards"]
        assert policy["links"][0]["url"].endswith(f"{PAGE}#coverage")
        assert f"{PAGE}#notice-{notice})" in advance_notice["detail"]


def test_each_notice_is_told_once_and_linked_elsewhere(client: FlaskClient) -> None:
    page = client.get(PAGE, headers=BROWSER).text
    for notice in ("abn", "organization-determination"):
        assert page.count(f'id="notice-{notice}"') == 1
        assert f'href="#notice-{notice}"' in page


def test_a_version_to_come_is_announced(tmp_path: Path) -> None:
    settings = in_folder(
        tmp_path, policies_dir=two_versions(tmp_path), payers_file=SOUND / "payers.yaml"
    )
    before = datetime(2024, 6, 1, 12, tzinfo=UTC)
    client = create_app(settings, clock=lambda: before).test_client()
    page = client.get(f"/policies/{POLICY}", headers=BROWSER)
    assert "From 2024-07-01 another version holds." in text(page)
    assert f'href="/policies/{POLICY}?on=2024-07-01"' in page.text
    later = datetime(2024, 9, 1, 12, tzinfo=UTC)
    client = create_app(settings, clock=lambda: later).test_client()
    assert "another version holds" not in text(client.get(f"/policies/{POLICY}", headers=BROWSER))


def test_each_notice_has_a_paragraph_for_the_patient_in_english_and_spanish(
    client: FlaskClient,
) -> None:
    page = re.sub(r"\s+", " ", client.get(PAGE, headers=BROWSER).text)
    coverage = client.get(f"{PAGE}.json").get_json()["coverage"]
    for program, condition in (
        (
            "original_medicare",
            "You may have to pay only if Medicare does not pay and, before the service, you signed "
            "the ABN, or refused to sign it and that was noted on the form.",
        ),
        ("medicare_advantage", "Nobody has decided yet."),
    ):
        (notice,) = coverage[program]["advance_notices"]
        assert condition in notice["for_patients"]["en"]
        for language, words in notice["for_patients"].items():
            shown = f'<p lang="{language}">{escape(words)}</p>'
            assert page.count(shown) == 1


def test_a_notice_without_a_paragraph_for_the_patient_has_none_on_its_page(
    replaced: FlaskClient,
) -> None:
    assert "For the patient" not in text(replaced.get(f"/policies/{POLICY}"))
    coverage = replaced.get(f"/policies/{POLICY}.json").get_json()["coverage"]
    notices = [n for said in coverage.values() for n in said["advance_notices"]]
    assert notices
    assert all(n["for_patients"] is None for n in notices)


def test_the_page_gives_evidence_and_rationale_and_invents_no_approval(client: FlaskClient) -> None:
    policy = client.get(f"{PAGE}.json").get_json()
    assert (policy["owner"], policy["approved"]) == (None, None)
    page = client.get(PAGE).get_data(as_text=True)
    words = text(client.get(PAGE))
    assert set(policy["evidence"]) == {"summary", "rationale"}
    for said in policy["evidence"].values():
        assert str(escape(said)) in words
    assert page.count('<section id="evidence"') == 1
    assert "<dt>Approved</dt>" not in page
    assert "<dt>Owner</dt>" not in page


def test_owner_and_approval_stand_among_the_dates_and_in_the_history(tmp_path: Path) -> None:
    library = two_versions(tmp_path)
    later = library / POLICY / "2024-07-01.yaml"
    told = """
owner: Example policy office
approved: {by: Example committee, on: "2024-06-15"}
evidence: {summary: Two invented studies., rationale: Neither settles it.}
"""
    later.write_text(later.read_text("utf-8") + told, "utf-8")
    settings = in_folder(tmp_path, policies_dir=library, payers_file=SOUND / "payers.yaml")
    client = create_app(settings, clock=lambda: datetime(2024, 9, 1, 12, tzinfo=UTC)).test_client()
    policy = client.get(f"/policies/{POLICY}.json").get_json()
    assert policy["owner"] == "Example policy office"
    assert policy["approved"] == {"by": "Example committee", "on": "2024-06-15"}
    assert policy["evidence"] == {
        "summary": "Two invented studies.",
        "rationale": "Neither settles it.",
    }
    words = text(client.get(f"/policies/{POLICY}"))
    dates, _, history = words.partition("The first version on file")[0].rpartition(" Versions ")
    assert "Owner Example policy office Approved 2024-06-15 by Example committee" in dates
    assert "Example committee, 2024-06-15" in history
    before = client.get(f"/policies/{POLICY}.json?on=2024-06-30").get_json()
    assert (before["owner"], before["approved"], before["evidence"]) == (None, None, None)
