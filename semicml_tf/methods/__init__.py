"""Training methods: one small file each behind the interface of `base.Method`."""
