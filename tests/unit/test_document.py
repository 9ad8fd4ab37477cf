import json

import pytest

from service.crd.hook_request import parse_json
from service.errors import MalformedRequest
from service.fhir.document import Document

BODY = b'{"entry": [ {"resource": {"id": "a", "n": 1.00}}, {"resource": {"id":"b"}} ]}'


@pytest.mark.requirement("crd-2.2.1:resp-37")
def test_a_resource_is_cut_out_of_the_document_byte_for_byte() -> None:
    document = Document(BODY, parse_json(BODY))
    assert document.raw(("entry", 0, "resource")) == b'{"id": "a", "n": 1.00}'
    assert document.raw(("entry", 1, "resource")) == b'{"id":"b"}'


@pytest.mark.requirement("crd-2.2.1:resp-37")
@pytest.mark.parametrize(
    ("neighbor", "name"),
    [("null", "a"), ('"text"', "a"), ("[1]", "a"), ("7", "a"), ("{}", 'a"b'), ("{}", "\\\n")],
)
def test_a_resource_is_cut_out_beside_values_of_another_kind_and_under_any_name(
    neighbor: str, name: str
) -> None:
    wanted = '{ "n": 1.00, "\\u0061": null }'
    body = f'{{{json.dumps(name)}: {{"entry": [{neighbor}, {{"x": 1, "resource": {wanted}}}]}}}}'
    document = Document(body.encode(), json.loads(body))
    assert document.raw((name, "entry", 1, "resource")) == wanted.encode()


def test_what_is_not_there_is_not_cut_out() -> None:
    document = Document(BODY, parse_json(BODY))
    with pytest.raises(IndexError):
        document.raw(("entry", 2, "resource"))
    with pytest.raises(KeyError):
        document.raw(("entry", 0, "other"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b"\xff",
        b"",
        b'{"a": 1} trailing',
    ],
)
def test_json_that_two_readers_would_understand_differently_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="not JSON"):
        parse_json(body)


def test_a_duplicate_key_is_placed_but_not_quoted() -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_json(b'{"secret": 1, "secret": 2}')
    assert "secret" not in str(caught.value)
    assert "line 1" in str(caught.value)
