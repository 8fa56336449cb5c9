#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write the guest's initramfs: a newc archive that holds busybox and an /init.

usage: mkinitramfs.py BUSYBOX OUTPUT

/init prints what the demo looks for (a line INIT-OK with the kernel's version, and MemTotal) and
powers the machine off. The archive depends on its input alone: no times, owners or inode numbers
of the machine it is made on.
"""

import stat
import sys

INIT = b"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "INIT-OK $(/bin/busybox uname -r)"
/bin/busybox grep MemTotal: /proc/meminfo
/bin/busybox poweroff -f
"""


def pad(data):
    return data + bytes(-len(data) % 4)


def entry(ino, name, mode, data=b"", rdev=(0, 0)):
    """One member: header of 13 hexadecimal fields, name, data, each padded to four bytes."""
    path = name.encode() + b"\0"
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(path), 0)
    return pad(b"070701" + b"".join(b"%08X" % f for f in fields) + path) + pad(data)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as f:
        busybox = f.read()
    members = [
        ("dev", stat.S_IFDIR | 0o755),
        ("proc", stat.S_IFDIR | 0o755),
        ("bin", stat.S_IFDIR | 0o755),
        ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
        ("bin/busybox", stat.S_IFREG | 0o755, busybox),
        ("init", stat.S_IFREG | 0o755, INIT),
        ("TRAILER!!!", 0),
    ]
    with open(sys.argv[2], "wb") as f:
        for ino, member in enumerate(members, 1):
            f.write(entry(ino, *member))


if __name__ == "__main__":
    main()
