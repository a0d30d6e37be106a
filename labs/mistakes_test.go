package labs

import (
	"slices"
	"testing"
)

// TestCommonMistakesAreMet keeps the mistakes that everybody makes in the labs: each
// is made there by a wrong solution, and gets a hint of its own.
func TestCommonMistakesAreMet(t *testing.T) {
	c, err := BuiltInOnce()
	if err != nil {
		t.Fatal(err)
	}
	for mistake, at := range map[string]struct{ lab, step, wrong, hint string }{
		"an address on the wrong end":                         {"namespaces-and-veth", "container-end", "at-the-hosts-end", "outside"},
		"an address on a port of a bridge":                    {"reach-the-host", "address", "on-the-port", "on-a-port"},
		"an address that is taken":                            {"two-cables-one-subnet", "container-end", "the-neighbours-address", "taken"},
		"the peer was not moved":                              {"namespaces-and-veth", "move", "only-up", "still-here"},
		"the other end was moved":                             {"one-namespace", "move", "the-other-end", "wrong-end"},
		"an interface that is down":                           {"one-host-bridge", "switch-on", "only-the-ports", "bridge-down"},
		"lo that is down":                                     {"one-namespace", "up", "without-lo", "lo-down"},
		"a prefix length that is missing":                     {"one-host-bridge", "inside", "without-length", "alone"},
		"a prefix length that is too narrow":                  {"reach-the-host", "address", "slash-24", "too-narrow"},
		"a prefix length that is too wide":                    {"one-namespace", "address", "a-whole-network", "too-wide"},
		"a route to the wrong gateway":                        {"why-is-it-dropped", "default-route", "via-the-neighbour", "wrong-gateway"},
		"a route without a gateway":                           {"two-hosts-l2", "way-there", "straight-out", "no-gateway"},
		"a route out of the wrong interface":                  {"one-namespace", "host-route", "through-eth0", "wrong-dev"},
		"a route in the wrong table":                          {"namespaces-and-veth", "one-line", "in-the-hosts-table", "wrong-table"},
		"a return route that is missing on a router":          {"one-namespace", "way-back", "without-a-way-back", "one-way"},
		"a return route that is missing on the other host":    {"two-hosts-l2", "way-back", "without-a-way-back", "one-way"},
		"forwarding switched on in the wrong namespace":       {"reach-the-internet", "forward", "inside", "in-the-container"},
		"a rule in the wrong chain":                           {"publish-a-port", "prerouting", "output", "wrong-chain"},
		"a rule in the wrong namespace":                       {"publish-a-port", "prerouting", "inside", "in-the-container"},
		"a rule behind another that wins":                     {"reach-the-internet", "no-exception", "added-behind", "still-there"},
		"a rule for another source":                           {"reach-the-internet", "masquerade", "the-hosts-network", "other-source"},
		"a port that is not the one":                          {"publish-a-port", "output", "port-80", "wrong-port"},
		"flushing a chain to change its policy":               {"one-host-bridge", "repair", "flushed", "still-drop"},
		"ip_forward against the policy of FORWARD":            {"why-is-it-dropped", "forward-policy", "ip-forward", "forwarding"},
		"a bridge that iptables does not see":                 {"one-host-bridge", "policy-drop", "bridge-spared", "bridge-passes"},
		"an MTU that was set at one end":                      {"two-hosts-overlay-tun", "mtu-1472", "only-here", "one-end"},
		"rp_filter that is off for one interface, on for all": {"two-hosts-overlay-tun", "rp-filter-2", "only-eth0", "stricter"},
		"a server that listens to itself only":                {"publish-a-port", "server", "loopback-only", "only-to-itself"},
		"a program at one end that has ended":                 {"two-hosts-overlay-tun", "through", "stopped", "tunnel-gone"},
	} {
		lab := c.Lab(at.lab)
		if lab == nil {
			t.Errorf("%s: there is no lab %s", mistake, at.lab)
			continue
		}
		plan, err := lab.Plan("")
		if err != nil {
			t.Fatal(err)
		}
		met := slices.ContainsFunc(plan.Steps, func(s Step) bool {
			return s.ID == at.step && slices.ContainsFunc(s.Wrong, func(w Wrong) bool { return w.ID == at.wrong && w.Hint == at.hint })
		})
		if !met {
			t.Errorf("%s: nobody makes it in %s %s", mistake, at.lab, at.step)
		}
	}
}
