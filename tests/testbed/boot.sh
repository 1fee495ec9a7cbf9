# Boots a host of the test bed and stays as its pid 1, in namespaces of its own: network, mounts, processes, name, IPC.
# Arguments: name, address with prefix length, directory of its disk and settings, path of sshd.
set -e
name=$1 address=$2 disk=$3 sshd=$4

echo "$name" >/proc/sys/kernel/hostname
ip -batch - <<END
link set lo up
addr replace $address dev eth0
link set eth0 up
END

mount -o remount,bind,ro / # the machine's own disk: what may be written is the host's
mount -t tmpfs -o mode=1777 shm /dev/shm
mount --bind "$disk/passwd" /etc/passwd
mount --bind "$disk/var-tmp" /var/tmp
for directory in home root tmp; do mount --bind "$disk/$directory" "/$directory"; done

cd /
[ -f "$disk/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$disk/host_key"

# A server that is killed is started again. What has lost its parent comes to this shell too, which waits for it.
while :; do
    "$sshd" -D -e -f "$disk/sshd_config" || echo "sshd ended with $?" >&2
done
