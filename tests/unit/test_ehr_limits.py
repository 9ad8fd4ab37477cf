"""An EHR's answers have the caps of a call, before they are decoded; a silent EHR is left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from service.ehr import fhir_client
from service.ehr.allowlist import OutboundPolicy
from service.ehr.fetch_report import Outcome, TokenUse
from service.ehr.fhir_client import Access, FhirClients, Limits
from service.ehr.fhir_query import FhirQuery, Read, Search
from service.ehr.resource_fetcher import EhrFetcher, Fetched
from service.errors import FetchFailed, TooManyCalls
from service.fhir.document import Document
from service.fhir.json_pieces import PIECE_BYTES
from service.fhir.resources import Resources

SERVER = "http://127.0.0.1:9/fhir"
SEARCH = Search("Observation", (("patient", "a"),))


class Ehr:
    """Answers each query by `answer`, without a network; `asked` counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limits: Limits | None = None) -> None:
        self.now = 0.0
        self.asked = 0
        self.answer: Callable[[FhirQuery], list[Document]] = lambda _: []
        self.waiting: list[str] = []
        self.room = True
        clients = FhirClients(OutboundPolicy(), limits or Limits(), monotonic=lambda: self.now)
        ehr = self

        def documents(_client: object, need: FhirQuery, _deadline: float) -> list[Document]:
            ehr.asked += 1
            return ehr.answer(need)

        monkeypatch.setattr(fhir_client.FhirClient, "documents", documents)
        self.fetcher = EhrFetcher(clients, 5.0, lambda _: True, self.wait)

    @contextmanager
    def wait(self) -> Iterator[None]:
        if not self.room:
            raise TooManyCalls("at most 1 calls waiting for the EHR", 1, limit="waiting")
        self.waiting.append("in")
        yield
        self.waiting.append("out")

    def call(self, *needs: FhirQuery, client: str = "hospital", token: str = "t") -> Fetched:
        access = Access(SERVER, token, None, client)
        plan: Sequence[FhirQuery] = needs or (SEARCH,)
        return self.fetcher.complete(Resources(), lambda _: plan, access, "Patient/a")

    def outcomes(self, *needs: FhirQuery, client: str = "hospital") -> list[str]:
        return [r.outcome.value for r in self.call(*needs, client=client).reports]


@pytest.fixture
def ehr(monkeypatch: pytest.MonkeyPatch) -> Ehr:
    return Ehr(monkeypatch)


def silence(_: FhirQuery) -> list[Document]:
    raise FetchFailed(Outcome.TIMEOUT)


def bundle(count: int) -> list[Document]:
    entries = [{"resource": {"resourceType": "Observation", "id": f"o{n}"}} for n in range(count)]
    return [Document(b"", {"resourceType": "Bundle", "entry": entries})]


@pytest.mark.threat("hostile-ehr")
def test_an_answer_of_too_many_resources_is_a_failed_query_and_none_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ehr = Ehr(monkeypatch, Limits(max_resources=10))
    ehr.answer = lambda _: bundle(11)
    fetched = ehr.call()
    assert [r.outcome for r in fetched.reports] == [Outcome.TOO_LARGE]
    assert (fetched.resources, fetched.failed) == ((), {SEARCH})
    ehr.answer = lambda _: bundle(10)
    assert len(ehr.call().resources) == 10


@pytest.mark.threat("hostile-ehr")
def test_the_resources_of_all_queries_of_a_call_count_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ehr = Ehr(monkeypatch, Limits(max_resources=10))
    ehr.answer = lambda _: bundle(6)
    other = Search("Observation", (("patient", "a"), ("code", "1")))
    assert sorted(ehr.outcomes(SEARCH, other)) == ["fetched", "too-large"]


@pytest.mark.threat("silent-ehr")
def test_after_five_calls_without_any_answer_nobody_waits_for_the_ehr_any_more(ehr: Ehr) -> None:
    ehr.answer = silence
    assert [ehr.outcomes() for _ in range(7)] == [["timeout"]] * 5 + [["left-alone"]] * 2
    assert ehr.asked == 5
    assert ehr.waiting == ["in", "out"] * 5


@pytest.mark.threat("silent-ehr")
def test_a_silent_ehr_is_tried_again_by_one_call_and_used_when_it_answers(ehr: Ehr) -> None:
    ehr.answer = silence
    for _ in range(6):
        ehr.call()
    ehr.now, ehr.answer = 10.1, lambda _: bundle(1)
    assert [ehr.outcomes() for _ in range(3)] == [["fetched"]] * 3


def test_what_arrives_together_is_looked_through_once(ehr: Ehr) -> None:
    """A look for what is missing costs as much as a decision."""
    needs = [Search("Observation", (("patient", "a"), ("code", str(n)))) for n in range(3)]
    under_way, first, looks = threading.Barrier(3), threading.Event(), list[int]()

    def answer(need: FhirQuery) -> list[Document]:
        under_way.wait(60)  # each has a thread of its own
        if need != needs[0]:
            assert first.wait(60)
        return bundle(1)

    def plan(_: Resources) -> Sequence[FhirQuery]:
        looks.append(len(looks))
        if len(looks) == 2:  # the first answer is there: let the others come meanwhile
            first.set()
            until = time.monotonic() + 60
            while len(ehr.fetcher.threads._idle) < len(needs):
                assert time.monotonic() < until, "they do not come"
                time.sleep(0.001)
        return needs

    ehr.answer = answer
    access = Access(SERVER, "t", None, "hospital")
    fetched = ehr.fetcher.complete(Resources(), plan, access, "Patient/a")
    assert [r.outcome for r in fetched.reports] == [Outcome.FETCHED] * 3
    assert len(looks) == 3


def test_an_ehr_that_answers_anything_at_all_is_not_silent(ehr: Ehr) -> None:
    """Also one that refuses, and one that answers a part of what it is asked."""

    def refuse(_: FhirQuery) -> list[Document]:
        raise FetchFailed(Outcome.REFUSED)

    def some(need: FhirQuery) -> list[Document]:
        return bundle(1) if need == SEARCH else silence(need)

    for answer in (refuse, some):
        ehr.answer = answer
        for _ in range(8):
            assert "left-alone" not in ehr.outcomes(SEARCH, Read("Encounter/1"))


@pytest.mark.threat("silent-ehr")
def test_one_client_cannot_have_an_ehr_left_alone_for_another(ehr: Ehr) -> None:
    ehr.answer = silence
    for _ in range(6):
        ehr.call()
    ehr.answer = lambda _: bundle(1)
    assert ehr.outcomes() == ["left-alone"]
    assert ehr.outcomes(client="clinic") == ["fetched"]


def test_the_token_is_not_used_at_an_ehr_that_is_left_alone(ehr: Ehr) -> None:
    ehr.answer = silence
    for _ in range(5):
        ehr.call()
    fetched = ehr.call()
    assert fetched.token_use is TokenUse.NOT_USED
    assert fetched.failed == {SEARCH}


@pytest.mark.threat("silent-ehr")
def test_a_call_for_which_there_is_no_place_to_wait_is_refused_and_asks_nothing(ehr: Ehr) -> None:
    ehr.room = False
    for _ in range(8):
        with pytest.raises(TooManyCalls):
            ehr.call()
    ehr.room = True
    ehr.answer = lambda _: bundle(1)
    assert ehr.asked == 0
    assert ehr.outcomes() == ["fetched"]


def test_a_call_that_lacks_nothing_does_not_wait(ehr: Ehr) -> None:
    access = Access(SERVER, "t", None, "hospital")
    ehr.fetcher.complete(Resources(), lambda _: (), access, "Patient/a")
    assert ehr.waiting == []


def test_however_an_ehr_paces_its_answers_what_is_missing_is_looked_for_a_few_times(
    ehr: Ehr,
) -> None:
    """Each look costs as much as a decision of all orders."""
    plans = 0

    def plan(resources: Resources) -> Sequence[FhirQuery]:
        nonlocal plans
        plans += 1
        return [Search("Observation", (("code", str(n)),)) for n in range(plans)]

    ehr.answer = lambda _: bundle(1)
    access = Access(SERVER, "t", None, "hospital")
    ehr.fetcher.complete(Resources(), plan, access, "Patient/a")
    assert plans <= 1 + 12


LARGE = b'{"resourceType": "Bundle", "entry": [' + b'{"a": 1},' * 20_000 + b'{"a": 1}]}'


def reader(clients: FhirClients, client: str = "hospital") -> fhir_client.FhirClient:
    return clients.client(Access(SERVER, "t", None, client))


@pytest.mark.threat("hostile-ehr")
def test_a_large_answer_is_parsed_in_pieces_beside_quick_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A parser of two megabytes would hold up every call of the worker."""
    sizes: list[int] = []
    in_block: list[bool] = []
    within = False

    def parse(text: bytes, of_piece: Callable[[bytes], object] = fhir_client._parse) -> object:
        sizes.append(len(text))
        in_block.append(within)
        return of_piece(text)

    @contextmanager
    def costly() -> Iterator[None]:
        nonlocal within
        within = True
        yield
        within = False

    monkeypatch.setattr(fhir_client, "_parse", parse)
    clients = FhirClients(OutboundPolicy(), Limits(), monotonic=lambda: 0.0, costly=lambda: costly)
    assert len(reader(clients)._read(LARGE, 1.0)["entry"]) == 20_001
    assert max(sizes) < 1.1 * PIECE_BYTES
    assert set(in_block) == {True}
    with pytest.raises(FetchFailed, match="not-fhir"):
        reader(clients)._read(LARGE[:-1], 1.0)


@pytest.mark.threat("hostile-ehr")
def test_the_large_answers_to_one_call_are_parts_of_one_costly_call() -> None:
    """Together they give way to others for a moment, not each of them."""
    calls: list[list[str]] = []

    def costly() -> Callable[[], AbstractContextManager[None]]:
        blocks: list[str] = []
        calls.append(blocks)

        @contextmanager
        def block() -> Iterator[None]:
            blocks.append("read")
            yield

        return block

    clients = FhirClients(OutboundPolicy(), Limits(), monotonic=lambda: 0.0, costly=costly)
    for _ in range(2):
        of_call = reader(clients)
        for _ in range(3):
            of_call._read(LARGE, 1.0)
    assert calls == [["read"] * 3] * 2


@pytest.mark.threat("hostile-ehr")
def test_of_one_clients_ehr_one_large_answer_is_read_at_a_time() -> None:
    """Eight answers of each of its calls that wait would else be read beside other clients'."""
    clients = FhirClients(OutboundPolicy(), Limits(), monotonic=lambda: 0.0)
    one, another, clinic = reader(clients), reader(clients), reader(clients, "clinic")
    with one._reading:
        with pytest.raises(FetchFailed) as late:
            another._read(LARGE, 0.05)
        assert late.value.outcome == Outcome.TIMEOUT
        assert another._read(b'{"id": "small"}', 1.0) == {"id": "small"}
        assert len(clinic._read(LARGE, 1.0)["entry"]) == 20_001
    assert len(another._read(LARGE, 1.0)["entry"]) == 20_001
