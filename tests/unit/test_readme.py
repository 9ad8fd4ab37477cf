"""The README: short, and what it shows is what happens."""

import json
import re
import shlex

from click.testing import CliRunner
from flask.testing import FlaskClient

from service.cli import cli
from tests.documents import ROOT, document

README = document("README.md")
MORE = "…"


def test_it_is_short() -> None:
    assert len(README.text.encode()) <= 6000


def test_every_page_of_docs_is_reached_from_it() -> None:
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        reached.add(page.path)
        for target in page.links():
            path = (page.path.parent / target.partition("#")[0]).resolve()
            if path.suffix == ".md" and path not in reached:
                waiting.append(document(path.relative_to(ROOT).as_posix()))
    assert set((ROOT / "docs").rglob("*.md")) - reached == set()


def test_the_answer_that_it_shows_is_the_answer(client: FlaskClient) -> None:
    written, sent = next(c for c in README.commands() if "curl" in c).split(" | ")
    printed = CliRunner().invoke(cli, shlex.split(written)[1:])
    assert printed.exit_code == 0, printed.output
    path = re.search(r"http://127\.0\.0\.1:8642(\S+)", sent)
    kind = re.search(r"'Content-Type: ([^']+)'", sent)
    assert path and kind and sent.endswith(" -d @-")
    reply = client.post(path[1], data=printed.output, content_type=kind[1])
    assert reply.status_code == 200
    (shown,) = README.code("json")
    assert differences(json.loads(shown), reply.get_json()) == []


def differences(shown: object, sent: object, place: str = "") -> list[str]:
    """Where a shortened answer does not fit the whole one.

    Members may be left out; of a list, items; of a text, what stands at a `…`.
    """
    if isinstance(shown, dict) and isinstance(sent, dict):
        found = [f"{place}.{k} is not sent" for k in shown if k not in sent]
        for key in shown.keys() & sent.keys():
            found += differences(shown[key], sent[key], f"{place}.{key}")
        return found
    if isinstance(shown, list) and isinstance(sent, list):
        rest = iter(sent)
        return [
            f"{place}[{n}] is not among what is sent, or in another order"
            for n, item in enumerate(shown)
            if item != MORE and not any(differences(item, other) == [] for other in rest)
        ]
    if isinstance(shown, str) and isinstance(sent, str) and MORE in shown:
        pattern = ".+".join(map(re.escape, shown.split(MORE))).removesuffix(".+")
        return [] if re.match(pattern, sent) else [f"{place} is another text"]
    return [] if shown == sent else [f"{place} is {sent!r}"]


def test_a_shortened_answer_that_does_not_fit_is_found() -> None:
    sent = {"a": [{"b": "one text"}, {"b": "two"}], "c": 1}
    assert differences({"a": [{"b": "one …"}, MORE]}, sent) == []
    assert differences({"a": [{"b": "two"}, {"b": "one text"}]}, sent) != []
    assert differences({"a": [{"b": "another …"}]}, sent) != []
    assert differences({"d": 1}, sent) == [".d is not sent"]
    assert differences({"c": 2}, sent) == [".c is 1"]


def test_it_says_that_the_first_start_takes_a_minute() -> None:
    assert "first start takes about a minute" in README.text
