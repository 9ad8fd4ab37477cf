"""A stand-in for an EHR's FHIR server, for testers: synthetic fixtures, loopback only, read only.

Never a place for real data: its token is published in its source.
"""
