"""Getting what a call did not bring: what is needed, from where, how, and how that ended."""
