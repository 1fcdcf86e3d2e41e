#!/bin/bash
# Holds the laboratory's namespaces: mount, network, UTS and cgroup, all new. Arguments: STATE VOLATILE HOSTNAME CGROUP_VERSION CONTROLLER...
# It sets up what the services see as their host, writes VOLATILE/ready, and waits; bash, because it must reap what is left to it.
set -eu
state=$1 volatile=$2 name=$3 version=$4
shift 4
mount --make-rprivate /
hostname "$name"
# /sys of this network namespace, and the control groups seen from the laboratory's own group.
mount -t sysfs sysfs /sys
if [ "$version" = 2 ]; then
  mount -t cgroup2 cgroup /sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  for controller in "$@"; do
    mkdir "/sys/fs/cgroup/$controller"
    case $controller in
      unified) mount -t cgroup2 cgroup /sys/fs/cgroup/unified ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd ;;
      *) mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" ;;
    esac
  done
fi
# /run (sockets of libvirt and Open vSwitch, network namespaces of Neutron) and libvirt's directories are the laboratory's own.
mount --bind "$volatile/run" /run
for directory in lib log cache; do
  mkdir -p "/var/$directory/libvirt"
  mount --bind "$state/data/libvirt/$directory" "/var/$directory/libvirt"
done
mkdir -p /etc/libvirt
mount --bind "$state/etc/libvirt" /etc/libvirt
mount --bind "$state/etc/hosts" /etc/hosts
ip link set lo up
touch "$volatile/ready"
while :; do sleep 3600 & wait $!; done
