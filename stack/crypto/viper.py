"""The kernels in viper (none yet: the plain ones stand in)."""
