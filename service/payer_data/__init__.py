"""Member, authorization, network, history and exemption records: what the payer itself knows.

`port` is what a review asks; `matching` decides, purely, which member a patient is; `embedded` and
`payer_fhir` are the sources. Without a source a review believes what the call tells, and says so.
"""
