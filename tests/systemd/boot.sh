#!/bin/sh
# Becomes systemd as PID 1 of fresh namespaces, over a root tree of its own:
#   boot.sh TREE CGROUP HOSTNAME PROGRAM [SOURCE TARGET]...
# TREE: an empty folder; CGROUP: a new folder of the cgroup2 hierarchy; PROGRAM: becomes /opt/heliotrope, writable;
# each folder SOURCE is seen read-only as TARGET; at /opt/python it is the interpreter. Nothing of the host is writable from inside: /usr is shared
# read-only, /etc is written anew, everything else is empty and in memory. All ends with PID 1.
set -eu

if [ "${1:-}" != inside ]; then
    echo $$ >"$2/cgroup.procs" # before the cgroup namespace, whose root this then is
    exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net "$0" inside "$@"
fi
shift

root=$1 hostname=$3 program=$4
shift 4
share() { # SOURCE TARGET: seen, not changed
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2"
}
have() { # FILE...: the host's own, where it has one
    for file; do
        if [ -e "$file" ]; then
            mkdir -p "$root${file%/*}"
            cp -a "$file" "$root$file"
        fi
    done
}

mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$root"
for folder in proc sys dev run tmp root home mnt var/lib var/log var/cache var/tmp opt/heliotrope etc/systemd/system; do
    mkdir -p "$root/$folder"
done
chmod 0700 "$root/root"
chmod 1777 "$root/var/tmp"
share /usr /usr
for name in bin lib lib32 lib64 libx32 sbin; do
    if [ -L "/$name" ]; then cp -a "/$name" "$root/$name"; elif [ -d "/$name" ]; then share "/$name" "/$name"; fi
done
mount --bind "$program" "$root/opt/heliotrope"
while [ $# -ge 2 ]; do
    share "$1" "$2"
    shift 2
done

have /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/alternatives /etc/dbus-1 /etc/pam.d /etc/localtime
if [ -d "$root/opt/python" ]; then # its library would else be looked for where it was built, which is hidden there
    mkdir -p "$root/etc/ld.so.conf.d"
    echo /opt/python/lib >"$root/etc/ld.so.conf.d/000-python.conf"
    chroot "$root" /sbin/ldconfig
fi
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
grep -s '^messagebus:' /etc/passwd >>"$root/etc/passwd" || true
grep -s '^messagebus:' /etc/group >>"$root/etc/group" || true
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' >"$root/etc/nsswitch.conf"
echo "127.0.0.1 localhost $hostname" >"$root/etc/hosts"
echo "$hostname" >"$root/etc/hostname"
: >"$root/etc/machine-id"
# What a container has no use for, or what would reach the host's kernel.
for unit in systemd-sysctl systemd-modules-load systemd-udevd systemd-udev-trigger systemd-remount-fs systemd-binfmt \
    systemd-random-seed systemd-hwdb-update systemd-pstore systemd-timesyncd systemd-networkd systemd-resolved \
    systemd-logind kmod-static-nodes systemd-journal-flush systemd-update-utmp; do
    ln -s /dev/null "$root/etc/systemd/system/$unit.service"
done
for unit in dev-hugepages sys-kernel-debug sys-kernel-tracing sys-kernel-config sys-fs-fuse-connections tmp; do
    ln -s /dev/null "$root/etc/systemd/system/$unit.mount"
done
for unit in proc-sys-fs-binfmt_misc.automount systemd-journald-audit.socket; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
done
printf '[Unit]\nRequires=basic.target\nWants=dbus.socket systemd-journald.service\nAfter=basic.target\nAllowIsolate=yes\n' \
    >"$root/etc/systemd/system/heliotrope-test.target"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty fuse; do
    if [ -e "/dev/$node" ]; then cp -a "/dev/$node" "$root/dev/$node"; fi
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for folder in dev/shm tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"; done
mount -t tmpfs -o mode=0755 tmpfs "$root/run"

cd "$root"
mkdir .host
pivot_root . .host
umount -l /.host
rmdir /.host
exec env -i container=heliotrope-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=heliotrope-test.target --show-status=no
