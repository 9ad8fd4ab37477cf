"""Uses of tokens without a proxy that names its requests."""

from __future__ import annotations

from datetime import datetime

from service.auth.replay_detection import Use, UsedTokens


def first_use(used: UsedTokens, issuer: str, jti: str, expires: datetime) -> bool:
    """Whether this use of a token is its first; any other is a replay."""
    use = used.use(issuer, jti, expires)
    assert use is not Use.REPEATED
    return use is Use.FIRST
