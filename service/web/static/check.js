// The self-check: every example is fired, and its answer held against what is expected of it.

import { fire, whatWasSaid } from "./calls.js";

const COVERAGE_INFORMATION =
  "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information";

export async function check(rows, serviceOf, authorization, onProgress) {
  let different = 0;
  for (const [index, row] of rows.entries()) {
    const difference = await differs(row, serviceOf, authorization);
    row.classList.toggle("wrong", Boolean(difference));
    row.classList.toggle("right", !difference);
    row.querySelector("[data-verdict]").textContent = difference || "as expected";
    if (difference) different += 1;
    onProgress(index + 1);
  }
  return different;
}

async function differs(row, serviceOf, authorization) {
  try {
    const text = await (await fetch(`/workbench/fixtures/${row.dataset.name}`)).text();
    const reply = await fire(serviceOf(JSON.parse(text).hook), text, authorization);
    if (reply.status !== 200) return `HTTP ${reply.status} ${whatWasSaid(reply.text)}`.trim();
    return difference(JSON.parse(row.dataset.expected), JSON.parse(reply.text));
  } catch (error) {
    return `no answer: ${error.message}`;
  }
}

function difference(expected, answer) {
  const cards = answer.cards.map((card) => card.source.topic.code);
  const said = [
    compared("cards", expected.cards, cards),
    compared("orders", expected.statements.map((s) => s.join(" ")).sort(), statements(answer).sort()),
  ];
  return said.filter(Boolean).join("; ");
}

function compared(what, expected, got) {
  if (expected.join() === got.join()) return "";
  return `${what}: got ${got.join(", ") || "none"} instead of ${expected.join(", ") || "none"}`;
}

function statements(answer) {
  return answer.systemActions.flatMap(({ resource }) => resource.extension
    .filter(({ url }) => url === COVERAGE_INFORMATION)
    .map(({ extension }) => extension.find(({ url }) => url === "covered").valueCode)
    .map((covered) => `${resource.resourceType}/${resource.id} ${covered}`));
}
