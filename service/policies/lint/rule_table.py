"""Tables of lint rules, by input and by effect on a start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

from service.errors import Finding
from service.policies.folder import LibraryFolder
from service.policies.lint import (
    authority,
    card_wording,
    case_coverage,
    citations,
    codes,
    decision_rules,
    effective_periods,
    facts_told,
    left_open,
    notice_rules,
    published_files,
    questionnaire_profile,
    unread_files,
)

Rule = Callable[[LibraryFolder], Iterator[Finding]]
DatedRule = Callable[[LibraryFolder, date], Iterator[Finding]]

_FILES: tuple[Rule, ...] = (
    left_open.nothing_is_left_to_fill_in,
    effective_periods.id_is_the_folder,
    effective_periods.file_name_is_the_start,
    effective_periods.end_is_not_before_the_start,
    effective_periods.versions_do_not_overlap,
)

STOPPING: tuple[Rule, ...] = (
    *_FILES,
    codes.code_stands_once_in_a_version,
    codes.codes_have_the_shape_of_their_system,
    codes.billing_codes_are_of_the_policy,
    codes.value_sets_are_on_file,
    decision_rules.rules_can_be_read,
    decision_rules.rule_ids_stand_once,
    decision_rules.forms_of_rules_are_on_file,
    decision_rules.forms_stand_once,
    citations.citations_resolve,
    citations.citations_stand_once,
    authority.authorities_are_in_order,
    authority.determination_has_an_authority,
    authority.determination_cites_its_authority,
    authority.plan_policy_does_not_decide_for_medicare,
    notice_rules.notices_are_on_file,
    notice_rules.program_has_notice_advice,
    card_wording.summary_fits_a_card,
)
"""What would make an answer wrong or ambiguous: the service does not start with it."""

STOPPING_NOTICES: tuple[Rule, ...] = (
    *_FILES,
    notice_rules.notice_folder_holds_an_edition,
    notice_rules.forms_are_on_file,
    notice_rules.situations_can_be_read,
    notice_rules.patient_fills_the_patients_blanks,
)
"""The same for notices, which can be loaded alone."""

TOGETHER: tuple[Rule, ...] = (
    notice_rules.notice_is_for_the_program,
    notice_rules.patient_is_told_the_policys_reason,
)
"""The same for contradictions between policies and notices."""

START: tuple[Rule, ...] = tuple(dict.fromkeys((*STOPPING, *STOPPING_NOTICES, *TOGETHER)))
"""All rules that stop a start."""

PUBLISHED: tuple[Rule, ...] = (
    published_files.published_file_is_not_edited,
    published_files.published_file_is_there,
    published_files.correction_has_its_reason,
    published_files.file_is_published,
)
"""Rules on published files; publishing requires all other rules to pass."""

CONTENT: tuple[Rule, ...] = (
    *START,
    unread_files.every_file_is_read,
    effective_periods.versions_leave_no_gap,
    effective_periods.folder_holds_a_version,
    codes.code_stands_in_one_policy_a_day,
    citations.citations_are_used,
    decision_rules.facts_of_cases_can_be_read,
    facts_told.code_systems_fit_the_facts,
    facts_told.answers_can_be_facts,
    facts_told.windows_fit_the_facts,
    facts_told.encounters_are_told_in_these_words,
    facts_told.facts_are_used,
    facts_told.limits_have_units,
    questionnaire_profile.questionnaires_fit_the_base_profile,
    decision_rules.every_rule_can_decide,
    decision_rules.overlaps_have_a_case,
    decision_rules.both_sides_have_a_case,
    decision_rules.open_asks_for_what_can_be_missing,
    card_wording.never_said,
    case_coverage.policy_has_cases,
    case_coverage.case_is_told_once,
    case_coverage.every_code_has_a_case,
    case_coverage.every_program_has_a_case,
    case_coverage.every_edge_has_a_case,
)
"""Rules on the files themselves."""

ALL: tuple[Rule, ...] = (*CONTENT, *PUBLISHED)

DATED: tuple[DatedRule, ...] = (
    effective_periods.review_is_not_overdue,
    effective_periods.nothing_is_to_be_checked,
    notice_rules.notice_has_not_expired,
)
"""Rules that depend on the day; their findings are warnings."""
