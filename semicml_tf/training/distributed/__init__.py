"""Training on several devices and several machines: devices, cluster, rendezvous and consensus."""
