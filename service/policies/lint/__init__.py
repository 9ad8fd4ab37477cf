"""Lint: everything about a policy library that would mislead a reader or break an answer."""
