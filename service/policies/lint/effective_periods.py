"""Rules about files and days: names, order, overlaps, gaps, reviews."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import chain, pairwise

from service.errors import Finding
from service.policies.drafts import Draft, Drafts


def _everything(drafts: Drafts) -> Iterator[Draft]:
    return chain(drafts.versions, drafts.editions)


def id_is_the_folder(drafts: Drafts) -> Iterator[Finding]:
    for draft in _everything(drafts):
        if draft.data["id"] != draft.folder:
            problem = f"{draft.data['id']} lies in the folder {draft.folder}"
            yield draft.file.finding(("id",), problem, "give both the same name")


def file_name_is_the_start(drafts: Drafts) -> Iterator[Finding]:
    for draft in _everything(drafts):
        if draft.file.path.stem != draft.starts.isoformat():
            problem = f"starts on {draft.starts}, but the file is {draft.file.path.name}"
            repair = f"rename the file to {draft.starts}.yaml, or mend the start"
            yield draft.file.finding(("effective", "start"), problem, repair)


def end_is_not_before_the_start(drafts: Drafts) -> Iterator[Finding]:
    for draft in _everything(drafts):
        if draft.ends is not None and draft.ends < draft.starts:
            problem = f"ends on {draft.ends}, before it starts"
            yield draft.file.finding(("effective", "end"), problem, "mend the start or the end")


def versions_do_not_overlap(drafts: Drafts) -> Iterator[Finding]:
    for versions in chain(drafts.policies.values(), drafts.notices.values()):
        for earlier, later in pairwise(versions):
            if earlier.overlaps(later):
                problem = f"still in force when {later.file.path.name} starts"
                last = later.starts - timedelta(days=1)
                at = ("effective", "end") if earlier.ends else ("effective",)
                yield earlier.file.finding(at, problem, f'set end: "{last}"')


def versions_leave_no_gap(drafts: Drafts) -> Iterator[Finding]:
    for versions in drafts.policies.values():
        for earlier, later in pairwise(versions):
            if earlier.ends and later.starts - earlier.ends > timedelta(days=1):
                problem = f"no version is in force between {earlier.ends} and {later.starts}"
                repair = "mend this start or the earlier version's end"
                yield later.file.finding(("effective", "start"), problem, repair)


def folder_holds_a_version(drafts: Drafts) -> Iterator[Finding]:
    broken = {f.file.parent for f in drafts.findings}
    for folder, versions in drafts.policies.items():
        place = drafts.directory / folder
        if not versions and place not in broken:
            repair = "add <effective start>.yaml, or remove the folder"
            yield Finding(place, "(folder)", "holds no version of a policy", repair)


def review_is_not_overdue(drafts: Drafts, on: date) -> Iterator[Finding]:
    for draft in drafts.versions:
        due: str = draft.data["review"]["next"]
        in_force = draft.starts <= on and (draft.ends is None or on <= draft.ends)
        if in_force and due < on.isoformat()[: len(due)]:
            yield draft.file.finding(
                ("review", "next"),
                f"the review was due {due} and is overdue",
                "review the policy and publish the next version",
                warning=True,
            )
