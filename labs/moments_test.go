package labs

import (
	"slices"
	"strings"
	"testing"
)

// moment is something that a lab promises to show. An author who changes a lab, or a
// reviewer who asks for what a lab is there, finds here which step shows it.
type moment struct {
	// says is what the learner has seen afterwards.
	says string
	// truth marks what the articles behind the labs get wrong or leave out.
	truth bool
	// by are the steps that show it, each with how: "step=answer" by a question of
	// which the kernel's answer is known and proved by server lab test, "step!" by a
	// failure that its check asks for, "step" by a check that holds.
	by string
}

var moments = map[string][]moment{
	// Track A: four models.
	"host-network": {
		{"a closed port refuses, it is not silent", false, "closed=refused!"},
		{"a port in the host's network is a port of the machine", false, "reach=nothing"},
		{"two servers can't have one port", false, "second=refused"},
		{"in a namespace of its own a server has all ports, and no visitors", false, "own-namespace=both alone=nobody"},
	},
	"one-namespace": {
		{"inside there are other interfaces than outside", false, "namespace=only-lo move=only-veth1"},
		{"before the routes it is unreachable in both directions, and two different machines say so", false, "strangers=gateway!"},
		{"a route there without a route back is half a way", false, "host-route=one-way"},
		{"who asks for whom by ARP", false, "default-route=the-host"},
		{"a default route via one's own address makes everybody a neighbour", true, "default-route=the-host"},
		{"the article's ping to 10.0.0.1 can't work: the host does not own it, does not forward, and has no way back", true, "beyond=in-kon! real-gateway=one-way way-back"},
	},
	"one-host-bridge": {
		{"containers talk before the bridge has an address", false, "talk=yes-by-mac"},
		{"the bridge learns who is behind which port", false, "talk=yes-by-mac"},
		{"the host can't talk to them until the bridge has one", false, "host-apart=to-the-gateway! bridge-address=network-route"},
		{"FORWARD's policy kills a bridged ping, and not ARP; opening it repairs that", false, "policy-drop=dies! repair"},
		{"ip_forward does not repair a bridged ping", true, "forward-is-not-it=still-dead! repair"},
	},
	"two-hosts-l2": {
		{"first failure: no route, and the gateway says so", false, "no-route=to-r1!"},
		{"second failure: forwarding is off, and nobody says so", false, "way-there=dies-on-host2!"},
		{"every hop between needs forwarding", false, "forward-2=only-host1!"},
		{"third failure: the answer has no way back", false, "forward-1=answer-dies! way-back"},
	},
	"two-hosts-overlay-tun": {
		{"with a router between the hosts, routes on the hosts don't help", false, "strangers=on-r1!"},
		{"one prefix leads to the containers of all other hosts", false, "tunnel-1=wide-route"},
		{"the same ping twice on eth0: UDP outside, ICMP inside", false, "through=udp"},
		{"with a wrong MTU a big ping dies in silence", false, "big-ping=silence!"},
		{"neither the article's 1492 nor the 1472 of the guides fits this tunnel: 4 bytes travel along", true, "mtu-1472=silence! mtu-1468"},
		{"without these 4 bytes 1472 is right to the byte", true, "mtu-exact=passes"},
		{"rp_filter: which packets die, where, and counted by whom", false, "other-host=request-on-host2! rp-filter-2=answer-dies! rp-filter-1"},
	},
	// Track B: a bridge network from scratch.
	"namespaces-and-veth": {
		{"a cable has a signal only when both ends are up", false, "host-end=no-signal"},
		{"an address brings a route along", false, "both-ways=network-route"},
		{"eth0's address and 8.8.8.8 are unreachable, and the routing table says why", false, "outside=itself! one-line=only-the-host!"},
	},
	"two-cables-one-subnet": {
		{"two equal routes, side by side", false, "host-end=two"},
		{"the first container works and the second does not: the first route wins", false, "broken=answer-lost! from-the-host=veth0!"},
		{"without the first route the roles are swapped", false, "swap=swapped!"},
	},
	"bridge": {
		{"the containers talk", false, "talk=the-neighbour"},
		{"the bridge forgets who is unplugged and learns again", false, "unplug=dies! plug-again=two"},
		{"the host does not talk to them", false, "host-apart=out-of-eth0!"},
	},
	"reach-the-host": {
		{"the host's new route, and as whom it speaks by it", false, "address=from-br0"},
		{"a container reaches eth0's address once it has a gateway", false, "two-addresses=only-br0 default-routes"},
		{"an address belongs to the machine, not to the card", true, "eth0-off=answered"},
	},
	"reach-the-internet": {
		{"with forwarding alone the packet leaves and its answer never comes back", false, "forward=one-way! who-asks=container!"},
		{"masquerade changes the source at eth0", false, "masquerade=host"},
		{"conntrack has both halves and undoes it", false, "notebook=host"},
		{"what the exception for the bridge is for", true, "no-exception=bridge exception"},
	},
	"publish-a-port": {
		{"the laptop, before and after", false, "closed=refused! prerouting=laptop"},
		{"the host itself takes another gate", false, "from-the-host=refused! output"},
		{"a neighbour by the published port, bridge-nf off: an answer from a stranger", false, "neighbour=answer-rejected"},
		{"the same with bridge-nf on", false, "bridge-nf=host"},
	},
	"why-is-it-dropped": {
		{"FORWARD drops: on the host", false, "silence=host1-forward!"},
		{"INPUT drops: in the other container", false, "forward-policy=netns1-input! input-policy"},
		{"no default route: in the container", false, "unreachable=netns0-route!"},
		{"no forwarding: on the host", false, "default-route=host1-forwarding!"},
		{"no masquerade: on the way back from the Internet", false, "forwarding=internet-answer! masquerade"},
		{"a default route to the wrong gateway: in the neighbour", false, "the-other=netns0-forwarding! right-gateway"},
	},
}

// Every lab keeps what it promises to show: each moment has steps, and these steps
// show it. What the kernel answers is proved by server lab test.
func TestMoments(t *testing.T) {
	c, err := BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	for lab := range moments {
		if c.Lab(lab) == nil {
			t.Errorf("moments are promised of %s, which there is not", lab)
		}
	}
	for _, lab := range c.Labs() {
		if len(moments[lab.ID]) == 0 {
			t.Errorf("%s promises nothing", lab.ID)
		}
		steps := lab.plans[""].source.raw.Steps
		for _, m := range moments[lab.ID] {
			for by := range strings.FieldsSeq(m.by) {
				by, fails := strings.CutSuffix(by, "!")
				id, answer, asks := strings.Cut(by, "=")
				i := slices.IndexFunc(steps, func(s stepFile) bool { return s.ID.Text == id })
				if i < 0 {
					t.Errorf("%s: %s: there is no step %s", lab.ID, m.says, id)
					continue
				}
				s := steps[i]
				if asks && (s.Predict == nil || s.Predict.Expect.Text != answer) {
					t.Errorf("%s: %s: the step %s does not ask for %s", lab.ID, m.says, id, answer)
				}
				if fails && !strings.Contains(s.Check.Text, ".failed") {
					t.Errorf("%s: %s: the step %s is done without a failure", lab.ID, m.says, id)
				}
			}
		}
		for _, s := range steps {
			if s.Predict != nil && s.Predict.Expect.Text == "" {
				t.Errorf("%s: the step %s asks, and its texts speak of no answer", lab.ID, s.ID.Text)
			}
		}
	}
}

// Who comes from the Korean article finds its names.
func TestKoreanNames(t *testing.T) {
	c, err := BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one-namespace", "one-host-bridge", "why-is-it-dropped"} {
		plan, err := c.Lab(id).Plan("korean")
		if err != nil {
			t.Error(err)
			continue
		}
		said := map[string]bool{}
		for _, text := range shown(plan) {
			for start, end := range words(text) {
				said[text[start:end]] = true
			}
		}
		for _, left := range []string{"kon", "kon1", "kon2", "netns0", "netns1", "veth10", "ceth0", "172.16.0.1", "172.18.0.1"} {
			if said[left] {
				t.Errorf("%s: %s is left over", id, left)
			}
		}
		for _, name := range []string{"red", "veth1-r", "192.168.0.1"} {
			if !said[name] {
				t.Errorf("%s does not speak of %s", id, name)
			}
		}
	}
}
