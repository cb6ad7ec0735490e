#!/bin/sh
# Usage: tests/support/get_slurm.sh
#
# Brings Slurm, by apt and as root, on Debian or Ubuntu, unless it is there. Nothing is started: the
# tests start clusters of their own.

set -eu

for program in slurmctld slurmd srun munged; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || lacking=yes
done
[ -n "${lacking:-}" ] || exit 0

log=$(mktemp)
policy=
trap 'rm -f "$log" $policy' EXIT
# A package starts its service when it is installed, unless this says no (policy-rc.d(8)).
if ! [ -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
{
    apt-get update
    apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
} >"$log" 2>&1 || { cat "$log" >&2 && exit 1; }
