"""Facts of an order by where they are told: order, patient, coverage, encounter, earlier care."""
