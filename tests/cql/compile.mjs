// Compiles CQL to ELM. In, as JSON: {modelInfo: {name: XML}, sources: {library name: CQL}}.
// Out: {library name: ELM}. Each problem, warnings included, goes to stderr and fails the whole.
import { readFileSync } from "node:fs";

import {
  CqlCompilerOptions,
  CqlTranslator,
  LibraryManager,
  ModelManager,
  createLibrarySourceProvider,
  createModelInfoProvider,
  createUcumService,
  stringAsSource,
} from "@cqframework/cql/cql-to-elm";

// A warning on each retrieve by a code: the compiler would compare by FHIRHelpers, engines do not.
const WITHOUT_HELPERS = "Could not resolve membership operator for terminology target";

const { modelInfo, sources } = JSON.parse(readFileSync(0, "utf-8"));
const found = (texts) => (name) => (name in texts ? stringAsSource(texts[name]) : null);

const models = new ModelManager();
models.modelInfoLoader.registerModelInfoProvider(createModelInfoProvider(found(modelInfo)));
// Without options the ELM has no annotations: it is read by engines, not by people.
const options = new CqlCompilerOptions();
options.setOptions([]);
// Every unit passes: the CQL here has no units but those of time, which are CQL's own.
const absent = () => {
  throw new Error("no arithmetic of units at hand");
};
const units = createUcumService(absent, () => null, absent, absent);
const libraries = new LibraryManager(models, options, undefined, units);
libraries.librarySourceLoader.registerProvider(createLibrarySourceProvider(found(sources)));

const compiled = {};
let problems = 0;
for (const [name, cql] of Object.entries(sources)) {
  const translator = CqlTranslator.fromText(cql, libraries);
  for (const problem of translator.exceptions.asJsReadonlyArrayView()) {
    if (problem.message.startsWith(WITHOUT_HELPERS)) continue;
    problems += 1;
    console.error(`${name}: ${problem.message}`);
  }
  const elm = JSON.parse(translator.toJson());
  // What stands there now are those warnings alone.
  elm.library.annotation = elm.library.annotation.filter((a) => a.type !== "CqlToElmError");
  compiled[name] = elm;
}
if (problems) process.exit(1);
console.log(JSON.stringify(compiled));
