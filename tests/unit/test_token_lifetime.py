"""How long a client's token may live: five minutes, or as an operator sets for EHRs with others."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.auth.client_share import FailedTokens, MinuteCounts, SpentShares
from service.auth.clients import Client, TrustedClient
from service.auth.instance_tokens import InstanceTokens
from service.auth.key_sets import FixedKeys, read_key_set
from service.auth.replay_detection import Use
from service.auth.tokens import DEFAULT_LIFETIME, TokenChecker
from service.errors import ConfigurationError, Unauthenticated
from service.settings import load_settings
from tests.e2e.signing import rsa_signer
from tests.token_uses import first_use

ADDRESS = "192.0.2.7"
URL = "https://payer.example.org/cds-services/order-sign-crd"
KEYS = "https://ehr.example.org/interconnect/security/keys/530013"
SIGNER = rsa_signer("https://ehr.example.org/interconnect/api/FHIR/R4", kid="S2V5IG9uZQ==")


class Seen:
    """Remembers the jti of tokens."""

    def __init__(self) -> None:
        self.jti: dict[str, datetime] = {}

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        first = jti not in self.jti
        self.jti[jti] = expires
        return Use.FIRST if first else Use.REPLAYED


def checker(lifetime: int, seen: Seen | None = None) -> TokenChecker:
    keys = FixedKeys(read_key_set({"keys": [SIGNER.public()]}))
    trusted = {SIGNER.issuer: TrustedClient(Client(SIGNER.issuer, "Example EHR"), keys)}
    failed = FailedTokens(20, MinuteCounts())
    spent = SpentShares(MinuteCounts())
    return TokenChecker(trusted, seen or Seen(), failed, spent, lambda: datetime.now(UTC), lifetime)


def as_epic_signs(lifetime: int = 900) -> str:
    """A token with the claims and the header that Epic documents: nbf lies back, the kid is odd."""
    now = int(time.time())
    header = {"jku": KEYS}
    return SIGNER.token(URL, header, sub="client-1", iat=now, nbf=now - 300, exp=now + lifetime)


@pytest.mark.requirement("cds-hooks-2.0:176")
def test_a_token_of_a_quarter_of_an_hour_is_accepted_where_an_operator_says_so() -> None:
    assert checker(900).client_of(as_epic_signs(), URL, ADDRESS).name == "Example EHR"


def test_by_default_it_is_refused_with_the_limit() -> None:
    with pytest.raises(Unauthenticated) as refusal:
        checker(DEFAULT_LIFETIME).client_of(as_epic_signs(), URL, ADDRESS)
    assert refusal.value.why == "exp: must be at most 300 seconds after iat"


def test_a_longer_one_counts_once_too_and_is_remembered_until_it_has_expired() -> None:
    seen, signed_at = Seen(), time.time()
    check, token = checker(900, seen), as_epic_signs()
    check.client_of(token, URL, ADDRESS)
    with pytest.raises(Unauthenticated) as refusal:
        check.client_of(token, URL, ADDRESS)
    assert refusal.value.why == "jti: was used before"
    (until,) = seen.jti.values()
    assert until.timestamp() >= signed_at + 890


def test_this_instance_remembers_a_token_as_long_as_it_lives(tmp_path: Path) -> None:
    now = time.time()
    store = InstanceTokens(tmp_path / "used-tokens.sqlite3", lambda: now)
    expires = datetime.fromtimestamp(now + 900, UTC)
    assert first_use(store, "a", "jti", expires)
    now += 899
    assert not first_use(store, "a", "jti", expires)


@pytest.mark.parametrize("seconds", [0, 59, 3601])
def test_no_setting_lets_tokens_live_for_a_day(seconds: int) -> None:
    with pytest.raises(ConfigurationError, match="COVERCARD_TOKEN_LIFETIME"):
        load_settings(token_lifetime=seconds)
