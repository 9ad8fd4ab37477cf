"""Token removal: what admits somebody to an EHR stays in no column of the log.

A token is told by the name of its member (`access_token`, also misspelled), by its value wherever
that stands, or by its form: a JWT, "Bearer …", a parameter of a URL. Accepted and refused calls
are treated alike. A call with its token in its own place only, as nearly all are, costs a search
of its bytes; any other is walked, and all its columns with it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import quote, quote_plus, unquote

import msgspec

from service.decision.determination import Determination
from service.decision_log.call_record import CallRecord, DeterminationRecord
from service.decision_log.stored_json import read_kept
from service.decision_log.token_signs import has_signs
from service.interpreter_lock import giving_way

REMOVED = "token-removed"
"""What stands in the place of a token within other text; a valid id of FHIR."""

_AUTHORIZATION = "fhirAuthorization"
_SHORTEST = 8
"""Characters: a shorter text may be a common word, and is a token by its member's name only."""

_HARMLESS = frozenset({"tokentype", "expiresin", "scope", "subject", "patient"})
"""Members of fhirAuthorization that admit nobody (CDS Hooks 2.0), normalized."""
_SECRETS = frozenset({"secret", "clientsecret", "password", "apikey", "bearer", "jwt"})
_TOKEN = "accesstoken"  # noqa: S105  the name of the member
_HOLDERS = ("fhirauthorization", "authorization")
_LETTERS_OFF = 2
_MOST_VALUES = 400
"""Forms of tokens that are looked for in one call; a body with more of them is not kept."""
# None of these looks at a text again from within a word: a word of a megabyte would take hours.
_JWT = re.compile(r"eyJ[\w-]{5,}+(?:\.[\w=-]*+){1,4}+", re.ASCII)
"""From its first letters; what stands before them in the same word is none of it."""
_JWT_BEGINS = "eyJ"
_WORD = re.compile(r"[\w-]*+", re.ASCII)
_BEARER = re.compile(
    r"(?<=\bbearer )\s*+(?=\S*[\d._~+/=-])[\w.~+/=-]{8,}+",
    re.ASCII | re.IGNORECASE,
)
_PARAMETER = re.compile(r"(?<![\w.%-])(?P<name>[\w.%-]++)=(?P<value>[^&;#\s\"'<>]++)")
_USER = re.compile(r"://[^/\s?#@]+@")
_WORDS = re.compile(r"\s|://")
_NAMED_BY = ("url", "name", "key")
"""Members that name what a sibling `value…` holds, as in FHIR's extensions."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_EMPTY = b'""'
_NOTHING = (b"", b"null", b"{}")


def without_tokens(record: CallRecord) -> CallRecord:
    """The record of a call without any token; its `request` comes in as received.

    `request` is None afterwards where the body is no JSON object: nothing can be told of it. The
    value of a token's own member becomes "", so that the body is still a call; within other text a
    token becomes REMOVED.
    """
    if record.request is None:
        return record
    removal = _Removal()
    try:
        request, is_elsewhere = removal.request(record.request)
    except (ValueError, RecursionError):
        return msgspec.structs.replace(record, request=None)
    if removal.too_many:
        # Each text is searched for each value: hundreds in a body would take hours.
        return removal.columns(msgspec.structs.replace(record, request=None, fetched=None))
    cleaned = msgspec.structs.replace(record, request=request)
    if is_elsewhere or (record.fetched is not None and removal.is_suspicious(record.fetched)):
        return removal.columns(cleaned)
    return cleaned


def without_tokens_in(text: str | None) -> str | None:
    """A text of a client, such as a comment, without what has the form of a token."""
    return None if text is None else _Removal().text(text)


class _Removal:
    """The removal of tokens from one call; learns their values from its body."""

    def __init__(self) -> None:
        self._values: list[str] = []
        self.too_many = False

    def request(self, body: bytes) -> tuple[bytes, bool]:
        """The body without tokens, and whether there was a sign of one outside its own place.

        Raises ValueError or RecursionError for what is no JSON object.
        """
        members = _members(body)
        authorization = bytes(members.get(_AUTHORIZATION, b""))
        before, cleaned, after = body, b"", b""
        rest, is_alone = body, True
        if authorization not in _NOTHING:
            self._learn(_tokens_in(read_kept(authorization), is_token=True))
            cleaned = self._walk(authorization, is_token=True)
            # From the end, for speed: CPython looks for bytes from there in a third of the time.
            before, _, after = body.rpartition(authorization)
            others, _, colon = before.rpartition(b'"fhirAuthorization"')
            rest = b"%b%b%b" % (others, colon, after)
            is_alone = authorization not in before
        if is_alone and not self.is_suspicious(rest):
            return (b"%b%b%b" % (before, cleaned, after) if cleaned else body), False
        self._learn(_tokens_in(read_kept(body)))
        return (body if self.too_many else self._walk(body)), True

    def is_suspicious(self, data: bytes) -> bool:
        """Whether a JSON text may have a token in it."""
        return has_signs(data, self._values)

    def text(self, text: str) -> str:
        """A text without tokens."""
        for value in self._values:
            text = text.replace(value, REMOVED)
        if "=" in text:
            text = _PARAMETER.sub(_without_value, text)
        if "@" in text:
            text = _USER.sub(f"://{REMOVED}@", text)
        text = _without(_jwts(text), text)
        if _may_say_bearer(text):
            # By a function: between two of them other calls compute.
            text = _BEARER.sub(_removed, text)
        return text

    def columns(self, record: CallRecord) -> CallRecord:
        """The record with each of its texts and JSON values cleaned."""
        return msgspec.structs.replace(
            record,
            answer=self._walk(record.answer),
            fetched=None if record.fetched is None else self._walk(record.fetched),
            decided=tuple(map(self._decided, record.decided)),
            **{
                name: None if (text := getattr(record, name)) is None else self.text(text)
                for name in ("hook_instance", "ehr", "patient", "encounter")
            },
        )

    def _learn(self, tokens: Iterable[str]) -> None:
        """Know these values, also in upper case, as codes are kept, and as parts of a URL."""
        found = {*self._values}
        for token in tokens:
            if len(token) >= _SHORTEST:
                found |= {token, token.upper(), quote(token, safe=""), quote_plus(token)}
            self.too_many = len(found) > _MOST_VALUES
            if self.too_many:
                break
        self._values = sorted(found, key=len, reverse=True)

    def _walk(self, raw: bytes, *, is_token: bool = False) -> bytes:
        """A JSON value without tokens; what is not changed keeps its written form.

        `is_token`: by its name the value is a token, or holds one.
        """
        first = raw.lstrip()[:1]
        if first == b"{":
            members = _members(raw)
            named = _names_its_value(members)
            kept: dict[str, msgspec.Raw] = {}
            for name, value in giving_way(members.items()):
                holds = _is_token_name(name) or (is_token and _plain(name) not in _HARMLESS)
                holds = holds or (named and name.startswith("value"))
                kept[self.text(name)] = msgspec.Raw(self._walk(bytes(value), is_token=holds))
            return _encode(kept)
        if first == b"[":
            return _encode(
                [
                    msgspec.Raw(self._walk(bytes(v), is_token=is_token))
                    for v in giving_way(_elements(raw))
                ]
            )
        if first == b'"':
            if is_token:
                return _EMPTY
            text = _string(raw)
            cleaned = self.text(text)
            return raw if cleaned == text else _encode(cleaned)
        is_number = first not in (b"t", b"f", b"n")
        known = raw.strip().decode("ascii", "replace") in self._values
        return _EMPTY if is_number and (is_token or known) else raw

    def _decided(self, record: DeterminationRecord) -> DeterminationRecord:
        d = record.determination
        cleaned: Determination = dataclasses.replace(
            d,
            order=self._value(d.order),
            finding=self._value(d.finding),
            billing_codes=self._value(d.billing_codes),
            trace=self._value(d.trace),
        )
        replaces = None if record.replaces is None else self.text(record.replaces)
        return msgspec.structs.replace(record, determination=cleaned, replaces=replaces)

    def _value(self, value: Any) -> Any:
        """A value of the decision with its texts cleaned."""
        if type(value) is str:  # no member of an enumeration
            return self.text(value)
        if isinstance(value, tuple):
            parts = [self._value(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            parts_by_name = {
                f.name: self._value(getattr(value, f.name)) for f in dataclasses.fields(value)
            }
            return dataclasses.replace(value, **parts_by_name)
        return value


def _tokens_in(data: Any, *, is_token: bool = False, is_named: bool = False) -> Iterator[str]:
    """The values in plain data that are tokens by their name or form.

    `is_token` as in `_walk`; `is_named`: the name is a token's, not that of something beside one.
    """
    if isinstance(data, str):
        if is_token and (is_named or _looks_random(data)):
            yield data
        yield from _formed_tokens(data)
    elif isinstance(data, list):
        for item in giving_way(data):
            yield from _tokens_in(item, is_token=is_token, is_named=is_named)
    elif isinstance(data, dict):
        named = _names_its_value(data)
        for name, value in giving_way(data.items()):
            holds = _is_token_name(name) or (is_token and _plain(name) not in _HARMLESS)
            by_sibling = named and name.startswith("value")
            yield from _tokens_in(
                value, is_token=holds or by_sibling, is_named=_names_a_token(name) or by_sibling
            )


def _formed_tokens(text: str) -> Iterator[str]:
    """The parts of a text that have the form of a token."""
    yield from (text[begin:end] for begin, end in _jwts(text))
    if _may_say_bearer(text):
        yield from (found[0].strip() for found in _BEARER.finditer(text))
    if "@" in text:
        yield from (found[0][3:-1] for found in _USER.finditer(text))
    if "=" in text:
        for parameter in _PARAMETER.finditer(text):
            if _is_token_name(unquote(parameter["name"])):
                yield parameter["value"]
                yield unquote(parameter["value"])


def _jwts(text: str) -> Iterator[tuple[int, int]]:
    """The begin and end of each part of a text that has the form of a JWT.

    Found by its first letters, not tried at each place: a text of a megabyte takes a millisecond
    or two, during which no other call computes, and not a dozen.
    """
    at = text.find(_JWT_BEGINS)
    while at >= 0:
        found = _JWT.match(text, at)
        if found is not None:
            yield found.span()
        # Without a token from these letters on, the rest of their word has none either.
        end = (found or cast("re.Match[str]", _WORD.match(text, at))).end()
        at = text.find(_JWT_BEGINS, end)


def _without(spans: Iterable[tuple[int, int]], text: str) -> str:
    """A text with REMOVED in the place of these parts."""
    parts: list[str] = []
    after = 0
    for begin, end in spans:
        parts += (text[after:begin], REMOVED)
        after = end
    return "".join([*parts, text[after:]]) if parts else text


def _may_say_bearer(text: str) -> bool:
    return "earer " in text or "EARER " in text


def _names_its_value(members: Mapping[str, Any]) -> bool:
    """Whether an object says by its url, name or key that its value is a token."""
    for name in _NAMED_BY:
        told = members.get(name)
        if isinstance(told, msgspec.Raw):
            raw = bytes(told)
            told = _string(raw) if raw[:1] == b'"' else None
        if isinstance(told, str) and _names_a_token(re.split(r"[/#:.|]", told)[-1]):
            return True
    return False


def _looks_random(text: str) -> bool:
    """Whether a text of an unknown member may be a token, and no word or address."""
    has_both = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    return len(text) >= 2 * _SHORTEST and has_both and not _WORDS.search(text)


_LONGEST_KNOWN = 64
"""Characters of a name that is remembered. Callers choose the names, and thousands of a megabyte
would fill the memory.
"""


def _is_token_name(name: str) -> bool:
    """Whether a member of this name holds a token, or the authorization around one."""
    return (_known if len(name) <= _LONGEST_KNOWN else _looked_at)(name).holds


def _names_a_token(name: str) -> bool:
    """Whether a name is a token's, not that of something beside one."""
    return (_known if len(name) <= _LONGEST_KNOWN else _looked_at)(name).is_token


class _Name(NamedTuple):
    """A name without case and separators: "Access-Token" is "accesstoken". And what it says."""

    plain: str
    is_token: bool
    holds: bool


def _looked_at(name: str) -> _Name:
    plain = "".join(c for c in name.casefold() if c.isalnum())
    is_token = plain not in _HARMLESS and (
        "token" in plain or plain in _SECRETS or _is_near(plain, _TOKEN)
    )
    holds = is_token or any(_is_near(plain, holder) for holder in _HOLDERS)
    return _Name(plain, is_token, holds)


_known = lru_cache(maxsize=2048)(_looked_at)


def _plain(name: str) -> str:
    return (_known if len(name) <= _LONGEST_KNOWN else _looked_at)(name).plain


def _is_near(word: str, wanted: str) -> bool:
    """Whether a word is at most _LETTERS_OFF letters off (Levenshtein)."""
    if abs(len(word) - len(wanted)) > _LETTERS_OFF:
        return False
    row = list(range(len(wanted) + 1))
    for n, letter in enumerate(word, 1):
        before, row[0] = row[0], n
        for m, other in enumerate(wanted, 1):
            change = before + (letter != other)
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, change)
    return row[-1] <= _LETTERS_OFF


def _removed(_: re.Match[str]) -> str:
    return REMOVED


def _without_value(parameter: re.Match[str]) -> str:
    if not _is_token_name(unquote(parameter["name"])):
        return parameter[0]
    return f"{parameter['name']}={REMOVED}"
