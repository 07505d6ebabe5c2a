"""From intensities in native units to the numbers that a network reads; what is plausible before."""
