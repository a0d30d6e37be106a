package labs_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kabel/labs"
	"kabel/sandbox/topo"
)

// world is a state in which most things exist that a check can ask for.
func world() labs.State {
	prefix := netip.MustParsePrefix
	addr := netip.MustParseAddr
	host1 := topo.Node{ID: "host1",
		Links: []topo.Netdev{
			{Name: "lo", Kind: "loopback", Up: true},
			{Name: "eth0", Kind: "veth", Up: true, Carrier: true, MTU: 1500, MAC: "02:00:00:00:00:01", Peer: "sw:port1", Addresses: []netip.Prefix{prefix("10.0.0.10/24")}},
		},
		Routes: []topo.Route{
			{Dst: prefix("0.0.0.0/0"), Via: addr("10.0.0.1"), Dev: "eth0"},
			{Dst: prefix("10.0.0.0/24"), Dev: "eth0", Src: addr("10.0.0.10"), Scope: "link", Protocol: "kernel"},
			{Dst: prefix("10.0.0.0/24"), Dev: "eth1", Src: addr("10.0.0.11"), Scope: "link", Protocol: "kernel"},
			{Dst: prefix("172.16.9.0/24"), Dev: "eth0", Table: 100},
		},
		Neighbours: []topo.Neighbour{{IP: addr("10.0.0.1"), MAC: "02:00:00:00:00:09", Dev: "eth0", State: "reachable"}},
		FDB:        []topo.FDBEntry{{MAC: "02:00:00:00:00:02", Dev: "eth0", Master: "br0"}},
		Firewall: []topo.Chain{
			{Tool: "iptables", Family: "ip6", Table: "filter", Name: "FORWARD", Policy: "ACCEPT"},
			{Tool: "iptables", Family: "ip", Table: "filter", Name: "FORWARD", Policy: "DROP", Rules: []topo.FirewallRule{{Text: "-f -j DROP", Packets: 7}}},
		},
		Sockets: []topo.Socket{
			{Protocol: "udp", Local: netip.MustParseAddrPort("10.0.0.10:9000"), Remote: netip.MustParseAddrPort("10.0.1.20:9000")},
			{Protocol: "udp", Local: netip.MustParseAddrPort("172.16.0.1:9000")},
		},
		Sysctls:  map[string]string{"net.ipv4.ip_forward": "1"},
		Counters: map[string]uint64{"Icmp.InEchos": 5},
	}
	before := host1
	before.Counters = map[string]uint64{"Icmp.InEchos": 2}
	before.Firewall = []topo.Chain{{Family: "ip", Table: "filter", Name: "FORWARD", Rules: []topo.FirewallRule{{Text: "-f -j DROP", Packets: 3}}}}
	return labs.State{
		Now:   topo.Snapshot{Nodes: []topo.Node{host1, {ID: "host1/kon", Counters: map[string]uint64{"Icmp.InEchos": 1}}}},
		Since: topo.Snapshot{Nodes: []topo.Node{before}},
		Probes: []topo.ProbeResult{
			{Probe: topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.1"}, Sent: 2, Received: 2, OK: true},
			{Probe: topo.Probe{From: "host1", Kind: topo.ProbePing, To: "10.0.0.1", Size: 1464}, Sent: 1, Reason: topo.ReasonTooBig},
		},
	}
}

func TestChecksSeeTheState(t *testing.T) {
	state := world()
	for _, check := range []string{
		"node('host1').exists && node('host1/kon').exists",
		"link('host1','eth0').up && link('host1','eth0').carrier && link('host1','eth0').mtu == 1500",
		"link('host1','eth0').peer == 'sw:port1' && link('host1','eth0').mac == '02:00:00:00:00:01'",
		"link('host1','eth0').kind == 'veth' && link('host1','lo').kind == 'loopback' && link('host1','eth0').master == ''",
		"!link('host1/kon','eth0').exists && !link('host1/kon','eth0').up",
		"has_addr('host1','eth0','10.0.0.10/24') && !has_addr('host1','eth0','10.0.0.10/32') && !has_addr('host1/kon','eth0','10.0.0.10/24')",
		"route('host1','default').via == '10.0.0.1' && route('host1','0.0.0.0/0').dev == 'eth0'",
		"route('host1','10.0.0.0/24').src == '10.0.0.10' && route('host1','10.0.0.0/24').via == ''",
		"!route('host1','172.16.9.0/24').exists && route('host1','172.16.9.0/24').count == 0",
		"route('host1','10.0.0.0/24').count == 2 && route('host1','10.0.0.0/24').dev == 'eth0' && route('host1','default').count == 1",
		"neigh('host1','10.0.0.1').mac == '02:00:00:00:00:09' && neigh('host1','10.0.0.1').state == 'reachable'",
		"fdb('host1','eth0','02:00:00:00:00:02').learned && !fdb('host1','eth0',link('host1','eth0').mac).exists",
		"sysctl('host1','net.ipv4.ip_forward') == '1' && sysctl('host1/kon','net.ipv4.ip_forward') == ''",
		"policy('host1','filter','FORWARD') == 'DROP' && policy('host1','filter','INPUT') == 'ACCEPT'",
		"rule('host1','filter','FORWARD','-f').rose == 4 && !rule('host1','filter','FORWARD','-p tcp').exists",
		"socket('host1','udp',9000).remote == '10.0.1.20:9000' && !socket('host1','tcp',9000).exists",
		"socket('host1','udp',9000).count == 2 && socket('host1','udp',9000).local == '10.0.0.10:9000' && socket('host1','tcp',9000).count == 0",
		"rose('host1','Icmp.InEchos') == 3 && rose('host1/kon','Icmp.InEchos') == 1 && rose('host1','Ip.ForwDatagrams') == 0",
		"probe('host1','10.0.0.1').reason == 'message-too-long' && probe('host1','10.0.0.1',1464).failed && !probe('host1','10.0.0.2').tried",
		"!ping('host1','10.0.0.1').ok && ping('host1','10.0.0.1').tried",
	} {
		if ok, err := judge(t, check, state); err != nil || !ok {
			t.Errorf("%s: %v, %v", check, ok, err)
		}
	}
}

// A check can ask for packets, by what they are and where they were seen.
func TestChecksSeePackets(t *testing.T) {
	addr := netip.MustParseAddr
	state := world()
	state.Packets = []topo.Sighting{
		{Node: "host1", Link: "eth0", Out: true, Kind: "arp-request", Protocols: []string{"eth", "arp"}, Src: addr("10.0.0.10"), Dst: addr("10.0.0.1")},
		{Node: "host1", Link: "lo", Out: true, Kind: "udp", Answered: true},
		{Node: "host1", Link: "eth0", Out: true, Kind: "echo-request", Protocols: []string{"eth", "ipv4", "udp", "ipv4", "icmp"},
			Src: addr("172.16.0.2"), Dst: addr("172.16.1.2"), TTL: 63, OuterSrc: addr("10.0.0.10"), OuterDst: addr("10.0.1.20"), OuterPort: 9000, OuterTTL: 64},
	}
	for _, check := range []string{
		"packets('host1','eth0').exists(p, p.out && p.kind == 'arp-request' && p.dst == '10.0.0.1' && !p.answered)",
		"packets('host1','eth0').exists(p, p.outer_port == 9000 && p.kind == 'echo-request' && p.ttl == 63 && 'icmp' in p.protocols)",
		"!packets('host1','eth0').exists(p, p.kind == 'arp-reply') && packets('host1','lo').all(p, p.answered)",
		"packets('host1','eth0').size() == 2 && packets('host1','eth0')[0].kind == 'echo-request' && packets('host1/kon','eth0').size() == 0",
	} {
		if ok, err := judge(t, check, state); err != nil || !ok {
			t.Errorf("%s: %v, %v", check, ok, err)
		}
	}
}

// A flood stays within the budget of a check: the latest packets are looked at.
func TestAFloodOfPacketsCanBeChecked(t *testing.T) {
	var state labs.State
	for range 5000 {
		state.Packets = append(state.Packets, topo.Sighting{Node: "host1", Link: "eth0", Out: true, Kind: "udp"})
	}
	check := "!packets('host1','eth0').exists(p, p.out && p.kind == 'echo-request' && p.ttl == 63 && !p.answered)"
	if ok, err := judge(t, check, state); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestAPlanKnowsWhichChecksNeedPackets(t *testing.T) {
	for check, want := range map[string]bool{"node('host1').exists": false, "node('host1').exists && packets('host1','lo').size() > 0": true} {
		yaml := strings.Replace(small, "check: node('host1/kon').exists", "check: >-\n      "+check, 1)
		if got := smallPlan(t, files(yaml, smallText), "").Steps[0].Check.Packets(); got != want {
			t.Errorf("%s: %v, want %v", check, got, want)
		}
	}
}

// judge puts a check into a lab and asks it.
func judge(t *testing.T, check string, s labs.State) (bool, error) {
	t.Helper()
	yaml := strings.Replace(small, "check: node('host1/kon').exists", "check: >-\n      "+check, 1)
	return smallPlan(t, files(yaml, smallText), "").Steps[0].Check.Eval(t.Context(), s)
}

// A ping may be a probe or typed into a terminal, where only the kernel's
// counters tell of it.
func TestPingHoweverItWasSent(t *testing.T) {
	kon := func(counters map[string]uint64) topo.Node { return topo.Node{ID: "host1/kon", Counters: counters} }
	asker := func(counters map[string]uint64) topo.Node { return topo.Node{ID: "host1", Counters: counters} }
	owner := topo.Node{ID: "sw", Counters: map[string]uint64{"Icmp.OutEchoReps": 2},
		Links: []topo.Netdev{{Name: "br0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}}}
	silent := owner
	silent.Counters = nil
	result := func(to string, ok bool, sent int, reason topo.Reason) topo.ProbeResult {
		r := topo.ProbeResult{Probe: topo.Probe{From: "host1", Kind: topo.ProbePing, To: to, Count: sent}, OK: ok, Sent: sent, Reason: reason}
		if ok {
			r.Received = sent
		}
		return r
	}
	for _, c := range []struct {
		name  string
		state labs.State
		check string
	}{
		{"nothing was sent", labs.State{}, "!p.tried && !p.ok && !p.failed"},
		{"a probe was answered", labs.State{Probes: []topo.ProbeResult{result("10.0.0.1", true, 2, "")}}, "p.tried && p.ok && !p.failed && p.received == 2"},
		{"a probe failed", labs.State{Probes: []topo.ProbeResult{result("10.0.0.1", false, 2, topo.ReasonTimeout)}}, "p.failed && p.reason == 'no-answer'"},
		{"the last probe counts", labs.State{Probes: []topo.ProbeResult{result("10.0.0.1", false, 2, topo.ReasonTimeout), result("10.0.0.1", true, 2, "")}}, "p.ok"},
		{"typed and answered", labs.State{Now: topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Icmp.OutEchos": 2, "Icmp.InEchoReps": 2}), owner}}}, "p.ok && p.received == 2"},
		{"typed, answered by somebody else", labs.State{Now: topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Icmp.OutEchos": 2, "Icmp.InEchoReps": 2}), silent}}}, "!p.ok && !p.failed"},
		{"typed without an answer", labs.State{Now: topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Icmp.OutEchos": 2}), silent}}}, "p.failed && p.reason == 'no-answer'"},
		{"typed, one packet is under way", labs.State{Now: topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Icmp.OutEchos": 1}), silent}}}, "!p.tried"},
		{"typed without a route", labs.State{Now: topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Ip.OutNoRoutes": 1})}}}, "p.failed && p.reason == 'network-unreachable'"},
		{"typed, told unreachable", labs.State{Now: topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Icmp.OutEchos": 2, "Icmp.InDestUnreachs": 2})}}}, "p.failed && p.reason == 'host-unreachable'"},
		{"typed in another namespace", labs.State{Now: topo.Snapshot{Nodes: []topo.Node{kon(map[string]uint64{"Icmp.OutEchos": 2})}}}, "!p.tried"},
		{"a probe to another address is no typed ping", labs.State{
			Now:    topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Icmp.OutEchos": 2})}},
			Probes: []topo.ProbeResult{result("10.0.0.2", false, 2, topo.ReasonTimeout)}}, "!p.tried"},
		{"nor is one without a route", labs.State{
			Now:    topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Ip.OutNoRoutes": 2})}},
			Probes: []topo.ProbeResult{result("10.0.0.2", false, 2, topo.ReasonNetUnreachable)}}, "!p.tried"},
		{"nor is one that is under way", labs.State{
			Now:     topo.Snapshot{Nodes: []topo.Node{asker(map[string]uint64{"Icmp.OutEchos": 2})}},
			Probing: []topo.Probe{{From: "host1", Kind: topo.ProbePing, To: "10.0.0.2"}}}, "!p.tried"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if ok, err := judge(t, strings.ReplaceAll(c.check, "p.", "ping('host1','10.0.0.1')."), c.state); err != nil || !ok {
				t.Errorf("%s: %v, %v", c.check, ok, err)
			}
		})
	}
}

func TestACheckHasABudget(t *testing.T) {
	list := "[" + strings.Repeat("1,", 199) + "1]"
	if _, err := judge(t, list+".all(a, "+list+".all(b, "+list+".all(c, a+b+c > 0)))", labs.State{}); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("got %v, want the end of a budget", err)
	}
}

func TestACheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	long := "check: >-\n      [1,2,3,4,5].map(a, [1,2,3,4,5].map(b, [1,2,3,4,5,6,7].map(c, a*b*c))).size() > 0"
	c := smallPlan(t, files(strings.Replace(small, "check: node('host1/kon').exists", long, 1), smallText), "")
	if _, err := c.Steps[0].Check.Eval(ctx, labs.State{}); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want an interruption", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	c, err := labs.BuiltInOnce()
	if err != nil {
		b.Fatal(err)
	}
	p, err := c.Lab("one-host-bridge").Plan("")
	if err != nil {
		b.Fatal(err)
	}
	state := world()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Steps[2].Check.Eval(b.Context(), state); err != nil {
			b.Fatal(err)
		}
	}
}

// A lab file may come from a stranger: a check costs no more than is allowed,
// and none is followed into itself.
func TestChecksOfStrangersAreBounded(t *testing.T) {
	many := "[" + strings.Repeat("1,", 60) + "1]"
	wide := many + ".exists(a, " + many + ".exists(b, " + many + ".exists(c, a + b + c == 999)))"
	state := world()
	for name, check := range map[string]string{
		"three loops":        wide,
		"loops over packets": "packets('host1','eth0').exists(a, packets('host1','eth0').exists(b, packets('host1','eth0').exists(c, a.length + b.length + c.length == 1)))",
		"a text that grows":  "[1,2,3,4,5,6,7,8].map(a, '" + strings.Repeat("x", 500) + "').map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).map(s, s+s+s+s+s+s+s+s).exists(s, s.matches('(x+x+)+y'))",
	} {
		for range 250 {
			state.Packets = append(state.Packets, topo.Sighting{Node: "host1", Link: "eth0"})
		}
		c, err := labs.Load(files(strings.Replace(small, "check: node('host1/kon').exists", `check: "`+check+`"`, 1), smallText))
		if err != nil {
			continue // refused before anybody plays it
		}
		p, err := c.Lab("small").Plan("")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := p.Steps[0].Check.Eval(t.Context(), state); err == nil || !strings.Contains(err.Error(), "cost limit") {
			t.Errorf("%s: got %v", name, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}
