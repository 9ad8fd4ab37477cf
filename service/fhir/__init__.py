"""FHIR in: documents as they came, references, and reading resources into the decision's words.

`fetching` gets what did not come along; nothing that reads knows of it.
"""
