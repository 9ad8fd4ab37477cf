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
  stringAsSource,
} from "@cqframework/cql/cql-to-elm";

const { modelInfo, sources } = JSON.parse(readFileSync(0, "utf-8"));
const found = (texts) => (name) => (name in texts ? stringAsSource(texts[name]) : null);

const models = new ModelManager();
models.modelInfoLoader.registerModelInfoProvider(createModelInfoProvider(found(modelInfo)));
// Without options the ELM has no annotations: it is read by engines, not by people.
const options = new CqlCompilerOptions();
options.setOptions([]);
const libraries = new LibraryManager(models, options);
libraries.librarySourceLoader.registerProvider(createLibrarySourceProvider(found(sources)));

const compiled = {};
let problems = 0;
for (const [name, cql] of Object.entries(sources)) {
  const translator = CqlTranslator.fromText(cql, libraries);
  for (const problem of translator.exceptions.asJsReadonlyArrayView()) {
    problems += 1;
    console.error(`${name}: ${problem.message}`);
  }
  compiled[name] = JSON.parse(translator.toJson());
}
if (problems) process.exit(1);
console.log(JSON.stringify(compiled));
