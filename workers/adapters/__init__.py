"""The channels to agencies. A new one is one file that keeps `contract.Adapter`."""
