"""One HTML page of evaluated runs, for people: tables, plots, patients' pictures, an interactive viewer."""
