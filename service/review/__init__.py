"""The use case: one hook call or DTR call, its steps in order."""
