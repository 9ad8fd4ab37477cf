"""EHR access: fetching of missing resources from the FHIR server of a call."""
