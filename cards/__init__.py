"""Cards, suggestions and coverage information: the answer for EHR and clinician.

Plain values in, CDS Hooks structures out. Imports nothing of the service.
"""
