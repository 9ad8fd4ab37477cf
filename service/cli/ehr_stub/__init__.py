"""Stand-in EHR for testers: a read-only FHIR server of the fixtures on loopback.

Its token is public: never use it with real data.
"""
