// A DTR app around a renderer: it fetches the package, shows the form, and gives the response back.
// Renderers know questions and answers; what else a response says is the app's to keep.
"use strict";

window.dtrApp = {
  renderer: null,
  begun: null,

  async post(address, resource) {
    const reply = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/fhir+json" },
      body: JSON.stringify(resource),
    });
    const answer = await reply.json();
    if (!reply.ok) throw new Error(`${reply.status}: ${JSON.stringify(answer)}`);
    return answer;
  },

  // The resources of the first package that the payer has for these parameters.
  async fetchPackage(payer, parameters) {
    const answer = await this.post(`${payer}/Questionnaire/$questionnaire-package`, parameters);
    const bundle = answer.parameter ? answer.parameter[0].resource : answer;
    return bundle.entry.map((entry) => entry.resource);
  },

  // The form with the answers of the value sets that came expanded: no renderer sends a token to
  // $expand.
  withLists(questionnaire, resources) {
    const lists = new Map();
    for (const { resourceType, url, version, expansion } of resources) {
      if (resourceType === "ValueSet" && expansion) lists.set(`${url}|${version}`, expansion);
    }
    const filled = ({ answerValueSet, item, ...rest }) => ({
      ...rest,
      ...(item && { item: item.map(filled) }),
      ...(lists.has(answerValueSet)
        ? { answerOption: lists.get(answerValueSet).contains.map((valueCoding) => ({ valueCoding })) }
        : answerValueSet && { answerValueSet }),
    });
    return { ...questionnaire, item: questionnaire.item.map(filled) };
  },

  async show(questionnaire, begun, payer) {
    this.begun = begun;
    await this.renderer.show(questionnaire, begun, payer);
  },

  // The response begun by the payer, with the items that the renderer gives.
  response(status) {
    const { item } = this.renderer.response();
    const { item: _, ...kept } = this.begun;
    return item ? { ...kept, status, item } : { ...kept, status };
  },

  // An adaptive form's next step: what the payer makes of a response, by default the one shown.
  async nextQuestion(payer, response = this.response("in-progress")) {
    return this.post(`${payer}/Questionnaire/$next-question`, response);
  },
};
