"""The statements of CRD and CDS Hooks that bind a service, and which of them tests verify."""
