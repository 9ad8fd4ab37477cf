"""Stand-in EHR for testers: a FHIR server of the fixtures on loopback.

It keeps what clients create and update in memory, until it stops.

Its token is public: never use it with real data.
"""
