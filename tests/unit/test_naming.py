from cards.naming import NamedService, codes_phrase, fill, services_phrase

BRAIN = NamedService("76390", "MR spectroscopy", "MR spectroscopy")
DISC = [
    NamedService(code, "disc", "MR spectroscopy for disc pain")
    for code in ("0609T", "0610T", "0611T", "0612T")
]


def test_one_service_is_named_by_its_group() -> None:
    assert fill("{services} ({codes})", [BRAIN]) == "MR spectroscopy (76390)"


def test_codes_of_one_group_are_all_named() -> None:
    expected = "MR spectroscopy for disc pain: 0609T, 0610T, 0611T, 0612T"
    assert fill("{services}: {codes}", DISC) == expected


def test_a_group_name_that_another_begins_with_stands_for_both() -> None:
    assert services_phrase([BRAIN, *DISC]) == "MR spectroscopy"


def test_more_than_five_codes_are_counted() -> None:
    many = [NamedService(f"1000{n}", "x", "x") for n in range(8)]
    assert codes_phrase(many) == "10000, 10001, 10002, 10003 and 4 more"
