#!/bin/sh
# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Finishes an environment from inside (called by prepare.sh and by the Containerfile): mends what Debian's Kokkos package
# lacks and unpacks the second Kokkos. Argument: the folder that holds the package lists.
set -eu
lists=$1

# Debian's Kokkos CMake files name two archives that the package does not contain; empty ones make find_package work.
kokkos=$(dirname "$(find /usr/lib -name 'libkokkoscore.so' | head -n 1)")
for archive in libkokkosalgorithms.a libkokkossimd.a; do
  [ -e "$kokkos/$archive" ] || ar cr "$kokkos/$archive"
done

# Unpacked, not installed: its headers and libraries would collide with the first Kokkos.
work=$(mktemp -d)
chmod 755 "$work"
cd "$work"
# shellcheck disable=SC2046 # one word a package
apt-get -o APT::Sandbox::User=root download $(sed -e 's/#.*//' -e '/^ *$/d' -e 's#$#/experimental#' "$lists/serial-kernels.txt")
mkdir -p /opt/kokkos-serial
for package in ./*.deb; do
  dpkg -x "$package" /opt/kokkos-serial
done
cd /
rm -rf "$work"
# Its libraries refer to one another by name alone.
dirname "$(find /opt/kokkos-serial -name 'libkokkoscore.so' | head -n 1)" >/etc/ld.so.conf.d/kokkos-serial.conf
ldconfig
