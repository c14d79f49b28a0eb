#!/bin/sh
# Process 1 of a machine within this one, before it becomes systemd: see machine.py.
# $1 is an empty folder, $2 to $4 the folders of Python, of the checkout and of its packages. Files whose names
# end with $5 are made all over the place; then it waits for a word, so that somebody can see that they are
# nowhere outside.
set -eu
# Never in the namespaces of the machine itself.
[ $$ = 1 ]
mount --make-rprivate /
mount -t tmpfs -o mode=0755 machine "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" machine root
cd root
for place in python:"$2" checkout:"$3" packages:"$4"; do
    mkdir -p opt/${place%%:*}
    mount --bind "${place#*:}" opt/${place%%:*}
    mount -o remount,bind,ro opt/${place%%:*}
done
mount -t tmpfs -o mode=1777 machine tmp
mount -t tmpfs -o mode=0755 machine run
mount -t proc machine proc
for place in sys sysrq-trigger; do
    [ ! -e proc/$place ] || mount --bind proc/$place proc/$place
    [ ! -e proc/$place ] || mount -o remount,bind,ro proc/$place
done
mount -t sysfs -o ro machine sys
mount -t cgroup2 machine sys/fs/cgroup
mount -t tmpfs -o mode=0755 machine dev
mkdir dev/pts dev/shm old
mount -t devpts -o newinstance,ptmxmode=0666 machine dev/pts
mount -t tmpfs -o mode=1777 machine dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
# No unit of the distribution but these.
mkdir -p etc/systemd/system
mount -t tmpfs -o mode=0755 machine etc/systemd/system
for unit in sysinit.target basic.target sockets.target multi-user.target shutdown.target network-online.target \
    nss-lookup.target systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
    cp -L lib/systemd/system/$unit etc/systemd/system/
done
mkdir etc/systemd/system/sockets.target.wants
ln -s /etc/systemd/system/systemd-journald.socket /etc/systemd/system/systemd-journald-dev-log.socket \
    etc/systemd/system/sockets.target.wants/
printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n' >etc/systemd/journald.conf
# Where Python was built may be hidden from services, and its library with it.
printf '[Manager]\nDefaultEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n' >etc/systemd/system.conf
mkdir -p etc/mailproxy
mount -t tmpfs -o mode=0755 machine etc/mailproxy
pivot_root . old
cd /
umount -l old
hostname machine
/opt/python/bin/python3 -m venv --without-pip /opt/mailproxy
printf '/opt/checkout\n/opt/packages\n' >"$(echo /opt/mailproxy/lib/python3*/site-packages)/mailproxy.pth"
for name in mailproxy:cli mailproxyctl:ctl; do
    printf '#!/opt/mailproxy/bin/python3\nimport sys\nfrom mailproxy.%s import main\nsys.exit(main())\n' \
        ${name#*:} >/opt/mailproxy/bin/${name%%:*}
    chmod 0755 /opt/mailproxy/bin/${name%%:*}
done
mkdir -p /usr/local/sbin
ln -sf /opt/mailproxy/bin/mailproxy /opt/mailproxy/bin/mailproxyctl /usr/local/sbin/
id dovecot >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin dovecot
touch /mark$5 /tmp/mark$5 /run/mark$5 /dev/mark$5 /opt/mark$5
echo built
read -r word
[ "$word" = boot ]
exec env -i container=test PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_LOG_TARGET=null \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no
