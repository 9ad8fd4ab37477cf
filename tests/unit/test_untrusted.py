import pytest

from cards.untrusted import as_text


def test_plain_words_stay_readable() -> None:
    assert as_text("MRS brain") == "MRS brain"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("[x](javascript:alert(1))", r"\[x\]\(javascript\:alert\(1\)\)"),
        ("<script>alert(1)</script>", r"&lt;script&gt;alert\(1\)&lt;\/script&gt;"),
        ("safe\u202egnp.exe", r"safe gnp\.exe"),
        ("line\n# heading", r"line \# heading"),
        ("mail a@b.example", r"mail a at b\.example"),
        ("https://evil.example", r"https\:\/\/evil\.example"),
        ("a & b", "a &amp; b"),
    ],
)
def test_markup_links_and_direction_marks_show_as_characters(hostile: str, shown: str) -> None:
    assert as_text(hostile) == shown


def test_a_long_name_is_cut() -> None:
    assert as_text("x" * 200) == "x" * 79 + "…"
