"""The variables by which envkit knows what it has set itself; imported before much else is."""

# Beside each variable that envkit sets there is one of this name with the same value. Where the two
# differ, or there is no mark, it was set by hand, and stays.
MARK = "_ENVKIT_SET_"

# For which environment that was, by its folder. What was decided for one is not decided again
# there, and counts for nothing in another.
PLACE = "ENVKIT_GPU_ENVIRONMENT"

# Of which settings of it, where its settings have decided rather than a command line.
SETTINGS = "ENVKIT_GPU_SETTINGS"

# The UUIDs of the GPUs that a process has on lease, in the order in which it counts them.
LEASE = "ENVKIT_GPU_LEASE"

# How deep it is: 0 or nothing for a lease of whole GPUs, 1 for a part of that, and so on.
DEPTH = "ENVKIT_GPU_LEASE_DEPTH"

# The folder in which it is kept.
FOLDER = "ENVKIT_GPU_LEASE_FOLDER"
