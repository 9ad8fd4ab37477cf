"""Payer data: the payer's records of members, authorizations, network, history and exemptions.

`port` is the interface of a review; `matching`, the pure rules of member matching; `embedded` and
`payer_fhir`, the sources. Without a source, a review rests on the call, and says so.
"""
