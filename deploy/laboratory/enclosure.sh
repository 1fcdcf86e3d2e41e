#!/bin/bash
# Holds the namespaces of a host: mount, network, UTS, cgroup and, for one of several hosts, process; all new.
# Arguments: RUN DATA ETC READY HOSTNAME CGROUP_VERSION CONTROLLER...
# It sets up what the services see as their host, writes its process number, as the machine knows it, to READY, and waits; bash,
# because it must reap what is left to it.
set -eu
run=$1 data=$2 etc=$3 ready=$4 name=$5 version=$6
shift 6
read -r number _ < /proc/self/stat # /proc is still the machine's
mount --make-rprivate /
[ $$ != 1 ] || mount -t proc proc /proc
hostname "$name"
# /sys of this network namespace, and the control groups seen from the host's own group.
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
# /run (sockets of libvirt and Open vSwitch, network namespaces of Neutron) and libvirt's directories are the host's own.
mount --bind "$run" /run
for directory in lib log cache; do
  mkdir -p "/var/$directory/libvirt"
  mount --bind "$data/libvirt/$directory" "/var/$directory/libvirt"
done
mkdir -p /etc/libvirt
mount --bind "$etc/libvirt" /etc/libvirt
mount --bind "$etc/hosts" /etc/hosts
# What libvirt, and so Nova, count as the host's memory.
[ ! -e "$etc/meminfo" ] || mount --bind "$etc/meminfo" /sys/devices/system/node/node0/meminfo
ip link set lo up
echo "$number" > "$ready.new"
mv "$ready.new" "$ready"
while :; do sleep 3600 & wait $!; done
