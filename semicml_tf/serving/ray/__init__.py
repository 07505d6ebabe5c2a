"""The same calls on Ray Serve, on one machine or several."""
