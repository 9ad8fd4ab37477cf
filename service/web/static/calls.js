// The calls that the workbench makes: the hook itself, its explanation, and feedback.

const JSON_TYPE = "application/json";

async function post(url, body, authorization, accept = JSON_TYPE) {
  const headers = { "Content-Type": JSON_TYPE, Accept: accept };
  if (authorization) headers.Authorization = authorization;
  const begun = performance.now();
  const reply = await fetch(url, { method: "POST", headers, body, credentials: "omit" });
  const text = await reply.text();
  return { status: reply.status, text, milliseconds: performance.now() - begun };
}

// Fires the text of a request as it stands, so that nothing of it is rewritten on the way.
export function fire(service, request, authorization) {
  return post(`/cds-services/${encodeURIComponent(service)}`, request, authorization);
}

// The HTML of an answer: cards, changes and the way from order to answer.
export async function explain(service, request, reply) {
  const fired = { service, request, status: reply.status, answer: reply.text };
  const html = `text/html, ${JSON_TYPE};q=0.9`;
  const { status, text } = await post("/workbench/explain", JSON.stringify(fired), "", html);
  if (status !== 200) throw new Error(whatWasSaid(text) || `HTTP ${status}`);
  return text;
}

export function feedback(service, item, authorization) {
  const body = JSON.stringify({ feedback: [{ ...item, outcomeTimestamp: new Date().toISOString() }] });
  return post(`/cds-services/${encodeURIComponent(service)}/feedback`, body, authorization);
}

export function curl(service, request, authorized) {
  const url = `${location.origin}/cds-services/${service}`;
  const authorization = authorized ? ` \\\n  -H "Authorization: $AUTHORIZATION"` : "";
  return `curl -sS '${url}' -H 'Content-Type: ${JSON_TYPE}'${authorization} \\\n`
    + `  --data-binary @- <<'REQUEST'\n${request}\nREQUEST`;
}

// What an OperationOutcome says, in one line; "" if the text is none.
export function whatWasSaid(text) {
  try {
    return (JSON.parse(text).issue ?? []).map((i) => i.diagnostics ?? i.code).join("; ");
  } catch {
    return "";
  }
}
