"""What may be shown: no control sequence, no secret of a URL."""

import json

import pytest

from service.shown_text import shown, shown_json, shown_url

CONTROLS = [
    *map(chr, range(0x09)),
    *map(chr, range(0x0B, 0x20)),
    *map(chr, range(0x7F, 0xA0)),
    "\u200b",
    "\u200e",
    "\u202e",
    "\u2028",
    "\u2066",
    "\ufeff",
    "\ud800",
    "\U000e0041",
]


@pytest.mark.threat("output-injection")
@pytest.mark.parametrize("control", CONTROLS, ids=[f"U+{ord(c):04X}" for c in CONTROLS])
def test_no_control_is_shown_and_json_keeps_its_value(control: str) -> None:
    assert shown(f"a{control}b") == "a\N{REPLACEMENT CHARACTER}b"
    text = shown_json(json.dumps({"told": f"a{control}b"}, ensure_ascii=False))
    assert control not in text
    assert json.loads(text) == {"told": f"a{control}b"}


def test_text_is_shown_as_it_is() -> None:
    text = "Zoë Ünïcode, 名前, \N{NO-BREAK SPACE}— “quoted” 🙂\tline\nline"
    assert shown(text) == text
    assert shown_json(text) == text


@pytest.mark.threat("secret-told")
@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "https://user:opensesame@ehr.example.org:8443/fhir?x=1#y",
            "https://ehr.example.org:8443/fhir",
        ),
        ("https://ehr.example.org/keys?key=opensesame", "https://ehr.example.org/keys"),
        ("https://user:open@sesame@ehr.example.org/", "https://ehr.example.org/"),
        ("https://[opensesame", "(no URL)"),
        ("https://ehr.example.org/\x1b[31m", "https://ehr.example.org/\ufffd[31m"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, told: str) -> None:
    assert shown_url(url) == told
