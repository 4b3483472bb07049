"""A bad line between two network namespaces, made of two TUN devices and this process: every packet
waits, some are lost, and the line can be cut. It needs no module of the kernel but `tun`, and what
goes over it is real TCP with real retransmissions.

Packets of one direction keep their order, as they do on nearly all real lines."""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
DEVICE = "line"
PACKET_BYTES_MAX = 2048
# Packets on their way in one direction; further ones are lost, as in a router.
PACKETS_MAX = 4096


class Denied(Exception):
    """This machine does not let us make networks."""


def namespace_names(tag):
    return [f"tickloom-{tag}-{os.getpid()}-{end}" for end in "ab"]


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def enter(file):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise Denied(f"setns: {os.strerror(ctypes.get_errno())}")


def open_device(namespace):
    """The end of a TUN device that lives in a namespace and ends with this process."""
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        enter(there)
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            request = struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI)
            fcntl.ioctl(device, TUNSETIFF, request)
        finally:
            enter(home)
    return device


class Line:
    """Two namespaces, `names`, at `addresses`, and the line between them."""

    addresses = ["10.213.7.1", "10.213.7.2"]

    def __init__(self, tag, delay_ms, jitter_ms, loss, seed=1):
        self.delay_s, self.jitter_s, self.loss = delay_ms / 1e3, jitter_ms / 1e3, loss
        self.random = random.Random(seed)
        self.names = namespace_names(tag)
        self.made, self.devices = [], []
        self.is_cut, self.is_over = False, False
        self.carried, self.lost = 0, 0
        try:
            self.make()
        except (OSError, subprocess.CalledProcessError, Denied) as error:
            self.close()
            told = getattr(error, "stderr", None) or error
            raise Denied(str(told).strip()) from error
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def make(self):
        for name in self.names:
            ip("netns", "add", name)
            self.made.append(name)
        for name, here, there in zip(self.names, self.addresses, reversed(self.addresses)):
            self.devices.append(open_device(name))
            ip("-n", name, "address", "add", here, "peer", there, "dev", DEVICE)
            ip("-n", name, "link", "set", DEVICE, "up", "txqueuelen", "1000")
            ip("-n", name, "link", "set", "lo", "up")

    def carry(self):
        """Takes packets off one device and puts them on the other when their time has come."""
        poll = select.epoll()
        for device in self.devices:
            poll.register(device, select.EPOLLIN)
        others = dict(zip(self.devices, reversed(self.devices)))
        waiting, latest, count = [], dict.fromkeys(self.devices, 0.0), 0
        while not self.is_over:
            timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            for device, _ in poll.poll(min(timeout, 0.05)):
                for packet in take(device):
                    is_lost = self.random.random() < self.loss or len(waiting) > 2 * PACKETS_MAX
                    if self.is_cut or is_lost:
                        self.lost += 1
                        continue
                    jitter = self.random.uniform(-self.jitter_s, self.jitter_s)
                    due = max(latest[device], time.monotonic() + self.delay_s + jitter)
                    latest[device], count = due, count + 1
                    heapq.heappush(waiting, (due, count, others[device], packet))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, device, packet = heapq.heappop(waiting)
                if not self.is_cut:
                    self.carried += 1
                    put(device, packet)

    def cut(self, seconds):
        self.is_cut = True
        time.sleep(seconds)
        self.is_cut = False

    def inside(self, end, command):
        """The command that runs another one at an end of the line, 0 or 1."""
        return ["ip", "netns", "exec", self.names[end], *map(str, command)]

    def close(self):
        self.is_over = True
        if self.devices and hasattr(self, "thread"):
            self.thread.join(timeout=5)
        for device in self.devices:
            os.close(device)
        for name in self.made:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def take(device):
    """The packets that wait at a device."""
    for _ in range(256):
        try:
            yield os.read(device, PACKET_BYTES_MAX)
        except OSError:
            return


def put(device, packet):
    try:
        os.write(device, packet)
    except OSError:
        # The device is full or its namespace is on its way out: a packet like any lost one.
        pass
