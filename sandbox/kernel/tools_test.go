package kernel

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// typed is a line of a tutorial and what comes of it.
type typed struct {
	on    topo.NodeID // host1 if empty
	line  string
	shell string   // typed into the shell that the line starts
	keys  []string // on a terminal: what is seen there and what is pressed then, in turn
	shows string   // a regular expression: it is in the output, in any outcome
	fails string   // it fails, and why that is right; empty: it works
	needs string   // one of kernelFeatures: without that it fails
	until string   // what succeeds when a program in the background is ready
}

// kernelFeatures are things that many kernels have and some don't, each with a
// line that tells which. It is asked outside of all worlds, with our own rights,
// in a network namespace of its own: what fails there is the kernel's doing.
var kernelFeatures = map[string]string{
	"vlan devices":         "ip link add link lo name x type vlan id 10",
	"vlan-aware bridges":   "ip link add x type bridge vlan_filtering 1",
	"dummy devices":        "ip link add x type dummy",
	"ipvlan devices":       "ip link add p type veth peer name q; ip link add link p name x type ipvlan mode l2",
	"macvlan devices":      "ip link add p type veth peer name q; ip link add link p name x type macvlan mode bridge",
	"macvtap devices":      "ip link add p type veth peer name q; ip link add link p name x type macvtap",
	"vxlan devices":        "ip link add x type vxlan id 42 dstport 4789",
	"geneve devices":       "ip link add x type geneve id 42 remote 10.0.0.20",
	"GRE tunnels":          "ip link add x type gre local 10.0.0.10 remote 10.0.0.20",
	"sit tunnels":          "ip link add x type sit local 10.0.0.10 remote 10.0.0.20",
	"IP-in-IP tunnels":     "ip link add x type ipip local 10.0.0.10 remote 10.0.0.20",
	"WireGuard":            "ip link add x type wireguard",
	"vrf devices":          "ip link add x type vrf table 10",
	"bonding":              "ip link add x type bond",
	"ifb devices":          "ip link add x type ifb",
	"netem":                "tc qdisc add dev lo root netem delay 1ms",
	"fq_codel":             "tc qdisc add dev lo root fq_codel",
	"tbf":                  "tc qdisc add dev lo root tbf rate 10mbit burst 32k latency 10ms",
	"htb":                  "tc qdisc add dev lo root htb",
	"tc mirred":            "tc qdisc add dev lo ingress; tc filter add dev lo ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev lo",
	"IPsec":                "ip xfrm state add src 10.0.0.10 dst 10.0.0.20 proto esp spi 1 mode tunnel enc 'cbc(aes)' 0x00112233445566778899aabbccddeeff auth 'hmac(sha256)' 0x00112233445566778899aabbccddeeff",
	"iptables of old":      "iptables-legacy -S",
	"ip6tables of old":     "ip6tables-legacy -S",
	"ebtables of old":      "ebtables-legacy -L",
	"TRACE":                "iptables -t raw -A OUTPUT -j TRACE",
	"LOG":                  "iptables -A OUTPUT -j LOG",
	"NFLOG":                "iptables -A OUTPUT -j NFLOG",
	"physdev":              "iptables -A FORWARD -m physdev --physdev-is-bridged",
	"statistic":            "iptables -A OUTPUT -m statistic --mode random --probability 0.5",
	"IP sets":              "ipset create x hash:ip",
	"IP sets in iptables":  "ipset create x hash:ip; iptables -A INPUT -m set --match-set x src",
	"filtering of bridges": "nft add table bridge x; nft 'add chain bridge x y { type filter hook forward priority 0; }'",
	"nft on a device":      "nft add table netdev x; nft 'add chain netdev x y { type filter hook ingress device lo priority 0; }'",
	"ct in nft":            "nft add table x; nft add chain x y; nft add rule x y ct state established accept",
	"bridge-nf-call":       "cat /proc/sys/net/bridge/bridge-nf-call-iptables",
	"IPv6":                 "ip -6 addr add fd00::1/64 dev lo",
	"tun devices":          "ip tuntap add x mode tun",
}

// tutorial is a page of lines, typed one after the other in a world of its own.
type tutorial struct {
	name  string
	spec  host.Spec
	names map[topo.NodeID]string // variables that the reader has set
	lines []typed
}

// both types the same lines on two hosts.
func both(lines ...typed) (all []typed) {
	for _, node := range []topo.NodeID{"host1", "host2"} {
		for _, l := range lines {
			l.on = node
			all = append(all, l)
		}
	}
	return all
}

func lines(text string) (all []typed) {
	for l := range strings.Lines(strings.TrimSpace(text)) {
		all = append(all, typed{line: strings.TrimSpace(l)})
	}
	return all
}

func pages(parts ...[]typed) (all []typed) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// behindARouter are hosts without a network in common, and an internet that
// knows only the router.
func behindARouter(port string) host.Spec {
	return host.Spec{
		Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "host2", Kind: topo.KindHost},
			{Name: "r", Kind: topo.KindRouter}, {Name: "internet", Kind: topo.KindInternet}},
		Wires: []topo.Wire{{A: topo.LinkID("host1:" + port), B: "r:eth0"}, {A: topo.LinkID("host2:" + port), B: "r:eth1"}, {A: "r:eth2", B: "internet:eth0"}},
		Setup: []topo.Placed{
			on("host1", addr(topo.VerbAdd, "10.0.0.10/24", port)), on("host1", add("default", topo.Route{Via: ip("10.0.0.1")})),
			on("host2", addr(topo.VerbAdd, "10.0.1.20/24", port)), on("host2", add("default", topo.Route{Via: ip("10.0.1.1")})),
			on("r", addr(topo.VerbAdd, "10.0.0.1/24", "eth0")), on("r", addr(topo.VerbAdd, "10.0.1.1/24", "eth1")),
			on("r", addr(topo.VerbAdd, "203.0.113.1/24", "eth2")), on("r", add("8.8.8.8/32", topo.Route{Via: ip("203.0.113.8")})),
			on("internet", addr(topo.VerbAdd, "203.0.113.8/24", "eth0")), on("internet", addr(topo.VerbAdd, "203.0.113.80/24", "eth0")), on("internet", addr(topo.VerbAdd, "8.8.8.8/32", "lo")),
			on("internet", add("10.0.0.0/23", topo.Route{Via: ip("203.0.113.1")})),
		},
	}
}

// oneHost has the two addresses that the first article gives it.
func oneHost() host.Spec {
	s := twoHosts("")
	s.Setup = append(s.Setup, on("host1", addr(topo.VerbAdd, "10.0.0.1/24", "eth0")))
	return s
}

var variables = map[topo.NodeID]string{
	"host1": "KON1=kon1 KON2=kon2 IP1=172.16.0.2 IP2=172.16.0.3 BRIDGE_IP=172.16.0.1 TUNNEL_IP=172.16.0.100 NODE_IP=10.0.0.10 TO_NODE_IP=10.0.1.20",
	"host2": "KON1=kon3 KON2=kon4 IP1=172.16.1.2 IP2=172.16.1.3 BRIDGE_IP=172.16.1.1 TUNNEL_IP=172.16.1.100 NODE_IP=10.0.1.20 TO_NODE_IP=10.0.0.10",
}

// twoContainers is the script that Models 3 and 4 begin with.
var twoContainers = lines(`
	ip netns add $KON1
	ip netns add $KON2
	ip link add veth10 type veth peer name veth11
	ip link add veth20 type veth peer name veth21
	ip link set veth11 netns $KON1
	ip link set veth21 netns $KON2
	ip netns exec $KON1 ip addr add $IP1/24 dev veth11
	ip netns exec $KON2 ip addr add $IP2/24 dev veth21
	ip netns exec $KON1 ip link set dev veth11 up
	ip netns exec $KON2 ip link set dev veth21 up
	ip link add name br0 type bridge
	ip link set dev veth10 master br0
	ip link set dev veth20 master br0
	ip addr add $BRIDGE_IP/24 dev br0
	ip link set dev br0 up
	ip link set dev veth10 up
	ip link set dev veth20 up
	ip netns exec $KON1 ip link set lo up
	ip netns exec $KON2 ip link set lo up
	ip netns exec $KON1 ip route add default via $BRIDGE_IP dev veth11
	ip netns exec $KON2 ip route add default via $BRIDGE_IP dev veth21`)

// untilSeen is for a ping, which goes on until Ctrl-C.
var untilSeen = []string{`bytes from`, "\x03"}

const (
	answered = `[1-9] received, 0% packet loss`
	silence  = ` 0 received,.* 100% packet loss`
)

var tutorials = []tutorial{
	{name: "Model 1", spec: oneHost(), lines: pages([]typed{
		{line: "ip netns add kon"},
		{line: "ip netns", shows: `(?m)^kon`},
		{line: "ip netns exec ip link", fails: `the article forgot the namespace's name`, shows: `Cannot open network namespace "ip"`},
		{line: "ip link", shows: `eth0`}},
		lines(`
		ip link add veth1 type veth peer name veth2
		ip link set veth2 netns kon
		ip netns exec kon ip addr add 172.16.0.1 dev veth2
		ip netns exec kon ip link set dev veth2 up
		ip link set dev veth1 up
		ip netns exec kon ip link set lo up
		ip route add 172.16.0.1/32 dev veth1
		ip netns exec kon ip route add default via 172.16.0.1 dev veth2`),
		[]typed{
			{line: "ping 172.16.0.1", keys: untilSeen, shows: answered},
			{line: "ip netns exec kon ping 10.0.0.1", keys: untilSeen, shows: answered},
		})},
	{name: "Model 2", spec: oneHost(), lines: pages(
		[]typed{{line: "ip netns add kon1"}, {line: "ip netns add kon2"}, {line: "ip netns", shows: `kon2`}},
		lines(`
		ip link add veth10 type veth peer name veth11
		ip link add veth20 type veth peer name veth21
		ip link set veth11 netns kon1
		ip link set veth21 netns kon2
		ip netns exec kon1 ip addr add 172.16.0.2/24 dev veth11
		ip netns exec kon2 ip addr add 172.16.0.3/24 dev veth21
		ip netns exec kon1 ip link set dev veth11 up
		ip netns exec kon2 ip link set dev veth21 up
		ip link add name br0 type bridge
		ip link set dev veth10 master br0
		ip link set dev veth20 master br0
		ip addr add 172.16.0.1/24 dev br0
		ip link set dev br0 up
		ip link set dev veth10 up
		ip link set dev veth20 up
		ip netns exec kon1 ip link set lo up
		ip netns exec kon2 ip link set lo up
		ip netns exec kon1 ip route add default via 172.16.0.1 dev veth11
		ip netns exec kon2 ip route add default via 172.16.0.1 dev veth21`),
		[]typed{
			{line: "ip netns exec kon1 ping 172.16.0.3", keys: untilSeen, shows: answered},
			{line: "ip netns exec kon1 ping 10.0.0.1", keys: untilSeen, shows: answered},
			{line: "ping 172.16.0.3", keys: untilSeen, shows: answered},
		})},
	{name: "Model 3", spec: twoHosts(""), names: variables, lines: pages(both(twoContainers...), []typed{
		{line: "ip route add 172.16.1.0/24 via 10.0.0.20 dev eth0"},
		{on: "host2", line: "ip route add 172.16.0.0/24 via 10.0.0.10 dev eth0"}},
		both(typed{line: "sysctl -w net.ipv4.ip_forward=1", shows: `^net.ipv4.ip_forward = 1`}),
		[]typed{{line: "ip netns exec kon1 ping 172.16.1.2", keys: untilSeen, shows: answered}})},
	{name: "Model 4", spec: behindARouter("enp0s8"), names: variables, lines: pages(both(twoContainers...), both(
		typed{line: "sysctl -w net.ipv4.ip_forward=1"},
		typed{line: "sysctl -w net.ipv6.conf.default.disable_ipv6=1 # or tun0 speaks before the other end listens, and socat gives up"},
		typed{line: "socat TUN:$TUNNEL_IP/16,iff-up UDP:$TO_NODE_IP:9000,bind=$NODE_IP:9000 &", until: "ip link show tun0 up | grep tun0"},
		typed{line: "ip link set dev tun0 mtu 1492"},
		typed{line: "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter"},
		typed{line: "echo 0 > /proc/sys/net/ipv4/conf/enp0s8/rp_filter"},
		typed{line: "echo 0 > /proc/sys/net/ipv4/conf/br0/rp_filter"},
		typed{line: "echo 0 > /proc/sys/net/ipv4/conf/tun0/rp_filter"}),
		[]typed{{line: "ip netns exec kon1 ping 172.16.1.2", keys: untilSeen, shows: answered}})},
	// The article's addresses are lost; these are of the same kind.
	{name: "the second article: two networks of one number", spec: behindARouter("eth0"), lines: []typed{
		{line: "ip netns add netns0"},
		{line: "ip netns list", shows: `netns0`},
		{line: "ip link add veth0 type veth peer name ceth0"},
		{line: "ip link list", shows: `veth0@ceth0`},
		{line: "ip link set ceth0 netns netns0"},
		{line: "ip link list", shows: `veth0@if\d+.*(?s:.*)link-netns netns0`},
		{line: "ip link set veth0 up"},
		{line: "ip addr add 172.18.0.11/16 dev veth0"},
		{line: "nsenter --net=/run/netns/netns0 bash", shell: "ip link list\nip link set lo up\nip link set ceth0 up\nip addr add 172.18.0.10/16 dev ceth0\nping -c 2 172.18.0.11\n", shows: answered},
		{line: "ping -c 2 172.18.0.10", shows: answered},
		{line: "ip addr show dev eth0", shows: `inet 10\.0\.0\.10`},
		{line: "nsenter --net=/run/netns/netns0 bash", shell: "ping 10.0.0.10", fails: "it has no route there: what the article shows", shows: `Network is unreachable`},
		{line: "nsenter --net=/run/netns/netns0 ip route list", shows: `^172\.18\.0\.0/16 dev ceth0 proto kernel`},
		{line: "ip netns add netns1"},
		{line: "ip link add veth1 type veth peer name ceth1"},
		{line: "ip link set veth1 up"},
		{line: "ip addr add 172.18.0.21/16 dev veth1"},
		{line: "ip link set ceth1 netns netns1"},
		{line: "nsenter --net=/run/netns/netns1 bash", shell: "ip link set lo up\nip link set ceth1 up\nip addr add 172.18.0.20/16 dev ceth1\n"},
		{line: "nsenter --net=/run/netns/netns1 ping -c 2 -W 1 172.18.0.21", fails: "two routes to one network: what the article shows", shows: silence},
		{line: "ping -c 1 -W 1 172.18.0.20", fails: "two routes to one network: what the article shows", shows: silence},
		{line: "nsenter --net=/run/netns/netns0 ping -c 2 172.18.0.21", shows: answered},
		{line: "ip route list", shows: `(?s)172\.18\.0\.0/16 dev veth0.*172\.18\.0\.0/16 dev veth1`},
		{line: "ip route delete 172.18.0.0/16 dev veth0 proto kernel scope link src 172.18.0.11"},
		{line: "ip netns delete netns0 && ip netns delete netns1"},
	}},
	{name: "the second article: a bridge to the world", spec: behindARouter("eth0"), lines: []typed{
		{line: "ip netns add netns0\nip link add veth0 type veth peer name ceth0\nip link set veth0 up\nip link set ceth0 netns netns0"},
		{line: "nsenter --net=/run/netns/netns0 bash", shell: "ip link set lo up\nip link set ceth0 up\nip addr add 172.18.0.10/16 dev ceth0\n"},
		{line: "ip netns add netns1\nip link add veth1 type veth peer name ceth1\nip link set veth1 up\nip link set ceth1 netns netns1"},
		{line: "nsenter --net=/run/netns/netns1 bash", shell: "ip link set lo up\nip link set ceth1 up\nip addr add 172.18.0.20/16 dev ceth1\n"},
		{line: "ip link add br0 type bridge\nip link set br0 up"},
		{line: "ip link set veth0 master br0\nip link set veth1 master br0"},
		{line: "nsenter --net=/run/netns/netns0 ping -c 2 172.18.0.20", shows: answered},
		{line: "nsenter --net=/run/netns/netns1 ping -c 2 172.18.0.10", shows: answered},
		{line: "nsenter --net=/run/netns/netns0 ping -c 2 10.0.0.10 # host's eth0 address", fails: "it has no route there: what the article shows", shows: `Network is unreachable`},
		{line: "ip addr add 172.18.0.1/16 dev br0"},
		{line: "ping -c 2 172.18.0.10", shows: answered},
		{line: "nsenter --net=/run/netns/netns0 \\\nip route add default via 172.18.0.1 # i.e. via the bridge interface"},
		{line: "nsenter --net=/run/netns/netns1 \\\nip route add default via 172.18.0.1 # i.e. via the bridge interface"},
		{line: "nsenter --net=/run/netns/netns0 ping -c 2 10.0.0.10", shows: answered},
		{line: "echo 1 > /proc/sys/net/ipv4/ip_forward"},
		{line: "nsenter --net=/run/netns/netns0 ping -c 1 -W 1 8.8.8.8", fails: "nobody answers private addresses: what the article shows", shows: silence},
		{line: "iptables -t nat -A POSTROUTING -s 172.18.0.0/16 ! -o br0 -j MASQUERADE"},
		{line: "nsenter --net=/run/netns/netns0 ping -c 2 8.8.8.8", shows: answered},
		{line: "iptables -t nat -A PREROUTING \\\n-d 10.0.0.10 -p tcp -m tcp --dport 5000 \\\n-j DNAT --to-destination 172.18.0.10:5000"},
		{line: "iptables -t nat -A OUTPUT \\\n-d 10.0.0.10 -p tcp -m tcp --dport 5000 \\\n-j DNAT --to-destination 172.18.0.10:5000"},
		{line: "modprobe br_netfilter", needs: "bridge-nf-call"},
		{line: "nsenter --net=/run/netns/netns0 python3 -m http.server --bind 172.18.0.10 5000 > /tmp/log 2>&1 &", until: "ip netns exec netns0 ss -tln | grep :5000"},
		{line: "curl -sS 10.0.0.10:5000", shows: `Directory listing`},
		{on: "host2", line: "curl -sS 10.0.0.10:5000", shows: `Directory listing`},
		{line: "ip netns exec netns0 dig +short @8.8.8.8 example.test", shows: `^\d+\.\d+\.\d+\.\d+\n$`},
		{line: "nslookup example.test", shows: `Address: \d`},
		{line: "curl -sS http://example.test/", shows: `.`},
		{line: "traceroute -n 8.8.8.8", shows: `(?s) 1  10\.0\.0\.1 .* 2  8\.8\.8\.8 `},
	}},
	{name: "the third article", spec: behindARouter("eth0"), lines: pages(lines(`
		sudo ip netns add red
		sudo ip link add veth1-r type veth peer veth2-r
		sudo ip link set veth2-r netns red
		sudo ip netns exec red ip address add 192.168.0.1 dev veth2-r
		sudo ip netns exec red ip link set dev veth2-r up
		sudo ip link set dev veth1-r up
		sudo ip netns exec red ip link set lo up
		sudo ip route add 192.168.0.1/32 dev veth1-r
		sudo ip netns exec red ip route add default via 192.168.0.1 dev veth2-r`), []typed{
		{line: "ip netns", shows: `(?m)^red`},
		{line: "sudo ip netns exec red ip address", shows: `veth2-r@if\d+(?s:.*)inet 192\.168\.0\.1/32 scope global veth2-r`},
		{line: "ping 192.168.0.1", keys: untilSeen, shows: answered},
		{line: "sudo ip netns del red && sudo iptables -P FORWARD DROP # as Docker leaves it"}},
		lines(`
		sudo ip netns add red
		sudo ip netns add blue
		sudo ip link add veth1-r type veth peer name veth2-r
		sudo ip link add veth1-b type veth peer name veth2-b
		sudo ip link set veth2-r netns red
		sudo ip link set veth2-b netns blue
		sudo ip netns exec red ip address add 192.168.0.2/24 dev veth2-r
		sudo ip netns exec blue ip address add 192.168.0.3/24 dev veth2-b
		sudo ip netns exec red ip link set dev veth2-r up
		sudo ip netns exec blue ip link set dev veth2-b up
		sudo ip link add name br0 type bridge
		sudo ip link set dev veth1-r master br0
		sudo ip link set dev veth1-b master br0
		sudo ip link set dev veth1-r up
		sudo ip link set dev veth1-b up
		sudo ip address add 192.168.0.1/24 dev br0
		sudo ip link set dev br0 up`), []typed{
			{line: "sudo ip netns exec red ping -c 1 -W 1 192.168.0.3", fails: "the policy of FORWARD: what the article shows", shows: silence},
			{line: "sudo ip netns exec red iptables -S", shows: `-P FORWARD ACCEPT`},
			{line: "sudo iptables -S", shows: `-P FORWARD DROP`},
			{line: "sudo ip netns exec blue iptables -S", shows: `-P INPUT ACCEPT`},
			{line: "sudo iptables -P FORWARD ACCEPT"},
			{line: "sudo sysctl -a | grep -i net.ipv4.ip_forward", shows: `(?m)^net\.ipv4\.ip_forward = 0$`},
			{line: "sudo vi /etc/sysctl.d/99-sysctl.conf", keys: []string{`sysctl\.conf"`, "Go", `INSERT`, "net.ipv4.ip_forward=1\x1b:wq\r"}, until: "grep ^net.ipv4.ip_forward=1 /etc/sysctl.conf"},
			{line: "sudo sysctl -p", shows: `^net\.ipv4\.ip_forward = 1\n$`},
			{line: "sudo ip netns exec red ping 192.168.0.3", keys: untilSeen, shows: answered},
			{line: "sudo ip netns exec red ping 8.8.8.8", fails: "it has no route there: what the article shows", shows: `Network is unreachable`},
			{line: "sudo ip netns exec red ip route add default via 192.168.0.1 dev veth2-r"},
			{line: "sudo ip netns exec blue ip route add default via 192.168.0.1 dev veth2-b"},
			{line: "sudo iptables -t nat -A POSTROUTING -s 192.168.0.0/24 ! -o br0 -j MASQUERADE"},
			{line: "sudo ip netns exec red ping 8.8.8.8", keys: untilSeen, shows: answered},
			{line: "sudo ip netns exec blue ping 8.8.8.8", keys: untilSeen, shows: answered},
		})},
	{name: "links", spec: twoHosts(""), lines: links},
	{name: "packet filters", spec: twoHosts(""), lines: filters},
	{name: "programs of a network", spec: twoHosts(""), lines: programs},
	{name: "a machine", spec: twoHosts(""), lines: dailyWork},
}

var links = []typed{
	{line: "ip -br link", shows: `eth0@`},
	{line: "ip -d link show eth0", shows: `veth`},
	{line: "ip -j addr | jq -r '.[].ifname'", shows: `(?m)^eth0$`},
	{line: "ip -s link show eth0", shows: `RX:`},
	{line: "ip netns add kon"},
	{line: "ip -n kon link set lo up"},
	{line: "ip netns identify $$", shows: `^\s*$`},
	{line: "ip netns exec kon ip netns identify", shows: `kon`},
	{line: "ip netns pids kon"},
	{line: "ip netns set kon 42 && ip netns list-id", shows: `nsid 42`},
	{line: "touch /run/netns/here && mount --bind /proc/self/ns/net /run/netns/here && ip netns exec here ip link", shows: `eth0`},
	{line: "ip netns attach me $$ && ip netns exec me ip -br link && ip netns del me", shows: `eth0`},
	{line: "unshare -n ip link", shows: `lo:.*DOWN`},
	{line: "nsenter --net=/run/netns/kon ip -br link", shows: `^lo`},
	{line: "nsenter -t $$ -n ip -br link", shows: `eth0`},
	{line: "lsns -t net", shows: `net`},
	{line: "ip link add v0 type veth peer name v1 netns kon && ip link set v0 up && ip -n kon link set v1 up"},
	{line: "ip addr add 10.9.0.1/24 dev v0 && ip -n kon addr add 10.9.0.2/24 dev v1"},
	{line: "ip link set v0 address 02:00:00:00:00:01 && ip link set v0 mtu 1400 && ip link set v0 alias cable && ip link show v0", shows: `mtu 1400.*(?s:.*)02:00:00:00:00:01(?s:.*)cable`},
	{line: "ip link set v0 down && ip link set v0 name w0 && ip link set w0 name v0 && ip link set v0 up"},
	{line: "ip neigh add 10.9.0.9 lladdr 02:00:00:00:00:09 dev v0 && ip neigh", shows: `10\.9\.0\.9.*PERMANENT`},
	{line: "ip route get 10.9.0.2", shows: `dev v0`},
	{line: "ip route add blackhole 192.0.2.0/24 && ping -c 1 192.0.2.1", fails: "a black hole: so it should be", shows: `Invalid argument`},
	{line: "ip rule add from 10.9.0.0/24 table 100 && ip route add default dev v0 table 100 && ip route show table 100", shows: `default dev v0`},
	{line: "ip -6 addr add fd00::1/64 dev v0 nodad && ip -n kon -6 addr add fd00::2/64 dev v1 nodad && ping -6 -c 1 fd00::2", needs: "IPv6", shows: answered},
	{line: "ip -6 neigh", needs: "IPv6"},
	{line: "timeout 3 ip monitor link > /tmp/seen & until ip link set v0 mtu 1390; ip link set v0 mtu 1400; grep v0 /tmp/seen; do :; done", shows: `v0`},
	{line: "ip netns del kon", until: "! ip link show v0"},
	{line: "ip link add br0 type bridge stp_state 1 && ip link set br0 up && bridge link"},
	{line: "ip link add p0 type veth peer name p1 && ip link set p0 master br0 && ip link set p0 up && bridge link show", shows: `p0.*master br0`},
	{line: "bridge fdb add 02:00:00:00:00:05 dev p0 master static && bridge fdb show br br0", shows: `02:00:00:00:00:05 dev p0`},
	{line: "bridge link set dev p0 hairpin on && bridge -d link show dev p0", shows: `hairpin on`},
	{line: "bridge mdb show"},
	{line: "bridge vlan show"},
	{line: "brctl addbr br1 && brctl addif br1 p1 && brctl stp br1 off && brctl show", shows: `(?m)^br1\s.*p1`},
	{line: "brctl showmacs br0", shows: `is local`},
	{line: "brctl delif br1 p1 && brctl delbr br1"},
	{line: "ip link set br0 type bridge vlan_filtering 1 && bridge vlan add dev p0 vid 10 pvid untagged", needs: "vlan-aware bridges"},
	{line: "ip link add link eth0 name eth0.10 type vlan id 10", needs: "vlan devices"},
	{line: "ip link add dummy0 type dummy", needs: "dummy devices"},
	{line: "ip link add link eth0 name ipvl0 type ipvlan mode l2", needs: "ipvlan devices"},
	{line: "ip link add link eth0 name macvl0 type macvlan mode bridge && ip link set macvl0 up", needs: "macvlan devices"},
	{line: "ip link add link eth0 name macvt0 type macvtap mode bridge", needs: "macvtap devices"},
	{line: "ip link add vx0 type vxlan id 42 remote 10.0.0.20 dstport 4789 dev eth0 && ip link set vx0 up", needs: "vxlan devices"},
	{line: "ip link add vx1 type vxlan id 43 group 239.1.1.1 dstport 4790 dev eth0 && ip link set vx1 up", needs: "vxlan devices"},
	{line: "bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.0.0.20", needs: "vxlan devices"},
	{line: "ip link add gnv0 type geneve id 42 remote 10.0.0.20", needs: "geneve devices"},
	{line: "ip tunnel add gre1 mode gre local 10.0.0.10 remote 10.0.0.20", needs: "GRE tunnels"},
	{line: "ip tunnel add ipip1 mode ipip local 10.0.0.10 remote 10.0.0.20", needs: "IP-in-IP tunnels"},
	{line: "ip link add wg0 type wireguard", needs: "WireGuard"},
	{line: "ip link add red type vrf table 10", needs: "vrf devices"},
	{line: "ip link add bond0 type bond mode active-backup", needs: "bonding"},
	{line: "ip link add ifb0 type ifb", needs: "ifb devices"},
	{line: "ip xfrm state add src 10.0.0.10 dst 10.0.0.20 proto esp spi 1 mode tunnel enc 'cbc(aes)' 0x00112233445566778899aabbccddeeff auth 'hmac(sha256)' 0x00112233445566778899aabbccddeeff", needs: "IPsec"},
	{line: "ip tuntap add tap0 mode tap && ip tuntap", needs: "tun devices", shows: `tap0: tap`},
	{line: "socat TUN:10.8.0.1/24,iff-up,tun-name=tun7 UDP-LISTEN:9001 &", needs: "tun devices", until: "ip addr show tun7 | grep 10.8.0.1"},
	{line: "tc qdisc replace dev eth0 root netem delay 5ms", needs: "netem"},
	{line: "tc qdisc replace dev eth0 root fq_codel", needs: "fq_codel"},
	{line: "tc qdisc replace dev eth0 root tbf rate 100mbit burst 256k latency 50ms && tc -s qdisc show dev eth0", needs: "tbf", shows: `tbf`},
	{line: "tc qdisc replace dev eth0 root handle 1: htb default 1 && tc class add dev eth0 parent 1: classid 1:1 htb rate 100mbit", needs: "htb"},
	{line: "tc qdisc add dev p0 ingress && tc filter add dev p0 ingress protocol ip u32 match u32 0 0 action mirred egress mirror dev p1", needs: "tc mirred"},
	{line: "ethtool -i eth0", shows: `driver: veth`},
	{line: "ethtool -S p0", shows: `peer_ifindex`},
	{line: "ethtool -K p0 tx off && ethtool -k p0", shows: `tx-checksumming: off`},
	{line: "ip link set eth0 promisc on && cat /sys/class/net/eth0/flags", shows: `0x1103`},
	{line: "ls /sys/class/net/br0/brif", shows: `p0`},
	{line: "ip link del p0 && ip link del br0"},
	{line: "ip -batch -", shell: "link add b0 type bridge\nlink del b0\n"},
}

var filters = []typed{
	{line: "iptables -V", shows: `nf_tables`},
	{line: "iptables -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT && iptables -S INPUT", shows: `--dport 22`},
	{line: "iptables -A INPUT -i eth0 -m comment --comment why -j REJECT --reject-with icmp-host-prohibited && iptables -D INPUT 2"},
	{line: "iptables -N KABEL && iptables -A FORWARD -j KABEL && iptables -A KABEL -m limit --limit 5/min -j RETURN"},
	{line: "iptables -t nat -A POSTROUTING -s 172.16.0.0/24 ! -o br0 -j MASQUERADE && iptables -t nat -A POSTROUTING -o eth0 -j SNAT --to-source 10.0.0.10"},
	{line: "iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.16.0.2:80 && iptables -t nat -A OUTPUT -p tcp --dport 81 -j REDIRECT --to-ports 80"},
	{line: "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu && iptables -t mangle -A PREROUTING -j MARK --set-mark 1"},
	{line: "iptables -t nat -A PREROUTING -m statistic --mode nth --every 2 --packet 0 -j ACCEPT", needs: "statistic"},
	{line: "iptables -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT", needs: "physdev"},
	{line: "iptables -t raw -A PREROUTING -p icmp -j TRACE && iptables -t raw -A OUTPUT -p icmp -j TRACE", needs: "TRACE"},
	{line: "timeout 5 xtables-monitor --trace > /tmp/trace & until ping -c 1 10.0.0.20 >/dev/null; grep TRACE /tmp/trace; do :; done", needs: "TRACE", shows: `raw:OUTPUT`},
	{line: "iptables -A OUTPUT -p icmp -j LOG --log-prefix 'out '", needs: "LOG"},
	{line: "iptables -A OUTPUT -p icmp -j NFLOG --nflog-group 5", needs: "NFLOG"},
	{line: "ping -i 0.1 -c 40 10.0.0.20 > /dev/null & timeout 5 tcpdump -c 1 -ni nflog:5", needs: "NFLOG", shows: `ICMP echo`},
	{line: "dmesg", fails: "the log of the shared kernel is not a learner's", shows: `Operation not permitted`},
	{line: "iptables -vnL --line-numbers && iptables-save > /tmp/rules && iptables-restore < /tmp/rules", shows: `Chain KABEL`},
	{line: "iptables -F && iptables -X && iptables -t nat -F && iptables -t mangle -F && iptables -t raw -F"},
	{line: "iptables-legacy -A FORWARD -s 172.16.0.0/24 -j ACCEPT && iptables-legacy -S FORWARD", needs: "iptables of old", shows: `172\.16\.0\.0/24`},
	{line: "iptables-legacy -t nat -A POSTROUTING -s 172.16.0.0/24 -j MASQUERADE && iptables-legacy -t nat -S", needs: "iptables of old", shows: `MASQUERADE`},
	{line: "iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 172.16.0.2:80", needs: "iptables of old"},
	{line: "iptables-legacy -t raw -A PREROUTING -p icmp -j TRACE", needs: "iptables of old"},
	{line: "iptables-legacy-save", needs: "iptables of old", shows: `DNAT`},
	{line: "ip6tables -A INPUT -p icmpv6 -j ACCEPT && ip6tables -S", needs: "IPv6", shows: `icmp`},
	{line: "ip6tables-legacy -A INPUT -p icmpv6 -j ACCEPT", needs: "ip6tables of old"},
	{line: "nft add table inet t && nft add chain inet t c '{ type filter hook input priority 0; policy accept; }' && nft add rule inet t c tcp dport 22 counter accept"},
	{line: "nft add rule inet t c ct state established,related accept", needs: "ct in nft"},
	{line: "nft add set inet t s '{ type ipv4_addr; }' && nft add element inet t s '{ 10.0.0.20 }' && nft add rule inet t c ip saddr @s counter && nft list ruleset", shows: `elements = \{ 10\.0\.0\.20 \}`},
	{line: "nft add table ip n && nft add chain ip n post '{ type nat hook postrouting priority 100; }' && nft add rule ip n post oifname eth0 masquerade"},
	{line: "nft add rule inet t c meta nftrace set 1 && { timeout 5 nft monitor trace > /tmp/nft & until ping -c 1 10.0.0.20 >/dev/null; grep trace /tmp/nft; do :; done; }", shows: `trace id`},
	{line: "nft -j list ruleset | jq '.nftables | length'", shows: `^\d+`},
	{line: "nft add table bridge b && nft add chain bridge b f '{ type filter hook forward priority 0; }'", needs: "filtering of bridges"},
	{line: "nft add table netdev d && nft add chain netdev d i '{ type filter hook ingress device eth0 priority 0; }'", needs: "nft on a device"},
	{line: "nft flush ruleset"},
	{line: "ebtables -A FORWARD -p arp -j DROP && ebtables -L", needs: "filtering of bridges", shows: `-p ARP -j DROP`},
	{line: "ebtables-legacy -L", needs: "ebtables of old"},
	{line: "arptables -A INPUT -j ACCEPT && arptables -L"},
	{line: "ipset create s hash:ip && ipset add s 10.0.0.20 && ipset list s", needs: "IP sets", shows: `10\.0\.0\.20`},
	{line: "iptables -A INPUT -m set --match-set s src -j ACCEPT", needs: "IP sets in iptables"},
	{line: "iptables -A OUTPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT && ping -c 1 10.0.0.20 && conntrack -L", shows: `icmp.*dst=10\.0\.0\.20`},
	{line: "{ timeout 5 conntrack -E > /tmp/ct & until ping -c 1 10.0.0.20 >/dev/null; grep NEW /tmp/ct; do :; done; }", shows: `NEW.*icmp`},
	{line: "conntrack -S && conntrack -C && conntrack -F", shows: `found=`},
	{line: "cat /proc/net/nf_conntrack"},
	{line: "sysctl -w net.ipv4.ip_forward=1", shows: `= 1`},
	{line: "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.conf.all.route_localnet=1"},
	{line: "sysctl -w net.bridge.bridge-nf-call-iptables=0 && cat /proc/sys/net/bridge/bridge-nf-call-iptables", needs: "bridge-nf-call", shows: `(?m)^0$`},
	{line: "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding", needs: "IPv6"},
	{line: "echo 'net.ipv4.ip_default_ttl = 32' >> /etc/sysctl.conf && sysctl -p && ping -c 1 127.0.0.1", shows: `ttl=32`},
	{line: "sysctl --system", fails: "what it sets of the machine's is not a learner's; the rest is set", shows: `(?s)/etc/sysctl\.d/99-sysctl\.conf.*denied on key "fs\.`},
	{line: "echo '0 65535' > /proc/sys/net/ipv4/ping_group_range"},
	{line: "echo 4096 > /proc/sys/net/netfilter/nf_conntrack_max", fails: "only the machine's own namespace can set it", shows: `Permission denied`},
	{line: "echo 1048576 > /proc/sys/net/core/rmem_max", fails: "only the machine's own namespace can set it", shows: `Permission denied`},
	{line: "sysctl -w net.ipv4.tcp_congestion_control=reno"},
	{line: "sysctl -w kernel.hostname=other", fails: "that file is the machine's; the hostname command works", shows: `permission denied`},
	{line: "hostname other && hostname && hostname host1", shows: `other`},
	{line: "sysctl -w vm.drop_caches=1", fails: "the machine's, not a learner's", shows: `ermission denied`},
	{line: "sysctl -w kernel.core_pattern='|/bin/x'", fails: "the machine's, not a learner's", shows: `ermission denied`},
}

var programs = []typed{
	{line: "ping -c 1 10.0.0.20", shows: answered},
	{line: "ping -M do -s 1600 -c 1 10.0.0.20", fails: "the packet is larger than the MTU: so it should be", shows: `message too long`},
	{line: "ping -c 1 -W 1 10.0.0.99", fails: "nobody has that address: so it should be", shows: silence},
	{line: "ping -b -w 1 10.0.0.255 || true", shows: `broadcast`},
	{line: "arping -c 1 -I eth0 10.0.0.20", shows: `Received 1`},
	{line: "traceroute -n 10.0.0.20", shows: ` 1  10\.0\.0\.20`},
	{line: "traceroute -n -I 10.0.0.20", shows: ` 1  10\.0\.0\.20`},
	{line: "tracepath -n 10.0.0.20", shows: `10\.0\.0\.20`},
	{line: "mtr -n -r -c 1 -i 0.1 -G 0.1 10.0.0.20", shows: `10\.0\.0\.20 +0\.0%`},
	{line: "mtr -n 10.0.0.20", keys: []string{`10\.0\.0\.20`, "q"}},
	{line: "ping -i 0.1 -c 40 10.0.0.20 > /dev/null & timeout 5 tcpdump -ni eth0 -c 2 icmp", shows: `ICMP echo reply`},
	{line: "ping -i 0.1 -c 40 10.0.0.20 > /dev/null & timeout 5 tcpdump -ni any -c 1 -w /tmp/pcap icmp && tcpdump -nr /tmp/pcap", shows: `ICMP echo`},
	{line: "tcpdump -D", shows: `eth0`},
	{line: "ss -tulpn", shows: `Local Address`},
	{on: "host2", line: "python3 -m http.server 8000 > /tmp/log 2>&1 &", until: "ss -tln | grep :8000"},
	{line: "curl -sS http://10.0.0.20:8000/", shows: `Directory listing`},
	{on: "host2", line: "nc -lk 7000 > /tmp/heard &", until: "ss -tln | grep :7000"},
	{line: "echo hello | nc -N 10.0.0.20 7000"},
	{line: "nc -zv 10.0.0.20 7000", shows: `succeeded`},
	{line: "nc -zv -w 1 10.0.0.20 7001", fails: "nobody listens: so it should be", shows: `refused`},
	{on: "host2", line: "iperf3 -s -D", until: "ss -tln | grep :5201"},
	{line: "iperf3 -c 10.0.0.20 -n 1M", shows: `receiver`},
	{on: "host2", line: "socat UDP-LISTEN:7002,fork EXEC:cat &", until: "ss -uln | grep :7002"},
	{line: "echo hello | socat -t 2 - UDP:10.0.0.20:7002", shows: `hello`},
	{line: "socat -V", shows: `WITH_TUN`},
	{line: "dig +time=1 +tries=1 @10.0.0.20 example.test", fails: "nobody answers DNS there: so it should be", shows: `no servers could be reached|refused`},
}

var dailyWork = []typed{
	{line: "echo '10.0.0.20 web' >> /etc/hosts && ping -c 1 web", shows: `web \(10\.0\.0\.20\)`},
	{line: "echo 'nameserver 10.0.0.20' > /etc/resolv.conf && cat /etc/resolv.conf", shows: `10\.0\.0\.20`},
	{line: "ip netns add kon && mkdir -p /etc/netns/kon && echo 'nameserver 10.0.0.53' > /etc/netns/kon/resolv.conf && ip netns exec kon cat /etc/resolv.conf", shows: `10\.0\.0\.53`},
	{line: "hostnamectl || hostname", shows: `host1`},
	{line: "sudo -i id -un && sudo su -c 'id -un'", shows: `root\nroot`},
	{line: "modprobe wireguard_or_so", fails: "by design: a lab loads no modules into the shared kernel", shows: `can't load modules`},
	{line: "modprobe overlay"},
	{line: "systemctl restart systemd-networkd", fails: "by design: no services are managed", shows: `no services`},
	{line: "lsmod", fails: "by design: the kernel's modules are not a learner's", shows: `shared`},
	{line: "nsenter -t 1 -n ip link", fails: "by design: nobody enters a machine's init", shows: `ermission denied|not permitted`},
	{line: "unshare -U true", fails: "by design: no user namespaces within", shows: `not permitted|failed`},
	{line: "strace -c true", shows: `execve`},
	{line: "ps aux", shows: `ps aux`},
	{line: "vim --version", shows: `VIM`},
	{line: "ln -s /usr/bin/vim.tiny /tmp/vi; /tmp/vi /tmp/tiny", keys: []string{`tiny"`, "i", `INSERT`, "hello\x1b[D!\x1b:wq\r"}, until: "grep 'hell!o' /tmp/tiny"},
	{line: "vi /tmp/note", keys: []string{`note"`, "i", `INSERT`, "hello\x1b:wq\r"}, until: "grep hello /tmp/note"},
	{line: "nano --version", shows: `nano`},
	{line: "nano /tmp/other", keys: []string{`Exit`, "hello\x0f", `File Name to Write`, "\r", `Wrote`, "\x18"}, until: "grep hello /tmp/other"},
	{line: "less --version", shows: `less`},
	{line: "less /etc/services", keys: []string{`tcpmux`, "q"}},
	{line: "man -P cat ip | head -20", shows: `show / manipulate routing`},
	{line: "man ip", keys: []string{`show / manipulate routing`, "q"}},
	{line: "man tcpdump", keys: []string{`dump traffic`, "q"}},
	{line: "tmux new-session -d -s lab 'ping 10.0.0.20' && tmux ls", shows: `lab: 1 windows`},
	// Who attaches looks first, and tmux loses keys while it takes the window's size on.
	{line: "tmux attach -t lab", keys: []string{`icmp_seq=3 `, "\x02", `icmp_seq=[4-9] `, "d"}, shows: `detached`},
	{line: "tmux kill-server"},
	{line: "echo '{\"a\": 1}' | jq .a", shows: `^1`},
	{line: "ip netn\t", keys: []string{`ip netns `, "add zoo\r"}, until: "ls /run/netns/zoo"},
	{line: "ls --color=auto / ; echo $TERM", keys: []string{}, shows: "\x1b\\[01;34m"},
	{line: "history | grep -c TERM", keys: []string{}},
	{line: "ping 127.0.0.1", keys: []string{`bytes from`, "\x1a", `Stopped(?s:.*)# $`, "fg\r", `bytes from`, "\x03"}},
	{line: "yes | head -c 1000000 | wc -c", shows: `1000000`},
	{line: "awk 'BEGIN{print 1+1}' && perl -e 'print 1+1' && python3 -c 'print(1+1)'", shows: `2`},
	{line: "top -bn1 | head -1", shows: `load`},
	{line: "watch -n 1 ip link", keys: []string{`eth0`, "\x03"}},
	{line: "mount -t tmpfs none /mnt && df /mnt && umount /mnt", shows: `/mnt`},
	{line: "mknod /tmp/mem c 1 1", fails: "by design: no devices are made", shows: `not permitted`},
}

// TestToolsOfTheArticles types what learners type, and writes a table of what
// works and what fails into the log, and into the file that KABEL_TOOLS_TABLE
// names.
func TestToolsOfTheArticles(t *testing.T) {
	h := openHost(t)
	outcomes := make([][]string, len(tutorials))
	var pages sync.WaitGroup // not t.Parallel: most of the time is the pings'
	for i, page := range tutorials {
		pages.Go(func() {
			t.Run(page.name, func(t *testing.T) {
				page.spec.ID = host.WorldID(fmt.Sprint("page", i))
				w, err := h.Create(t.Context(), page.spec)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range page.lines {
					if l.on == "" {
						l.on = "host1"
					}
					outcomes[i] = append(outcomes[i], l.typeIn(t, w, page.names[l.on]))
				}
			})
		})
	}
	pages.Wait()
	var report bytes.Buffer
	table := tabwriter.NewWriter(&report, 0, 0, 2, ' ', 0)
	for i, page := range tutorials {
		fmt.Fprintf(table, "\n%s\n%s\n", page.name, strings.Join(outcomes[i], "\n"))
	}
	table.Flush()
	t.Log(report.String())
	if file := os.Getenv("KABEL_TOOLS_TABLE"); file != "" {
		if err := os.WriteFile(file, report.Bytes(), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// typeIn types the line and judges what comes of it. It returns a row of the
// table.
func (l typed) typeIn(t *testing.T, w host.World, variables string) string {
	t.Helper()
	run := func(line string) (string, bool) { return l.run(t, w, line) }
	if l.keys != nil {
		run = func(line string) (string, bool) { return l.press(t, w, line) }
	}
	line := l.line
	if variables != "" {
		line = "export " + variables + "\n" + line
	}
	output, works := run(line)
	shown := l.shows == "" || regexp.MustCompile(l.shows).MatchString(output)
	if works && l.until != "" {
		eventually(t, fmt.Sprintf("after %q never: %s", l.line, l.until), func() bool {
			_, ok := l.run(t, w, l.until)
			return ok
		})
	}
	row := fmt.Sprintf("  %s\t%s\t", l.on, strings.NewReplacer("\\\n", "", "\n", "; ", "\t", "⇥").Replace(l.line))
	switch {
	case l.fails == "" && works && shown:
		if l.needs != "" && kernelLacks(t, l.needs) {
			t.Errorf("%s works, but not what should tell whether there is: %s", l.line, l.needs)
		}
		return row + "works"
	case l.fails != "" && !works && shown:
		return row + "fails\t" + l.fails
	case l.needs != "" && !works && kernelLacks(t, l.needs):
		return row + "fails\tkernel lacks: " + l.needs
	}
	t.Errorf("%s: %s\nworks: %t, should fail because: %q, should show: %s\noutput: %s", l.on, l.line, works, l.fails, l.shows, output)
	return row + "UNEXPECTED"
}

func (l typed) run(t *testing.T, w host.World, line string) (output string, works bool) {
	t.Helper()
	r, err := w.Exec(t.Context(), host.ExecRequest{Node: l.on, Argv: []string{"bash", "-c", line}, Stdin: []byte(l.shell), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatalf("%s: %s: %v", l.on, line, err)
	}
	return string(r.Stdout) + string(r.Stderr), r.ExitCode == 0
}

// press types the line on a terminal, and then the keys.
func (l typed) press(t *testing.T, w host.World, line string) (output string, works bool) {
	t.Helper()
	term, err := w.Terminal(t.Context(), host.TerminalRequest{Node: l.on, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { term.Close() })
	defer func() { late.Stop(); term.Close() }()
	write := func(keys string) {
		if _, err := term.Write([]byte(keys)); err != nil {
			t.Fatalf("%s: %s: %v", l.on, line, err)
		}
	}
	var all, since []byte
	read := func() bool {
		b := make([]byte, 4096)
		n, err := term.Read(b)
		all, since = append(all, b[:n]...), append(since, b[:n]...)
		return err == nil
	}
	const prompt = `:~# $`
	if !strings.HasSuffix(line, "\t") {
		line += "\r"
	}
	for i, seen := range slices.Concat([]string{prompt, line}, l.keys, []string{prompt}) {
		if i%2 == 1 {
			write(seen)
			since = nil
			continue
		}
		for !regexp.MustCompile(seen).Match(since) {
			if !read() {
				t.Errorf("%s: %s: never seen: %s", l.on, line, seen)
				return string(all), false
			}
		}
	}
	write("exit\r")
	for read() {
	}
	return string(all), term.ExitCode() == 0
}

// kernelLacks tells whether a feature is missing outside of all worlds too.
func kernelLacks(t *testing.T, feature string) bool {
	t.Helper()
	probe, ok := kernelFeatures[feature]
	if !ok {
		t.Fatalf("%s: nobody knows how to find out", feature)
	}
	return exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-e", "-c", probe).Run() != nil
}
