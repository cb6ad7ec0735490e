"""The install script that `envkit init` writes, run for real: in each shell, offline."""
