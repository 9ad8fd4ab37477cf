"""DTR (Documentation Templates and Rules) 2.2, the payer's side: packages of forms for orders."""
