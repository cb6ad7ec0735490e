#!/bin/sh
# Usage: tests/support/get_engines.sh
#
# Brings what the tests of images need, by apt and as root, on Debian or Ubuntu: the distribution's
# own Docker Engine, unless the machine has one; and in a folder of the tests' own
# (~/.cache/envkit-tests, or below $XDG_CACHE_HOME) buildx and a registry, on Debian also a newer
# engine with its command line. Nothing is started. What is there already is left as it is.

set -eu

# The release of Debian that the newer engine comes from. Its programs are linked statically but for
# a C library that Debian has had since its release 12, so that they run where they are unpacked.
newer=trixie
cache=${XDG_CACHE_HOME:-$HOME/.cache}/envkit-tests

work=$(mktemp -d)
policy=
trap 'rm -rf "$work" $policy' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }; }

updated=
update() { [ -n "$updated" ] || quietly apt-get update; updated=yes; }

# Download packages without installing them, and unpack them to a folder, which is there when all is
# in it: unpack FOLDER PACKAGE...
unpack() {
    folder=$1
    shift
    mkdir -p "$work/debs" "$work/unpacked" "$cache"
    # apt's own user, who downloads, may not write to a folder of root's. That is only a warning.
    (cd "$work/debs" && quietly apt-get download "$@")
    for package in "$work"/debs/*.deb; do dpkg -x "$package" "$work/unpacked"; done
    mv "$work/unpacked" "$folder"
    rm -r "$work/debs"
}

# Let apt see another release of Debian for once, on the mirror that it has the machine's own from.
use_newer() {
    # shellcheck disable=SC2016  # apt fills these in
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' \
        "Codename: $VERSION_CODENAME" | head -n 1)
    [ -n "$mirror" ] || { echo "$0: no mirror of Debian among the machine's sources" >&2 && exit 3; }
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    echo "deb $mirror $newer main" >"$work/apt/sources.list"
    cat >"$work/apt/apt.conf" <<CONF
Dir::Etc::SourceList "$work/apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
CONF
    # The keys that apt trusts for every source may not be those of Debian, which has a package of them.
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [ ! -f "$keys" ] || echo "deb [signed-by=$keys] $mirror $newer main" >"$work/apt/sources.list"
    export APT_CONFIG="$work/apt/apt.conf"
    quietly apt-get update
}

# shellcheck source=/dev/null
. /etc/os-release

if ! command -v dockerd >/dev/null && ! [ -x /usr/sbin/dockerd ]; then
    update
    # A package starts its service when it is installed, unless this says no (policy-rc.d(8)).
    if ! [ -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends docker.io
fi

if ! [ -d "$cache/registry" ]; then
    update
    unpack "$cache/registry" docker-registry
fi

case $ID in
    debian)
        if ! [ -d "$cache/engine-26" ]; then
            update
            use_newer
            unpack "$cache/engine-26" docker.io docker-cli docker-buildx containerd
        fi
        ;;
    *)
        if ! [ -d "$cache/buildx" ]; then
            update
            unpack "$cache/buildx" docker-buildx
        fi
        ;;
esac
