"""FHIR in: documents as they came, references, and reading resources into the decision's words."""
