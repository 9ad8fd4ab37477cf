"""All that the service answers by, read together: policies, notices and payers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from service.errors import Finding, LibraryError
from service.policies import files
from service.policies.drafts import read_drafts
from service.policies.files import LibraryFile
from service.policies.lint.payer_rules import duplicate_payers, unknown_policies
from service.policies.lint.rule_table import START
from service.policies.notices import NoticeLibrary, notices_of
from service.policies.payers import Payers, payers_of
from service.policies.policy_store import PolicyStore, policies_of


class OnFile(NamedTuple):
    policies: PolicyStore
    notices: NoticeLibrary
    payers: Payers


def load_library(directory: Path, payers_file: Path) -> OnFile:
    """Read the policies and notices under `directory`, and the payers.

    Raises LibraryError with everything that would make an answer wrong: what stops a policy or a
    notice by itself, a notice that is not for the program or lacks the reason that it gives, a
    payer with a policy that is not on file.
    """
    drafts = read_drafts(directory, cases=False)
    found = [*drafts.findings, *(f for rule in START for f in rule(drafts))]
    payers = _payers(payers_file, found)
    if payers is not None:
        found.extend((*duplicate_payers(payers), *unknown_policies(payers, drafts)))
    if found or payers is None:
        raise LibraryError(found)
    return OnFile(policies_of(drafts), notices_of(drafts), payers_of(payers))


def _payers(path: Path, found: list[Finding]) -> LibraryFile | None:
    try:
        return files.load(path, "payers")
    except LibraryError as error:
        found.extend(error.findings)
        return None
