"""The split: which patients are labelled, unlabelled, for validation and for testing."""
