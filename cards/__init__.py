"""What the EHR gets and the clinician sees: cards, suggestions and coverage information.

Plain values come in, CDS Hooks structures go out. Nothing here knows of the service around it.
"""
