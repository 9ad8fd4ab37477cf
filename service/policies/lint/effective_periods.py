"""Lint rules on files and days: names, overlaps, gaps, reviews."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise

from service.decision.policy import ReviewEffect
from service.errors import Finding
from service.policies.folder import LibraryFolder


def id_is_the_folder(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.every_file:
        if file.data.id != file.folder:
            problem = f"{file.data.id} lies in the folder {file.folder}"
            yield file.finding(("id",), problem, "give both the same name")


def file_name_is_the_start(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.every_file:
        start = file.data.effective.start
        if file.path.stem != start.isoformat():
            problem = f"starts on {start}, but the file is {file.path.name}"
            repair = f"rename the file to {start}.yaml, or fix the start"
            yield file.finding(("effective", "start"), problem, repair)


def end_is_not_before_the_start(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.every_file:
        period = file.data.effective
        if period.end is not None and period.end < period.start:
            problem = f"ends on {period.end}, before it starts"
            yield file.finding(("effective", "end"), problem, "fix the start or the end")


def versions_do_not_overlap(folder: LibraryFolder) -> Iterator[Finding]:
    """Editions of a notice may overlap: a form's old print is usable beside the new one."""
    for files in folder.policies.values():
        for earlier, later in pairwise(files):
            period, start = earlier.data.effective, later.data.effective.start
            if period.overlaps(later.data.effective):
                problem = f"still in force when {later.path.name} starts"
                last = start - timedelta(days=1)
                at = ("effective", "end") if period.end else ("effective",)
                yield earlier.finding(at, problem, f'set end: "{last}"')


def versions_leave_no_gap(folder: LibraryFolder) -> Iterator[Finding]:
    for versions in folder.policies.values():
        for earlier, later in pairwise(versions):
            end, start = earlier.data.effective.end, later.data.effective.start
            if end and start - end > timedelta(days=1):
                problem = f"no version is in force between {end} and {start}"
                repair = "fix this start or the earlier version's end"
                yield later.finding(("effective", "start"), problem, repair)


def folder_holds_a_version(folder: LibraryFolder) -> Iterator[Finding]:
    broken = {f.file.parent for f in folder.findings}
    for name, versions in folder.policies.items():
        place = folder.directory / name
        if not versions and place not in broken:
            repair = "add <effective start>.yaml, or remove the folder"
            yield Finding(place, "(folder)", "holds no version of a policy", repair)


_EFFECTS = {
    ReviewEffect.WARN: "",
    ReviewEffect.VERIFY: "; until then the answer is: under review, ask the plan (verify)",
    ReviewEffect.STOP: "; until then this policy gives no answer (stop)",
}


def nothing_is_to_be_checked(folder: LibraryFolder, on: date) -> Iterator[Finding]:
    """A fact without a source that was read stays in sight until somebody has read one."""
    for file in folder.every_file:
        period = file.data.effective
        for i, said in enumerate(file.data.to_be_checked):
            if period.end is None or on <= period.end:
                repair = "read the source, correct the file, and take the line out"
                yield file.finding(
                    ("to_be_checked", i), f"to be checked: {said}", repair, warning=True
                )


def review_is_not_overdue(folder: LibraryFolder, on: date) -> Iterator[Finding]:
    for file in folder.versions:
        due = file.data.review.next
        if file.data.effective.holds(on) and due < on.isoformat()[: len(due)]:
            yield file.finding(
                ("review", "next"),
                f"the review was due {due} and is overdue{_EFFECTS[file.data.review.when_overdue]}",
                "review the policy and publish the next version",
                warning=True,
            )
