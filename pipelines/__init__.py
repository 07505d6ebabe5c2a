"""Jobs made of the package's commands, one after another."""
