#!/bin/sh
# Usage: engine.sh COMMAND [ARGUMENT]...
#
# In a mount namespace: hides from a command what belongs to other engines of the machine, gives it
# control groups, and becomes it.

set -eu

# Keys, the socket of the machine's containerd, the sockets of containers, plugins. The folders stay,
# empty, where no package has made them: other engines may have them hidden as well.
for folder in /etc/docker /run/containerd /opt/containerd; do
    mkdir -p "$folder"
    mount -t tmpfs none "$folder"
done

# A machine without an init system of the usual kinds may have mounted no control groups.
if ! grep -q ' /sys/fs/cgroup' /proc/mounts; then
    mount -t cgroup2 none /sys/fs/cgroup
    if ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
        # What the kernel keeps in the older hierarchies is not to be had in the new one.
        umount /sys/fs/cgroup
        mount -t tmpfs -o mode=755 none /sys/fs/cgroup
        awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups | while read -r controller; do
            mkdir "/sys/fs/cgroup/$controller"
            mount -t cgroup -o "$controller" none "/sys/fs/cgroup/$controller"
        done
    fi
fi

exec "$@"
