"""UCUM units of facts, convertible to one unit of their dimension.

A closed list: an unlisted unit makes a value unreadable, never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

_DAY = Decimal(24)
_YEAR = Decimal("365.25")
"""UCUM's Julian year in days; its month is a twelfth of it."""

_DIMENSIONS: Mapping[str, Mapping[str, Decimal]] = {
    "%": {"%": Decimal(1), "1": Decimal(100)},
    "mm[Hg]": {
        "mm[Hg]": Decimal(1),
        "kPa": Decimal("7.500615758456563"),
        "Pa": Decimal("0.007500615758456563"),
        "cm[H2O]": Decimal("0.7355591400843373"),
    },
    "kg": {
        "kg": Decimal(1),
        "g": Decimal("0.001"),
        "mg": Decimal("0.000001"),
        "[lb_av]": Decimal("0.45359237"),
        "[oz_av]": Decimal("0.028349523125"),
    },
    "cm": {
        "cm": Decimal(1),
        "m": Decimal(100),
        "mm": Decimal("0.1"),
        "[in_i]": Decimal("2.54"),
        "[ft_i]": Decimal("30.48"),
    },
    "kg/m2": {"kg/m2": Decimal(1)},
    "mL": {"mL": Decimal(1), "dL": Decimal(100), "L": Decimal(1000), "ml": Decimal(1)},
    "L/min": {"L/min": Decimal(1), "mL/min": Decimal("0.001"), "l/min": Decimal(1)},
    "g/L": {
        "g/L": Decimal(1),
        "g/dL": Decimal(10),
        "mg/dL": Decimal("0.01"),
        "mg/L": Decimal("0.001"),
        "ug/L": Decimal("0.000001"),
        "ng/mL": Decimal("0.000001"),
    },
    "mmol/L": {"mmol/L": Decimal(1), "umol/L": Decimal("0.001"), "mol/L": Decimal(1000)},
    "d": {
        "d": Decimal(1),
        "h": 1 / _DAY,
        "min": 1 / (_DAY * 60),
        "wk": Decimal(7),
        "mo": _YEAR / 12,
        "a": _YEAR,
    },
    "/d": {
        "/d": Decimal(1),
        "/h": _DAY,
        "/min": _DAY * 60,
        "/wk": 1 / Decimal(7),
        "/mo": 12 / _YEAR,
        "/a": 1 / _YEAR,
    },
    "Cel": {"Cel": Decimal(1)},
}
_ONES = {"1": Decimal(1)}
_ANNOTATION = re.compile(r"\{[^{}]*\}")


def convert(value: Decimal, unit: str, to: str) -> Decimal | None:
    """`value` of `unit` in the unit `to`; None where no rule of this list leads there.

    Annotations ("{tests}") count as the unit one, as UCUM has it. Thus a percentage is not a
    plain number unless `to` says "%".
    """
    unit, to = _bare(unit), _bare(to)
    if unit == to:
        return value
    for units in _DIMENSIONS.values():
        if unit in units and to in units:
            return value * units[unit] / units[to]
    return None


def is_known(unit: str) -> bool:
    """Whether `unit` is in the list."""
    unit = _bare(unit)
    return unit in _ONES or any(unit in units for units in _DIMENSIONS.values())


def _bare(unit: str) -> str:
    return _ANNOTATION.sub("", unit).strip() or "1"
