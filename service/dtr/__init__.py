"""DTR (Documentation Templates and Rules) 2.2, payer server: packages of forms for orders."""
