"""Actions of a form's button: the Task, after the form and the response where the EHR gets them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cards.questionnaires import Form
from cards.task import FormRequest, questionnaire_task
from cards.texts.wording import Phrases
from cards.vocabulary import Action, Json

IF_NONE_EXIST = "davinci-crd.if-none-exist"


def form_completion(
    request: FormRequest, form: Form | None, response: Json | None, phrases: Phrases
) -> Iterator[Action]:
    """The actions in their sequence; the Task points at the response."""
    if form is not None:
        # A conditional create (CRD 2.2.1 dev-19): the EHR may have a copy by then.
        query = f"url={form.url}&version={form.version}"
        yield Action(
            type="create",
            description=phrases.create_form.format(title=form.title),
            resource=form.resource,
            extension={IF_NONE_EXIST: query},
        )
    if response is not None:
        yield Action(type="create", description=phrases.create_response, resource=response)
        begun = f"QuestionnaireResponse/{response['id']}"
        request = msgspec.structs.replace(request, response=begun)
    task = questionnaire_task(request)
    yield Action(type="create", description=request.description, resource=task)
