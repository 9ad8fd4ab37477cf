// The workbench: fields and text of one request, firing it, and showing what came back.

import { curl, explain, feedback, fire, whatWasSaid } from "./calls.js";
import { check } from "./check.js";
import { addCoverage, asking, coverages, orders, parse, print } from "./request.js";

const $ = (id) => document.getElementById(id);
const services = JSON.parse($("bench").dataset.services);
const serviceOf = (hook) => services[hook] ?? services["order-sign"];

const stacked = matchMedia("(max-width: 60rem)"); // then the answers stand below the request
let loaded = ""; // the text of the example as it was loaded, for starting over
let chosen = 0; // how many examples were chosen
let ready = Promise.resolve(); // until the one chosen last is there

// --- The request: its text is the truth, the fields show it and change it.

function readRequest() {
  try {
    const data = parse($("request").value);
    const whole = data !== null && typeof data === "object" && !Array.isArray(data);
    return whole ? { data } : { wrong: "expected a JSON object" };
  } catch (error) {
    return { wrong: error.message };
  }
}

function choose(select, items) {
  const chosen = Math.max(0, Math.min(select.selectedIndex, items.length - 1));
  select.replaceChildren(...items.map(({ name }, i) => new Option(name, i, false, i === chosen)));
  document.querySelector(`[data-several="${select.id}"]`).hidden = items.length < 2;
  return items[chosen];
}

function pick(select, value) {
  select.value = value;
  if (select.selectedIndex < 0) select.value = "written";
}

function showFields() {
  const { data, wrong } = readRequest();
  const told = $("request").value.trim() && wrong;
  $("wrong").hidden = !told;
  $("wrong").textContent = told ? `This is not a hook request: ${wrong}.` : "";
  $("fields").disabled = !data;
  if (!data) return;
  const order = choose($("order"), orders(data));
  $("code").value = order?.hasCode ? order.code : "";
  $("code").disabled = !order?.hasCode;
  $("day").value = order?.hasDate ? order.date : "";
  $("day").disabled = !order?.hasDate;
  const coverage = choose($("coverage"), coverages(data));
  pick($("program"), coverage?.program ?? "none");
  pick($("payer"), coverage?.payer ?? "written");
  $("ends").value = coverage?.ends ?? "";
  $("payer").disabled = $("ends").disabled = !coverage;
}

function change(edit) {
  const { data } = readRequest();
  if (!data) return;
  edit({
    data,
    order: orders(data)[$("order").selectedIndex],
    coverage: coverages(data)[$("coverage").selectedIndex],
  });
  $("request").value = print(data);
  showFields();
}

$("order").addEventListener("change", showFields);
$("coverage").addEventListener("change", showFields);
$("request").addEventListener("input", showFields);
$("code").addEventListener("change", () => change(({ order }) => { order.code = $("code").value.trim(); }));
$("day").addEventListener("change", () => change(({ order }) => { order.date = $("day").value; }));
$("ends").addEventListener("change", () => change(({ coverage }) => { coverage.ends = $("ends").value; }));
$("payer").addEventListener("change", () => change(({ coverage }) => {
  coverage.setPayer($("payer").value, $("payer").selectedOptions[0].text);
}));
$("program").addEventListener("change", () => change(({ data, coverage }) => {
  const program = $("program").value;
  if (program === "none") coverage?.remove();
  else if (coverage) coverage.program = program;
  else addCoverage(data, program).setPayer($("payer").options[1].value, $("payer").options[1].text);
}));

function load(example) {
  $("fixture").value = example;
  $("shows").textContent = $("fixture").selectedOptions[0].dataset.shows ?? "";
  // What is changed before it is there would be lost.
  $("fields").disabled = $("request").readOnly = true;
  chosen += 1;
  ready = put(example, chosen);
}

async function put(example, turn) {
  let wrong = "";
  const text = await textOf(example).catch((error) => {
    wrong = `The example could not be loaded: ${error.message}.`;
    return "";
  });
  if (turn !== chosen) return; // another one was chosen meanwhile
  loaded = text;
  $("request").readOnly = false;
  $("order").replaceChildren();
  $("coverage").replaceChildren();
  $("request").value = loaded;
  showFields();
  if (wrong) {
    $("wrong").hidden = false;
    $("wrong").textContent = wrong;
  }
  if (!example) {
    $("raw").open = true;
    $("request").focus();
  }
}

async function textOf(example) {
  if (!example) return "";
  const reply = await fetch(`/workbench/fixtures/${example}`);
  if (!reply.ok) throw new Error(`HTTP ${reply.status}`);
  return reply.text();
}

$("fixture").addEventListener("change", () => load($("fixture").value));
$("reset").addEventListener("click", () => {
  $("version").value = "";
  $("columns").replaceChildren();
  $("said").textContent = "";
  $("empty").hidden = false;
  load($("fixture").value);
});

// --- Firing it.

$("request-form").addEventListener("submit", (event) => {
  event.preventDefault();
  show($("version").value.split(" "));
});
$("request-form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("request-form").requestSubmit();
});

async function show(versions) {
  $("fire").disabled = true;
  $("empty").hidden = true;
  $("said").classList.remove("hidden");
  $("said").textContent = "Firing…";
  try {
    await ready;
    const shown = await Promise.all(versions.map(column));
    $("columns").replaceChildren(...shown.map(({ element }) => element));
    $("said").textContent = shown.map(({ said }) => said).join(" ");
    $("said").classList.add("hidden"); // each column shows it, so it is only read out
    if (stacked.matches) $("answers-title").scrollIntoView();
  } catch (error) {
    $("columns").replaceChildren();
    $("said").textContent = `No answer: ${error.message}`;
  } finally {
    $("fire").disabled = false;
  }
}

async function column(version) {
  const { data } = readRequest();
  const sent = version && data ? print(asking(data, version)) : $("request").value;
  const service = serviceOf(data?.hook);
  const authorization = $("authorization").value.trim();
  const reply = await fire(service, sent, authorization);
  const element = $("column").content.firstElementChild.cloneNode(true);
  const part = (name) => element.querySelector(`[data-${name}]`);
  const title = version ? `CRD ${version}` : service;
  const facts = `HTTP ${reply.status} in ${reply.milliseconds.toFixed(0)} ms`;
  element.dataset.service = service;
  part("title").textContent = title;
  part("facts").textContent = facts;
  part("sent").textContent = sent;
  part("received").textContent = readable(reply.text);
  part("curl").textContent = curl(service, sent, Boolean(authorization));
  try {
    part("explained").innerHTML = await explain(service, sent, reply);
  } catch (error) {
    part("explained").textContent = `The answer cannot be shown as cards: ${error.message}`;
  }
  const cards = element.querySelectorAll("[data-card]").length;
  return { element, said: `${title}: ${facts}, ${cards} ${cards === 1 ? "card" : "cards"}.` };
}

function readable(text) {
  try {
    return print(parse(text));
  } catch {
    return text;
  }
}

// --- What an EHR's user would do with a card.

$("columns").addEventListener("click", (event) => {
  const accept = event.target.closest("[data-accept]");
  const copy = event.target.closest("[data-copy]");
  if (accept) {
    const accepted = [{ id: accept.dataset.accept }];
    respond(accept, { outcome: "accepted", acceptedSuggestions: accepted });
  }
  if (copy) copyText(copy);
});

$("columns").addEventListener("submit", (event) => {
  event.preventDefault();
  const { reason, comment } = event.target.elements;
  const chosen = reason?.selectedOptions[0];
  const why = {};
  if (chosen?.value) {
    const { system, display } = chosen.dataset;
    why.reason = { code: chosen.value, system, display };
  }
  if (comment.value.trim()) why.userComment = comment.value.trim();
  const told = Object.keys(why).length > 0;
  respond(event.target, { outcome: "overridden", ...(told && { overrideReason: why }) });
});

async function respond(origin, outcome) {
  const card = origin.closest("[data-card]");
  const { service } = origin.closest("[data-service]").dataset;
  const said = card.querySelector("[data-said]");
  said.textContent = "Sending feedback…";
  try {
    const item = { card: card.dataset.card, ...outcome };
    const reply = await feedback(service, item, $("authorization").value.trim());
    const taken = reply.status === 200;
    card.classList.toggle("done", taken);
    said.textContent = taken
      ? `Feedback sent: ${outcome.outcome}. The service took it (HTTP 200).`
      : `The service did not take the feedback: HTTP ${reply.status} ${whatWasSaid(reply.text)}`;
  } catch (error) {
    said.textContent = `The feedback could not be sent: ${error.message}`;
  }
}

async function copyText(button) {
  const shown = button.parentElement.querySelector("pre");
  try {
    await navigator.clipboard.writeText(shown.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  } catch {
    // No clipboard outside a secure context: mark the text, the reader copies it.
    getSelection().selectAllChildren(shown);
    button.textContent = "Marked: copy it now";
  }
}

// --- The self-check.

$("check")?.addEventListener("click", async () => {
  const rows = [...document.querySelectorAll("#examples [data-name]")];
  $("check").disabled = true;
  $("progress").hidden = false;
  $("verdict").textContent = "";
  const begun = performance.now();
  const different = await check(rows, serviceOf, $("authorization").value.trim(), (done) => {
    $("progress").value = done;
  });
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  $("verdict").textContent = different
    ? `${different} of ${rows.length} answers differ from what is expected (${seconds} s).`
    : `All ${rows.length} answers are as expected (${seconds} s).`;
  $("verdict").classList.toggle("bad", different > 0);
  listDiffering(rows.filter((row) => row.classList.contains("wrong")));
  $("expected").open = true;
  $("progress").hidden = true;
  $("check").disabled = false;
});

function listDiffering(rows) {
  $("differing").hidden = rows.length === 0;
  $("differing").replaceChildren(...rows.map((row) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#${row.id}`;
    link.textContent = `${row.querySelector("[data-open]").textContent} (${row.dataset.name})`;
    item.append(link, `: ${row.querySelector("[data-verdict]").textContent}`);
    return item;
  }));
}

$("examples")?.addEventListener("click", (event) => {
  const open = event.target.closest("[data-open]");
  if (!open) return;
  load(open.dataset.open);
  $("asking-title").scrollIntoView();
  $("fixture").focus({ preventScroll: true });
});

load($("fixture").value);
