"""Reports specific to PReL and ASC: pseudo-labels, similarity of maps, teachers, hidden truth."""
