"""The protocol: what a hook call looks like, which version it asks for, what discovery declares."""
