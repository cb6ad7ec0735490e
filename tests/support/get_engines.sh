#!/bin/sh
# Usage: tests/support/get_engines.sh
#
# Brings what the tests of images need, by apt and as root, on Debian or Ubuntu: the distribution's
# own Docker Engine, unless the machine has one; and in a folder of the tests' own
# (~/.cache/envkit-tests, or below $XDG_CACHE_HOME) buildx, a registry, and the files of another
# release of the distribution with its Python and apt; on Debian also a newer engine with its
# command line. Nothing is started. What is there already is left as it is.

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

# Let apt see another release for once, on the mirror that it has the machine's own from, and think
# that nothing is installed: use_release RELEASE
use_release() {
    # shellcheck disable=SC2016  # apt fills this in
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Component: main' \
        "Codename: $VERSION_CODENAME" | head -n 1)
    [ -n "$mirror" ] || { echo "$0: apt has no source of $VERSION_CODENAME" >&2 && exit 3; }
    mkdir -p "$work/$1/lists/partial" "$work/$1/cache/archives/partial"
    # The keys that apt trusts for every source need not be the distribution's, which has a file.
    keys=/usr/share/keyrings/$ID-archive-keyring.gpg
    [ -f "$keys" ] && signed="[signed-by=$keys] " || signed=
    echo "deb $signed$mirror $1 main" >"$work/$1/sources.list"
    cat >"$work/$1/apt.conf" <<CONF
Dir::Etc::SourceList "$work/$1/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$work/$1/lists";
Dir::State::Status "/dev/null";
Dir::Cache "$work/$1/cache";
CONF
    export APT_CONFIG="$work/$1/apt.conf"
    quietly apt-get update
}

# Unpack a release, as if it were installed, with the packages that tests need: unpack_release NAME
unpack_release() {
    use_release "$1"
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends \
        --download-only apt base-files base-passwd bash ca-certificates coreutils dash diffutils \
        findutils grep gzip libc-bin mawk perl-base python3 python3-venv sed tar
    records=$work/unpacked/var/lib/dpkg
    mkdir -p "$records/info" "$records/updates"
    for package in "$work/$1/cache/archives"/*.deb; do
        dpkg -x "$package" "$work/unpacked"
        # shellcheck disable=SC2016  # dpkg fills this in
        name=$(dpkg-deb --show --showformat '${binary:Package}' "$package")
        dpkg-deb --fsys-tarfile "$package" | tar --list |
            sed -e 's|^\.||' -e 's|/$||' -e 's|^$|/.|' >"$records/info/$name.list"
        dpkg-deb --field "$package" >>"$records/status"
        printf 'Status: install ok installed\n\n' >>"$records/status"
    done
    mv "$work/unpacked" "$cache/$1"
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
            (
                use_release "$newer"
                unpack "$cache/engine-26" docker.io docker-cli docker-buildx containerd
            )
        fi
        releases="trixie bookworm"
        ;;
    *)
        if ! [ -d "$cache/buildx" ]; then
            update
            unpack "$cache/buildx" docker-buildx
        fi
        releases="noble jammy"
        ;;
esac

for release in $releases; do
    if [ "$release" != "$VERSION_CODENAME" ]; then
        if ! [ -d "$cache/$release" ]; then
            update
            unpack_release "$release"
        fi
        break
    fi
done
