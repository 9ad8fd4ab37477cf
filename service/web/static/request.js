// A hook request as plain data: reading it, printing it, and the few values that fields may change.

const SOURCE_OF_PAYMENT = "https://nahdo.org/sopt";
const CPT = "http://www.ama-assn.org/go/cpt";
const HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets";
// Their shapes tell them apart: E1390 is HCPCS, 76390 and 0609T are CPT.
const systemOf = (code) => (/^[A-V]\d{4}$/i.test(code) ? HCPCS : CPT);
const PROGRAM_OF_TYPE = {
  11: "medicare_advantage", 111: "medicare_advantage", 112: "medicare_advantage",
  113: "medicare_advantage", 119: "medicare_advantage",
  12: "original_medicare", 121: "original_medicare",
};
const TYPE_OF_PROGRAM = {
  medicare_advantage: { coding: [{ system: SOURCE_OF_PAYMENT, code: "111" }] },
  original_medicare: { coding: [{ system: SOURCE_OF_PAYMENT, code: "121" }] },
  not_told: { coding: [{ system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: "PUBLICPOL" }] },
};

// Where each order type keeps its code, and the kind of date of service that a field can change.
const ORDER_TYPES = {
  ServiceRequest: { code: ["code"], date: "occurrence" },
  DeviceRequest: { code: ["codeCodeableConcept"], date: "occurrence" },
  CommunicationRequest: { code: ["category", 0], date: "occurrence" },
  MedicationRequest: { code: ["medicationCodeableConcept"] },
  NutritionOrder: {},
  VisionPrescription: {},
  Appointment: { code: ["serviceType", 0], date: "start" },
};

// Numbers keep the digits that they were written with (1.00 stays 1.00), where the browser can.
const keepsDigits = typeof JSON.rawJSON === "function";

export function parse(text) {
  if (!keepsDigits) return JSON.parse(text);
  return JSON.parse(text, (key, value, { source }) =>
    typeof value === "number" ? JSON.rawJSON(source) : value);
}

export function print(data) {
  return JSON.stringify(data, null, 2);
}

function* slots(request) {
  for (const part of [request.context, request.prefetch]) {
    for (const [key, value] of Object.entries(part ?? {})) {
      if (value?.resourceType === "Bundle") {
        for (const entry of value.entry ?? []) {
          if (entry.resource) {
            const remove = () => { value.entry = value.entry.filter((e) => e !== entry); };
            yield { resource: entry.resource, remove };
          }
        }
      } else if (value?.resourceType) {
        yield { resource: value, remove: () => { part[key] = null; } };
      }
    }
  }
}

const name = ({ resourceType, id }) => `${resourceType}/${id ?? "without id"}`;

export function orders(request) {
  return [...slots(request)]
    .map(({ resource }) => resource)
    .filter(({ resourceType }) => resourceType in ORDER_TYPES)
    .map((resource) => new Order(resource));
}

export function coverages(request) {
  return [...slots(request)]
    .filter(({ resource }) => resource.resourceType === "Coverage")
    .map((slot) => new Coverage(slot, request));
}

export function addCoverage(request, program) {
  const resource = {
    resourceType: "Coverage",
    id: "added",
    status: "active",
    beneficiary: { reference: `Patient/${request.context?.patientId}` },
  };
  request.prefetch ??= {};
  const bundle = request.prefetch.coverage;
  if (bundle?.resourceType === "Bundle") {
    bundle.entry = [...(bundle.entry ?? []), { resource }];
  } else {
    request.prefetch.coverage = { resourceType: "Bundle", type: "searchset", entry: [{ resource }] };
  }
  const [added] = coverages(request).filter((c) => c.resource === resource);
  added.program = program;
  return added;
}

class Order {
  constructor(resource) {
    this.resource = resource;
    this.shape = ORDER_TYPES[resource.resourceType];
  }

  get name() { return name(this.resource); }
  get hasCode() { return Boolean(this.shape.code); }
  get hasDate() { return Boolean(this.shape.date); }

  get #coding() {
    const [element, index] = this.shape.code ?? [];
    const concept = index === undefined ? this.resource[element] : this.resource[element]?.[index];
    const codings = concept?.coding ?? [];
    return { concept, coding: codings.find((c) => /cpt|HCPCS/i.test(c.system ?? "")) ?? codings[0] };
  }

  get code() { return this.#coding.coding?.code ?? ""; }

  set code(code) {
    const { concept, coding } = this.#coding;
    if (coding) {
      if ([undefined, CPT, HCPCS].includes(coding.system)) coding.system = systemOf(code);
      coding.code = code;
      delete coding.display; // it named the code that stood here
      delete concept.text;
      return;
    }
    const made = { coding: [{ system: systemOf(code), code }] };
    const [element, index] = this.shape.code;
    this.resource[element] = index === undefined ? made : [made];
  }

  get date() {
    const { resource } = this;
    const written = this.shape.date === "start"
      ? resource.start
      : resource.occurrenceDateTime ?? resource.occurrencePeriod?.start;
    return written?.slice(0, 10) ?? "";
  }

  set date(day) {
    const { resource } = this;
    if (this.shape.date === "start") {
      for (const element of ["start", "end"]) {
        if (day && resource[element]) resource[element] = day + resource[element].slice(10);
      }
      return;
    }
    delete resource.occurrencePeriod;
    delete resource.occurrenceTiming;
    if (day) resource.occurrenceDateTime = day;
    else delete resource.occurrenceDateTime;
  }
}

class Coverage {
  constructor({ resource, remove }, request) {
    this.resource = resource;
    this.remove = remove;
    this.request = request;
  }

  get name() { return name(this.resource); }

  get program() {
    const told = (this.resource.type?.coding ?? [])
      .filter(({ system }) => system === SOURCE_OF_PAYMENT)
      .map(({ code }) => PROGRAM_OF_TYPE[code]);
    return told.find(Boolean) ?? "not_told";
  }

  set program(program) { this.resource.type = structuredClone(TYPE_OF_PROGRAM[program]); }

  get payer() {
    const [payor] = this.resource.payor ?? [];
    const identifier = payor?.identifier ?? this.#organization(payor?.reference)?.identifier?.[0];
    return identifier ? `${identifier.system}|${identifier.value}` : "written";
  }

  setPayer(written, display) {
    const [system, value] = written.split("|");
    this.resource.payor = [{ identifier: { system, value }, display }];
  }

  get ends() { return this.resource.period?.end?.slice(0, 10) ?? ""; }

  set ends(day) {
    const { end, ...period } = this.resource.period ?? {};
    this.resource.period = day ? { ...period, end: day } : period;
    if (!Object.keys(this.resource.period).length) delete this.resource.period;
  }

  #organization(reference) {
    if (!reference) return undefined;
    if (reference.startsWith("#")) {
      return (this.resource.contained ?? []).find(({ id }) => id === reference.slice(1));
    }
    const found = [...slots(this.request)].find(({ resource }) =>
      resource.resourceType === "Organization" && reference.endsWith(name(resource)));
    return found?.resource;
  }
}

export function asking(request, version) {
  request.extension = { ...request.extension, "davinci-crd.requestedVersion": version };
  return request;
}
