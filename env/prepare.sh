#!/usr/bin/env bash
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Prints the path of an environment, a Debian 13 root folder in the user's cache, and builds it first where it is missing.
#   env/prepare.sh build      compilers, Kokkos and the libraries of the project
#   env/prepare.sh peers      PyTorch and oneDNN, for the side-by-side benchmarks
# The folder's name carries a hash of the package lists, so an edit of a list makes a new environment. It is built under
# another name and renamed at the end: a set-up killed at any moment leaves nothing that looks finished.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=${1:?usage: env/prepare.sh build|peers}
case $name in
  build) lists=(packages.txt serial-kernels.txt apt-preferences provision.sh prepare.sh) ;;
  peers) lists=(peers.txt apt-preferences prepare.sh) ;;
  *) echo "nasturtium: no environment is called '$name' (build, peers)" >&2; exit 2 ;;
esac
hash=$(cd "$here" && cat "${lists[@]}" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nasturtium
root=$cache/env-$name-$hash
if [[ -e $root/.ready ]]; then
  echo "$root"
  exit 0
fi

no_route() {
  cat >&2 <<EOF
nasturtium: cannot prepare the '$name' environment: $1
  On Debian or Ubuntu, as root:  apt-get install mmdebstrap bubblewrap
  With a container engine:       podman build -t nasturtium -f env/Containerfile env
  With modules, Spack or your own Kokkos >= 4.6:  cmake --preset openmp && cmake --build --preset openmp
EOF
  exit 2
}

mkdir -p "$cache"
exec 9>"$cache/env.lock"
if ! flock -n 9; then
  echo "nasturtium: another set-up is at work, waiting for it" >&2
  flock 9
fi
if [[ -e $root/.ready ]]; then # the other one made it
  echo "$root"
  exit 0
fi

if ! command -v mmdebstrap >/dev/null; then
  command -v apt-get >/dev/null || no_route "this is not Debian and mmdebstrap is not installed"
  [[ $EUID -eq 0 ]] || no_route "mmdebstrap is not installed and only root can install it"
  echo "nasturtium: installing mmdebstrap and bubblewrap" >&2
  install=(apt-get install -y --no-install-recommends mmdebstrap bubblewrap)
  { DEBIAN_FRONTEND=noninteractive "${install[@]}" || { apt-get update && DEBIAN_FRONTEND=noninteractive "${install[@]}"; }; } \
    >"$cache/apt.log" 2>&1 || no_route "apt-get could not install mmdebstrap (see $cache/apt.log)"
fi

# Only the holder of the lock builds, so whatever carries a temporary name is the rest of a killed set-up.
rm -rf --one-file-system "$cache"/tmp-env-*
build=$cache/tmp-env-$$
log=$cache/env-$name-$hash.log
trap 'rm -rf --one-file-system "$build"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The host's own Debian mirror is the one that works here; elsewhere mmdebstrap's default.
mirror=$(apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
  awk '$2 == "Debian" && $3 == "Debian" && $4 == "main" { print $1; exit }') || true
packages=$(sed -e 's/#.*//' -e '/^ *$/d' "$here/${lists[0]}" | paste -sd,)
options=(
  --variant=apt --include="$packages"
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"'
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
  --setup-hook="mkdir -p \"\$1/etc/apt/preferences.d\" && cp '$here/apt-preferences' \"\$1/etc/apt/preferences.d/nasturtium\""
)
suites=(trixie)
if [[ $name == build ]]; then
  suites=(trixie sid experimental)
  options+=(
    --customize-hook="mkdir -p \"\$1/opt/nasturtium-env\" && cp '$here/serial-kernels.txt' '$here/provision.sh' \"\$1/opt/nasturtium-env\""
    --customize-hook="chroot \"\$1\" sh /opt/nasturtium-env/provision.sh /opt/nasturtium-env"
  )
fi
sources=()
for suite in "${suites[@]}"; do
  [[ -n $mirror ]] && sources+=("deb $mirror $suite main")
done

echo "nasturtium: building the '$name' environment (Debian 13 packages, about a minute; log: $log)" >&2
if ! mmdebstrap "${options[@]}" trixie "$build" "${sources[@]}" >"$log" 2>&1 9>&-; then
  tail -n 5 "$log" >&2
  no_route "mmdebstrap failed (see $log)"
fi
touch "$build/.ready"
mv "$build" "$root"
echo "$root"
