"""FHIR readers: documents, references, and resources as facts of the decision. No network."""
