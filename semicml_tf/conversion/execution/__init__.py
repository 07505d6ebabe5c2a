"""The execution of a conversion: tasks, workers, the work folder and the output."""
