"""One picture per case, and a page of all pictures, for a person to check the input."""
