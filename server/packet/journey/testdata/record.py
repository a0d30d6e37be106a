#!/usr/bin/env python3
"""Records the captures beside it: record.py DIRECTORY, as root, with iproute2,
nft, conntrack, socat and ping.

Each scenario is built in network namespaces of its own, and every packet that a
test follows carries a token (KBL and five digits) that no other has. A file has
JSON lines: first {"cables": …, "owners": …}, then frames {"at": ns, "place":
"node/link", "hw": …, "out": …, "len": …, "data": base64} and what conntrack told:
{"at": ns, "flow": [protocol, [[src, sport], [dst, dport]], the reply likewise]}.
"""
import base64, gzip, json, os, re, signal, socket, struct, subprocess, sys, time

PREFIX = "kbl%d-" % os.getpid()
SNAP = 256

SNIFF = r"""
import socket, struct, sys, json, base64, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
print(json.dumps({"ready": True}), flush=True)
while True:
    data, anc, flags, (link, proto, kind, hw, _) = s.recvmsg(65535, 1024)
    sec, ns = struct.unpack("qq", anc[0][2][:16])
    print(json.dumps({"at": sec * 10**9 + ns, "place": sys.argv[1] + "/" + link, "hw": hw, "out": kind == 4,
        "len": len(data), "data": base64.b64encode(data[:%d]).decode()}), flush=True)
""" % SNAP

SERVE = r"""
import socket, threading
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 7000))
t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); t.bind(("", 7001)); t.listen(9)
def udp():
    while True:
        b, a = u.recvfrom(2000)
        u.sendto(b.replace(b"Q", b"R"), a)
threading.Thread(target=udp, daemon=True).start()
print("ready", flush=True)
while True:
    c, _ = t.accept()
    while b := c.recv(2000):
        c.sendall(b.replace(b"Q", b"R"))
    c.close()
"""

ASK = r"""
import socket, sys
kind, host, first, n = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
s.settimeout(5)
s.connect((host, 7000 if kind == "udp" else 7001))
for i in range(first, first + n):
    s.send(b"QKBL%05d" % i); s.recv(2000)
"""


class World:
    def __init__(self, nodes):
        self.nodes, self.cables, self.owners, self.token = nodes, {}, {}, 0
        self.records, self.procs = [], []
        for n in nodes:
            run("ip", "netns", "add", PREFIX + n)
            self.sh(n, "ip link set lo up")

    def sh(self, node, line):
        subprocess.run(["ip", "netns", "exec", PREFIX + node, "sh", "-c", line], check=True, stdout=subprocess.DEVNULL)

    def spawn(self, node, *argv, out=subprocess.PIPE):
        p = subprocess.Popen(["ip", "netns", "exec", PREFIX + node, *argv], stdout=out, stderr=subprocess.DEVNULL, text=True)
        self.procs.append(p)
        return p

    def cable(self, a, b):
        (an, al), (bn, bl) = a.split("/"), b.split("/")
        run("ip", "link", "add", al, "netns", PREFIX + an, "type", "veth", "peer", "name", bl, "netns", PREFIX + bn)
        self.sh(an, f"ip link set {al} up"); self.sh(bn, f"ip link set {bl} up")
        self.cables[a] = b

    def address(self, at, *addrs):
        node, link = at.split("/")
        for a in addrs:
            self.sh(node, f"ip addr add {a} dev {link}" + (" nodad" if ":" in a else ""))
            self.owners.setdefault(node, []).append(a.split("/")[0])

    def start(self):
        self.sniffers = []
        for n in self.nodes:
            p = self.spawn(n, "python3", "-c", SNIFF, n)
            p.stdout.readline()
            self.sniffers.append(p)
        self.trackers = [self.spawn(n, "stdbuf", "-oL", "conntrack", "-E", "-e", "NEW", "-o", "timestamp") for n in self.nodes if n.startswith("h")]
        time.sleep(0.5)

    def serve(self, node):
        self.spawn(node, "python3", "-c", SERVE).stdout.readline()

    def ping(self, node, host, n, *more):
        for _ in range(n):
            self.token += 1
            self.sh(node, "ping -n -c1 -W3 -s24 -p %s %s %s" % (("KBL%05d" % self.token).encode().hex(), " ".join(more), host))

    def ask(self, node, kind, host, n):
        self.sh(node, "python3 - %s %s %d %d <<'E'\n%s\nE" % (kind, host, self.token + 1, n, ASK))
        self.token += n

    def write(self, path):
        time.sleep(1)
        for p in self.procs:
            p.send_signal(signal.SIGTERM)
        for p in self.sniffers:
            self.records += [json.loads(l) for l in p.stdout.read().splitlines() if l.endswith("}")]
        for p in self.trackers:
            for l in p.stdout.read().splitlines():
                if f := flow(l):
                    self.records.append(f)
        for p in self.procs:
            p.wait()
        for n in self.nodes:
            run("ip", "netns", "del", PREFIX + n)
        with gzip.GzipFile(path, "wb", mtime=0) as f:
            f.write(json.dumps({"cables": self.cables, "owners": self.owners}).encode() + b"\n")
            for r in sorted(self.records, key=lambda r: r["at"]):
                f.write(json.dumps(r, separators=(",", ":")).encode() + b"\n")


def flow(line):
    m = re.match(r"\[(\d+)\.(\d+)\s*\]\s+\[NEW\]\s+\S+\s+(\d+)", line)
    if not m:
        return None
    f = {k: re.findall(r"\b%s=(\S+)" % k, line) for k in ("src", "dst", "sport", "dport", "id")}
    if len(f["src"]) != 2:
        return None
    sp, dp = (f["sport"], f["dport"]) if f["sport"] else (f["id"], f["id"])
    if len(sp) != 2:
        return None
    way = lambda i: [[f["src"][i], int(sp[i])], [f["dst"][i], int(dp[i])]]
    return {"at": int(m[1]) * 10**9 + int(m[2]) * 1000, "flow": [int(m[3]), way(0), way(1)]}


def run(*argv):
    subprocess.run(argv, check=True)


def container_host(w, host, bridge, members, net, six):
    w.sh(host, f"ip link add {bridge} type bridge && ip link set {bridge} up && sysctl -qw net.ipv4.ip_forward=1")
    for i, c in enumerate(members):
        w.cable(f"{c}/eth0", f"{host}/v{c}")
        w.sh(host, f"ip link set v{c} master {bridge}")
        n = int(c[1:])
        w.address(f"{c}/eth0", f"{net}.{n}/24", f"{six}::{n}/64")


def bridge(out):
    w = World(["c1", "c2", "c3", "h1"])
    container_host(w, "h1", "br0", ["c1", "c2", "c3"], "10.1.0", "fd01")
    w.serve("c2")
    w.start()
    w.ping("c1", "10.1.0.2", 10)
    w.ping("c3", "10.1.0.2", 5)
    w.ping("c1", "fd01::2", 5)
    w.ask("c1", "udp", "10.1.0.2", 10)
    w.ask("c1", "tcp", "10.1.0.2", 5)
    w.write(out)


def hosts(w, nets):
    w.cable("h1/eth0", "h2/eth0")
    w.address("h1/eth0", "192.168.0.1/24")
    w.address("h2/eth0", "192.168.0.2/24")
    container_host(w, "h1", "br0", ["c1", "c2"], nets[0], "fd01")
    container_host(w, "h2", "br0", ["c3", "c4"], nets[1], "fd02")


def routed(out, nat=False, tun=False):
    w = World(["c1", "c2", "c3", "c4", "h1", "h2"])
    hosts(w, ("10.1.0", "10.2.0"))
    w.address("h1/br0", "10.1.0.254/24")
    w.address("h2/br0", "10.2.0.254/24")
    for c in ("c1", "c2"):
        w.sh(c, "ip route add default via 10.1.0.254")
    for c in ("c3", "c4"):
        w.sh(c, "ip route add default via 10.2.0.254")
    if nat:
        w.sh("h1", "nft 'add table ip n; add chain ip n post { type nat hook postrouting priority 100; }; add rule ip n post oifname eth0 masquerade'")
        w.sh("h2", "nft 'add table ip n; add chain ip n pre { type nat hook prerouting priority -100; }; add rule ip n pre ip daddr 192.168.0.2 tcp dport 7001 dnat to 10.2.0.3'")
        w.sh("h1", "ip route add 10.2.0.0/24 via 192.168.0.2")
    elif tun:
        for h, other in (("h1", "192.168.0.2"), ("h2", "192.168.0.1")):
            w.spawn(h, "socat", f"UDP4-DATAGRAM:{other}:9000,bind=:9000",
                    f"TUN:172.16.0.{h[1]}/16,tun-name=tun0,iff-up", out=subprocess.DEVNULL)
            w.owners[h].append("172.16.0." + h[1])
        time.sleep(0.5)
        w.sh("h1", "ip route add 10.2.0.0/24 dev tun0; sysctl -qw net.ipv4.conf.all.rp_filter=0")
        w.sh("h2", "ip route add 10.1.0.0/24 dev tun0; sysctl -qw net.ipv4.conf.all.rp_filter=0")
    else:
        w.sh("h1", "ip route add 10.2.0.0/24 via 192.168.0.2")
        w.sh("h2", "ip route add 10.1.0.0/24 via 192.168.0.1")
    w.serve("c3")
    w.start()
    extra = ("-e", "77") if nat else ()
    for _ in range(4):
        w.ping("c1", "10.2.0.3", 2, *extra)
        w.ping("c2", "10.2.0.3", 2, *extra)
    w.ask("c1", "udp", "10.2.0.3", 10)
    w.ask("c2", "udp", "10.2.0.3", 5)
    w.ask("c1", "tcp", "10.2.0.3", 5)
    w.ask("c2", "tcp", "10.2.0.3", 5)
    if nat:
        w.ask("h1", "tcp", "192.168.0.2", 5)
    w.write(out)


def overlay(out):
    w = World(["c1", "c2", "c3", "c4", "h1", "h2"])
    hosts(w, ("10.1.0", "10.1.0"))
    for h, local, remote in (("h1", "192.168.0.1", "192.168.0.2"), ("h2", "192.168.0.2", "192.168.0.1")):
        w.sh(h, f"ip link add vxlan0 type vxlan id 42 dstport 4789 local {local} remote {remote} dev eth0 && ip link set vxlan0 master br0 up")
    w.serve("c3")
    w.start()
    w.ping("c1", "10.1.0.3", 5)
    w.ping("c4", "10.1.0.1", 5)
    w.ask("c1", "udp", "10.1.0.3", 10)
    w.ask("c2", "tcp", "10.1.0.3", 5)
    w.write(out)


if __name__ == "__main__":
    d = sys.argv[1]
    bridge(os.path.join(d, "bridge.gz"))
    routed(os.path.join(d, "routed.gz"))
    routed(os.path.join(d, "translated.gz"), nat=True)
    routed(os.path.join(d, "socat.gz"), tun=True)
    overlay(os.path.join(d, "vxlan.gz"))
