"""How good networks are: per patient on the patient's own grid, beside rows that read no network."""
