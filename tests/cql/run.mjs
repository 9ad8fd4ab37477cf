// Runs libraries on patients' charts. In, as JSON, a list of {libraries: [ELM], library: the name of
// one, version, definitions: [name], chart: [FHIR resource], now}. Out: of each {definition: value}.
import { readFileSync } from "node:fs";

import cql from "cql-execution";
import fhir from "cql-exec-fhir";

const runs = JSON.parse(readFileSync(0, "utf-8"));

function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value?.isDate || value?.isDateTime) return value.toString();
  if (value?.isQuantity) return { value: value.value, unit: value.unit };
  return value?.json ?? value ?? null;
}

async function run({ libraries, library, version, definitions, chart, now }) {
  const repository = new cql.Repository(libraries);
  const executor = new cql.Executor(repository.resolve(library, version));
  const patients = fhir.PatientSource.FHIRv401();
  patients.loadBundles([
    { resourceType: "Bundle", type: "collection", entry: chart.map((resource) => ({ resource })) },
  ]);
  const moment = cql.DateTime.parse(now);
  const results = await executor.exec(patients, moment);
  const [found] = Object.values(results.patientResults);
  return Object.fromEntries(definitions.map((name) => [name, plain(found[name])]));
}

console.log(JSON.stringify(await Promise.all(runs.map(run))));
