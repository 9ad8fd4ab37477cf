"""Policy library: dated, cited files, their checks, and the policy store of decisions."""
