"""CRD protocol without network: discovery, hook requests, versions, configuration options."""
