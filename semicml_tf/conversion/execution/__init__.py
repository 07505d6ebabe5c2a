"""How a conversion runs: tasks, workers, the folder of work in progress, and the output."""
