"""Signs of tokens are found in bytes, whatever their case and spelling; other text has none."""

import pytest

from service.decision_log.token_signs import has_signs
from tests.bench.bodies import order_sign_bodies

TOKEN = "s3cr/t-v4lue"


@pytest.mark.parametrize(
    "text",
    [
        '{"Access-Token": "a"}',
        '{"acces_tokn": "a"}',
        '{"AUTHORIZATION": "a"}',
        '{"client_SECRET": "a"}',
        '{"note": "BEARER abcdefgh1"}',
        '{"note": "eyJhbGciOiJFUzM4NCJ9.e30.c2ln"}',
        '{"url": "https://somebody:pass@ehr.example.org"}',
        '{"note": "\\u0062earer abcdefgh1"}',
        '{"note": "S3CR/T-V4LUE"}',
        '{"note": "s3cr\\/t-v4lue"}',
    ],
)
@pytest.mark.threat("misplaced-token")
def test_a_sign_is_found(text: str) -> None:
    assert has_signs(text.encode(), [TOKEN])


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"note": "ask ann@example.org, or see https://ehr.example.org/@here"}',
        '{"div": "<div xmlns=\\"http://www.w3.org/1999/xhtml\\">\\n</div>"}',
        '{"note": "eyj, in lower case, begins no JWT"}',
        '{"note": "caf\\u00e9"}',
    ],
)
def test_other_text_has_none(text: str) -> None:
    assert not has_signs(text.encode(), [])


def test_bytes_that_are_no_utf_8_are_searched_all_the_same() -> None:
    assert has_signs(b'{"note": "\xff", "token": "a"}', [])
    assert not has_signs(b'{"note": "\xff"}', [])


def test_a_call_without_its_authorization_has_none() -> None:
    whole = order_sign_bodies(1)[0]
    assert has_signs(whole, [])
    begins = whole.index(b'"fhirAuthorization"')
    ends = whole.index(b"}", begins) + 1
    assert not has_signs(whole[:begins] + whole[ends:], [TOKEN])
