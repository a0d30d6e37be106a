package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/kernel"
	"kabel/sandbox/topo"
	"kabel/server/capture"
	"kabel/server/packet"
	"kabel/server/packet/journey"
)

// twoHosts wires two hosts and their containers: kon1 and kon2 behind a bridge on
// host1, kon3 behind one on host2, routes between them, a VXLAN, address
// translation for kon2's way out and a published port of kon1.
var twoHosts = map[topo.NodeID]string{
	"host1": `
ip addr add 10.0.0.1/24 dev eth0
ip link add br0 type bridge
ip addr add 172.16.0.1/24 dev br0
ip link set br0 up
for i in 1 2; do
  ip netns add kon$i
  ip link add v$i type veth peer name eth0 netns kon$i
  ip link set v$i master br0 up
  ip -n kon$i addr add 172.16.0.$((i+1))/24 dev eth0
  ip -n kon$i link set eth0 up
  ip -n kon$i link set lo up
  ip -n kon$i route add default via 172.16.0.1
done
sysctl -qw net.ipv4.ip_forward=1
ip route add 172.16.1.0/24 via 10.0.0.2
ip link add vx type vxlan id 42 remote 10.0.0.2 dstport 4789 dev eth0
ip addr add 192.168.9.1/24 dev vx
ip link set vx up
iptables -t nat -A POSTROUTING -s 172.16.0.0/24 -d 10.0.0.2 -j MASQUERADE
iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 8080 -j DNAT --to-destination 172.16.0.2:80
`,
	"host2": `
ip addr add 10.0.0.2/24 dev eth0
ip link add br0 type bridge
ip addr add 172.16.1.1/24 dev br0
ip link set br0 up
ip netns add kon3
ip link add v3 type veth peer name eth0 netns kon3
ip link set v3 master br0 up
ip -n kon3 addr add 172.16.1.2/24 dev eth0
ip -n kon3 link set eth0 up
ip -n kon3 route add default via 172.16.1.1
sysctl -qw net.ipv4.ip_forward=1
ip route add 172.16.0.0/24 via 10.0.0.1
ip link add vx type vxlan id 42 remote 10.0.0.1 dstport 4789 dev eth0
ip addr add 192.168.9.2/24 dev vx
ip link set vx up
`,
}

// crossing is traffic between two places and the way that each of its packets goes.
type crossing struct {
	name string
	// send is what makes it: scripts by the node that they run on, side by side.
	send map[topo.NodeID]string
	// is says whether a row is of it.
	is func(capture.Row) bool
	// there and back are the places, in order, of its packets.
	there, back string
	// packets there; 0: as many as there are.
	packets int
	// same tells packets apart: all sightings of a row must have the same.
	same string
}

func pings(from, to string) func(capture.Row) bool {
	return func(r capture.Row) bool {
		return r.Protocol == "ICMP" && (r.Source == from && r.Destination == to || r.Source == to && r.Destination == from)
	}
}

func datagrams(r capture.Row) bool { return r.Protocol == "UDP" && r.Destination == "10.0.0.2" }

var crossings = []crossing{
	{name: "a bridge", send: map[topo.NodeID]string{"host1/kon1": "ping -q -c 200 -i 0.005 172.16.0.3"}, is: pings("172.16.0.2", "172.16.0.3"), packets: 200, same: "Sequence number",
		there: "kon1:eth0< v1> v2< kon2:eth0>", back: "kon2:eth0< v2> v1< kon1:eth0>"},
	{name: "two routers", send: map[topo.NodeID]string{"host1/kon1": "ping -q -c 200 -i 0.005 172.16.1.2"}, is: pings("172.16.0.2", "172.16.1.2"), packets: 200, same: "Sequence number",
		there: "kon1:eth0< v1> br0> eth0< 2:eth0> 2:br0< 2:v3< kon3:eth0>", back: "kon3:eth0< 2:v3> 2:br0> 2:eth0< eth0> br0< v1< kon1:eth0>"},
	{name: "masquerading of two with one id", send: map[topo.NodeID]string{"host1/kon1": "ping -q -e 77 -c 200 -i 0.005 10.0.0.2", "host1/kon2": "ping -q -e 77 -c 200 -i 0.005 10.0.0.2"},
		is: func(r capture.Row) bool {
			return r.Protocol == "ICMP" && (r.Source == "10.0.0.2" || r.Destination == "10.0.0.2")
		}, packets: 400, same: "Sequence number",
		there: "kon:eth0< v> br0> eth0< 2:eth0>", back: "2:eth0< eth0> br0< v< kon:eth0>"},
	{name: "a VXLAN", send: map[topo.NodeID]string{"host1": "ping -q -c 200 -i 0.005 192.168.9.2"}, is: pings("192.168.9.1", "192.168.9.2"), packets: 200, same: "Sequence number",
		there: "vx< eth0< 2:eth0> 2:vx>", back: "2:vx< 2:eth0< eth0> vx>"},
	{name: "a published port", send: map[topo.NodeID]string{
		"host1/kon1": "timeout 20 socat TCP-LISTEN:80,reuseaddr,fork,max-children=1 SYSTEM:'cat >/dev/null; echo hello' & for i in $(seq 50); do ss -tln | grep -q :80 && break; sleep 0.1; done; touch /tmp/ready; sleep 6; kill %1",
		"host2":      "sleep 1; for i in $(seq 8); do echo hello | timeout 5 socat - TCP:10.0.0.1:8080; done; sleep 1",
	}, is: func(r capture.Row) bool { return r.Protocol == "TCP" || r.Protocol == "HTTP" }, same: "Sequence number",
		there: "2:eth0< eth0> br0< v1< kon1:eth0>", back: "kon1:eth0< v1> br0> eth0< 2:eth0>"},
	{name: "datagrams that are alike, masqueraded", send: map[topo.NodeID]string{
		"host2":      "timeout 4 socat -u UDP-RECV:9,reuseaddr /dev/null; true",
		"host1/kon2": "sleep 1; head -c 400 /dev/zero | socat -u -b1 - UDP:10.0.0.2:9,sourceport=5000",
	}, is: datagrams, packets: 400, same: "Identification", there: "kon2:eth0< v2> br0> eth0< 2:eth0>"},
	{name: "datagrams without even an identification", send: map[topo.NodeID]string{
		"host2":      "timeout 4 socat -u UDP-RECV:9,reuseaddr /dev/null; true",
		"host1/kon2": "sleep 1; head -c 400 /dev/zero | socat -u -b1 - UDP-SENDTO:10.0.0.2:9,sourceport=5001",
	}, is: datagrams, packets: 400, same: "Identification", there: "kon2:eth0< v2> br0> eth0< 2:eth0>"},
}

// TestJourneysOnAKernel: packets of every kind of crossing are followed over every
// interface, each packet as one row, and none is taken for another.
func TestJourneysOnAKernel(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	yard, err := jail.Open(jail.Options{StateDir: t.TempDir(), Log: log,
		Limits: jail.Limits{MemoryMiB: 1024}}) // the inits are this test program, which weighs much under the race detector
	if err != nil {
		t.Fatal(err)
	}
	h, err := kernel.New(yard, kernel.Options{ID: "journeys", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, err := range []error{h.Close(), yard.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	}()
	w, err := h.Create(t.Context(), host.Spec{ID: "journeys", Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}, {Name: "host2", Kind: topo.KindHost}},
		Wires: []topo.Wire{{A: topo.Link("host1", "eth0"), B: topo.Link("host2", "eth0")}}})
	if err != nil {
		t.Fatal(err)
	}
	run := func(node topo.NodeID, script string) {
		t.Helper()
		r, err := w.Exec(t.Context(), host.ExecRequest{Node: node, Argv: []string{"bash", "-c", script}, Timeout: 30 * time.Second})
		if err != nil || r.ExitCode != 0 {
			t.Errorf("on %s: %v, exit code %d\n%s%s", node, err, r.ExitCode, r.Stdout, r.Stderr)
		}
	}
	for _, node := range []topo.NodeID{"host1", "host2"} {
		run(node, "set -e\n"+twoHosts[node])
	}
	for _, c := range crossings {
		t.Run(c.name, func(t *testing.T) {
			// Each asks first, so that no packet waits for an address.
			run("host1/kon1", "ping -q -c 1 -w 5 172.16.0.3; ping -q -c 1 -w 5 172.16.1.2; ping -q -c 1 -w 5 10.0.0.2; true")
			run("host1/kon2", "ping -q -c 1 -w 5 10.0.0.2; true")
			run("host1", "ping -q -c 1 -w 5 192.168.9.2; true")
			now, err := w.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			hub := capture.NewHub(capture.Options{Log: log, Retire: func() time.Duration { return 5 * time.Millisecond }, Changed: func() {}})
			defer hub.Close()
			hub.Use(w)
			release, err := hub.Hold(t.Context(), now)
			if err != nil {
				t.Fatal(err)
			}
			defer release()
			since := time.Now()
			var tasks sync.WaitGroup
			for node, script := range c.send {
				tasks.Go(func() { run(node, script) })
			}
			tasks.Wait()
			// The packets of several namespaces come one namespace after the other.
			var rows []capture.Row
			patience, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for {
				rows = nil
				for _, r := range hub.Rows(t.Context(), since, all, every) {
					if c.is(r) {
						rows = append(rows, r)
					}
				}
				if len(rows) > 0 && len(rows) >= c.rows() && !slices.ContainsFunc(rows, func(r capture.Row) bool { return !c.exact(r) }) || !hub.Wait(patience) {
					break
				}
			}
			c.judge(t, hub, rows)
		})
	}
}

// rows is how many there must be; 0: not known.
func (c crossing) rows() int {
	if c.back == "" {
		return c.packets
	}
	return 2 * c.packets
}

func (c crossing) exact(r capture.Row) bool { return c.way(r) == c.there || c.way(r) == c.back }

func all([]*journey.Journey) bool                      { return true }
func every(seen []*journey.Journey) []*journey.Journey { return seen }

// judge counts the rows whose way is exactly that of a packet, and proves by their
// bytes that each is one packet.
func (c crossing) judge(t *testing.T, hub *capture.Hub, rows []capture.Row) {
	t.Helper()
	ways, exact := map[string]int{}, 0
	for _, r := range rows {
		ways[c.way(r)]++
		if c.exact(r) {
			exact++
		}
		first := ""
		for i, s := range r.Sightings {
			f, _, ok := hub.Frame(s.No)
			if !ok {
				t.Fatalf("packet %d is not kept", s.No)
			}
			value := field(f, c.same)
			if i == 0 {
				first = value
			}
			if value == "" || value != first {
				t.Errorf("row %d (%s) has the packets of %s %s and %s", r.ID, r.Info, c.same, first, value)
			}
		}
	}
	if exact == 0 || exact != len(rows) || c.packets > 0 && (ways[c.there] != c.packets || len(rows) != c.rows()) {
		t.Errorf("%d of %d rows, of %d, have gone exactly\n%s or\n%s, but: %v", exact, len(rows), c.rows(), c.there, c.back, ways)
	}
	t.Logf("%d of %d rows are exact", exact, len(rows))
}

// way writes a row's places in the words of the table above.
func (c crossing) way(r capture.Row) string {
	var places []string
	for _, s := range r.Sightings {
		place := string(s.Node) + ":" + s.Link
		place = strings.NewReplacer("host1/", "", "host2/", "", "host1:", "", "host2:", "2:").Replace(place)
		if strings.Contains(c.there, "kon:") { // of two, whichever
			place = strings.NewReplacer("kon1", "kon", "kon2", "kon", "v1", "v", "v2", "v").Replace(place)
		}
		places = append(places, place+map[bool]string{true: "<", false: ">"}[s.Out])
	}
	return strings.Join(places, " ")
}

// field is the value of the innermost field of that name.
func field(f *packet.Frame, name string) (value string) {
	for _, l := range packet.Dissect(f) {
		for _, field := range l.Fields {
			if field.Name == name {
				value = fmt.Sprintf("%s/%s", l.Name, field.Value)
			}
		}
	}
	return value
}
