"""Documentation status: sentences on the policy's own forms that are on file or do not count."""

from __future__ import annotations

from collections.abc import Iterator

from service.decision.determination import Determination, FormOnFile
from service.response.response_links import ResponseLinks


def documentation_sentences(d: Determination, links: ResponseLinks) -> Iterator[str]:
    """The sentences for card and coverage information, if any."""
    yield from (on_file_sentence(found, links) for found in d.documentation_on_file)
    phrases = links.texts.phrases
    for rejected in d.rejected_forms:
        if rejected.notice is None:
            yield phrases.documentation_rejected.format(
                title=links.form(rejected.form).title,
                because=phrases.why_rejected.of(rejected.why),
            )


def on_file_sentence(found: FormOnFile, links: ResponseLinks) -> str:
    """The sentence on one form on file."""
    title = links.form(found.form).title
    return links.texts.phrases.documentation_on_file.format(title=title)
